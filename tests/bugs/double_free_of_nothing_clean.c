// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    // A block of no bytes is a block: not null, unlike every other, released once.
    char *first = hl_malloc(0);
    char *second = hl_calloc(0, 8);
    if (first == NULL || second == NULL || first == second)
        abort();
    hl_free(first);
    hl_free(second);
}
