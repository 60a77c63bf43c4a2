// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    unsigned char *block = hl_calloc(1000, 8);
    for (int place = 0; place < 8000; ++place)
        if (block[place] != 0)
            abort();
    hl_free(block);
}
