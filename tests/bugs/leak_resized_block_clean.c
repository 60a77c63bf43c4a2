// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    block = hl_realloc(block, 96);
    block = hl_realloc(block, 12);
    hl_free(block);
}
