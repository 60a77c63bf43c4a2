// expect: nothing
#include "heapledger.h"
#include <string.h>

void run(void)
{
    char *block = hl_malloc(10);
    block = hl_realloc(block, 48);
    memset(block, 0xff, 48);
    hl_free(block);
}
