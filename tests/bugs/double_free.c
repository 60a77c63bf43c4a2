// expect: double-free size=48 offset=0
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48); // allocated
    hl_free(block);              // released
    hl_free(block);              // here
}
