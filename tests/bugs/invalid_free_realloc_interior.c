// expect: invalid-free size=48 offset=16
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    char *block = hl_malloc(48);              // allocated
    if (hl_realloc(block + 16, 96) != NULL) // here
        abort();
    hl_free(block);
}
