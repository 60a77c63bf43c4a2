// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    hl_free(block);
    block = NULL;
    block = hl_realloc(block, 96); // of null: an allocation
    hl_free(block);
}
