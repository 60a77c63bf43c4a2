// expect: nothing
#include "heapledger.h"

void run(void)
{
    int item_count = 12;
    hl_free(hl_malloc((size_t)item_count * sizeof(double)));
}
