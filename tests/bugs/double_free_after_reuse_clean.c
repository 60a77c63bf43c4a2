// expect: nothing
#include "heapledger.h"

void run(void)
{
    // The same few addresses come back many times.
    for (int round = 0; round < 100000; ++round) {
        char *first = hl_malloc(48);
        char *second = hl_malloc(48);
        hl_free(first);
        hl_free(second);
    }
}
