// expect: use-after-free size=48 offset=5
#include "heapledger.h"

void run(void)
{
    volatile char *block = hl_malloc(48); // allocated
    hl_free((void *)block);               // released
    block[5] = 'x';
}
