// expect: invalid-free size=48 offset=8
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48); // allocated
    hl_free(block + 8);          // here
    hl_free(block);
}
