// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    for (size_t size = 48; size < 1000000; size *= 2)
        block = hl_realloc(block, size);
    hl_free(block);
}
