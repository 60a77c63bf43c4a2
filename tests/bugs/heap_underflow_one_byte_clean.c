// expect: nothing
#include "heapledger.h"

void run(void)
{
    volatile char *line = hl_malloc(16);
    int length = 0;
    if (length > 0)
        line[length - 1] = '\n';
    hl_free((void *)line);
}
