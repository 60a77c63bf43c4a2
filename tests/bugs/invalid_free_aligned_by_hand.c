// expect: invalid-free size=256 offset=32
#include "heapledger.h"

void run(void)
{
    char *block = hl_aligned_alloc(64, 256); // allocated
    char *used = block + 32;
    hl_free(used); // here
    hl_free(block);
}
