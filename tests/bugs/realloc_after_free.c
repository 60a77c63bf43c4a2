// expect: realloc-after-free size=48 offset=0
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    char *block = hl_malloc(48);        // allocated
    hl_free(block);                     // released
    if (hl_realloc(block, 96) != NULL) // here
        abort();
}
