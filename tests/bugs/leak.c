// expect: leak size=48 blocks=1 bytes=48
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48); // allocated
    block[0] = 'x';
}
