// expect: nothing
#include "heapledger.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void run(void)
{
    for (size_t alignment = 8; alignment <= 65536; alignment *= 2) {
        char *block = hl_aligned_alloc(alignment, 256);
        if (block == NULL || (uintptr_t)block % alignment != 0)
            abort();
        hl_free(block);
    }
    errno = 0;
    if (hl_aligned_alloc(24, 256) != NULL || errno != EINVAL) // not a power of two
        abort();
}
