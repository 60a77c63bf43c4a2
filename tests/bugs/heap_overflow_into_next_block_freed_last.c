// expect: heap-overflow size=40 offset=40 blocks=1
#include "heapledger.h"
#include <string.h>

enum { COUNT = 2048 };

void run(void)
{
    char *block[COUNT];
    for (int place = 0; place < COUNT; ++place)
        block[place] = hl_malloc(40); // allocated
    int place = 0;
    while (block[place + 1] - block[place] != 96)
        ++place;
    memset(block[place], 0x41, 96 + 3); // over glibc's words, into the next block
    hl_free(block[place + 1]); // here
    hl_free(block[place]);
    for (int other = 0; other < COUNT; ++other)
        if (other != place && other != place + 1)
            hl_free(block[other]);
}
