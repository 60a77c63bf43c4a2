// expect: invalid-free
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    hl_free(block - 16); // here
    hl_free(block);
}
