// expect: nothing
#include "heapledger.h"

void run(void)
{
    static double pool[6];
    for (int round = 0; round < 3; ++round) { // a pool hands out the same address again
        hl_adopt(pool, sizeof pool);
        hl_disown(pool);
    }
}
