// expect: heap-overflow size=10 offset=12
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    block = hl_realloc(block, 10); // allocated
    block[12] = 'x'; // in bounds of the old block, not of the new one
    hl_free(block);  // here
}
