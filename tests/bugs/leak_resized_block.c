// expect: leak size=96 blocks=1 bytes=96
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    block = hl_realloc(block, 96); // allocated
    block[0] = 'x';
}
