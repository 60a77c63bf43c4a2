// expect: invalid-free size=48 offset=3
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48); // allocated
    hl_free(block + 3);          // here
    hl_free(block);
}
