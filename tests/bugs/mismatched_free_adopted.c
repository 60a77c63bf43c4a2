// expect: mismatched-free size=48 offset=0
#include "heapledger.h"

void run(void)
{
    static double pool[6]; // executing the release would end the program
    hl_adopt(pool, sizeof pool); // allocated: in function run
    hl_free(pool);               // here
    hl_disown(pool);
}
