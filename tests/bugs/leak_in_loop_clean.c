// expect: nothing
#include "heapledger.h"

void run(void)
{
    for (int round = 0; round < 10; ++round) {
        char *block = hl_malloc(48);
        block[0] = 'x';
        hl_free(block);
    }
}
