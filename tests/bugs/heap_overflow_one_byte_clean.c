// expect: nothing
#include "heapledger.h"
#include <string.h>

void run(void)
{
    // Blocks of every length may be filled to their last byte.
    for (size_t size = 1; size < 300; ++size) {
        char *block = hl_malloc(size);
        memset(block, 0xff, size);
        hl_free(block);
    }
}
