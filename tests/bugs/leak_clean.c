// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    block[0] = 'x';
    hl_free(block);
}
