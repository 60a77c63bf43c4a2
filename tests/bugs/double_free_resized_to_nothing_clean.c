// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_realloc(NULL, 48);
    block = hl_realloc(block, 0);
    hl_free(block);
}
