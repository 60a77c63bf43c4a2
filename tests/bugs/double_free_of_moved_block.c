// expect: double-free size=48 offset=0
#include "heapledger.h"

void run(void)
{
    char *old = hl_malloc(48);             // allocated
    char *moved = hl_realloc(old, 200000); // released
    hl_free(old);                          // here
    hl_free(moved);
}
