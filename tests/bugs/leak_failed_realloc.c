// expect: leak size=48 blocks=1 bytes=48
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48); // allocated
    // The resize fails, and the only pointer to the block is overwritten with null.
    block = hl_realloc(block, (size_t)1 << 47);
    hl_free(block);
}
