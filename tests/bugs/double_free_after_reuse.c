// expect: double-free size=48 offset=0
#include "heapledger.h"

void run(void)
{
    char *stale = hl_malloc(48); // allocated
    hl_free(stale);              // released
    // The allocator alone would give the same address again, and the stale pointer would release
    // somebody else's block.
    char *other = hl_malloc(48);
    hl_free(stale); // here
    hl_free(other);
}
