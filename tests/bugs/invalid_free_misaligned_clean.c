// expect: nothing
#include "heapledger.h"
#include <stdint.h>
#include <stdlib.h>

void run(void)
{
    for (size_t size = 1; size < 5000; ++size) {
        char *block = hl_malloc(size);
        if ((uintptr_t)block % _Alignof(max_align_t) != 0)
            abort();
        hl_free(block);
    }
}
