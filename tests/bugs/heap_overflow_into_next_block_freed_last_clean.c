// expect: nothing
#include "heapledger.h"
#include <string.h>

enum { COUNT = 2048 };

void run(void)
{
    char *block[COUNT];
    for (int place = 0; place < COUNT; ++place)
        block[place] = hl_malloc(40);
    int place = 0;
    while (block[place + 1] - block[place] != 96)
        ++place;
    memset(block[place], 0x41, 40);
    hl_free(block[place + 1]);
    hl_free(block[place]);
    for (int other = 0; other < COUNT; ++other)
        if (other != place && other != place + 1)
            hl_free(block[other]);
}
