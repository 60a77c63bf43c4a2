// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    hl_free(block);
    block = NULL;
    hl_free(block); // releasing nothing is allowed
}
