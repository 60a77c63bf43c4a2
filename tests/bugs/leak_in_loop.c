// expect: leak blocks=10 bytes=480
#include "heapledger.h"

void run(void)
{
    for (int round = 0; round < 10; ++round) {
        char *block = hl_malloc(48); // allocated
        block[0] = 'x';
    }
}
