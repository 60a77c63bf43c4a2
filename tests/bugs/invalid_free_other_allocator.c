// expect: invalid-free
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    // In this scope the ledger knows its own blocks only, so whose block this is it cannot say.
    char *block = malloc(48);
    hl_free(block); // here
    free(block);
}
