// expect: double-free size=0 offset=0
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(0); // allocated
    hl_free(block);             // released
    hl_free(block);             // here
}
