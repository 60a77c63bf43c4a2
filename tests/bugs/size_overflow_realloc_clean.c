// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    char *larger = hl_realloc(block, (size_t)1 << 47); // fails: larger than the address space
    hl_free(larger != NULL ? larger : block);
}
