// expect: nothing
#include "heapledger.h"
#include <string.h>

void run(void)
{
    for (int round = 0; round < 5000; ++round) { // more than the quarantine holds
        char *block = hl_malloc(48);
        memset(block, 0xff, 48);
        hl_free(block);
    }
}
