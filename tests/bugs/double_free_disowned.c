// expect: double-free size=48 offset=0
#include "heapledger.h"

void run(void)
{
    static double pool[6];
    hl_adopt(pool, sizeof pool); // allocated: in function run
    hl_disown(pool);             // released: in function run
    hl_free(pool);               // here
}
