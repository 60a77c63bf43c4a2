// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    volatile long *list = hl_malloc(80);
    list[0] = 41;
    list[1] = 10;
    list = hl_realloc((void *)list, 160);
    if (list[0] != 41)
        abort();
    hl_free((void *)list);
}
