// expect: size-overflow
#include "heapledger.h"
#include <stdlib.h>

static int item_count(void)
{
    return -1; // the error value of some other function, not checked
}

void run(void)
{
    if (hl_malloc((size_t)item_count() * sizeof(double)) != NULL) // here
        abort();
}
