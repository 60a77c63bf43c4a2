// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    // Asking about garbage is answered by a status.
    hl_block_info info = {.struct_size = sizeof info};
    if (hl_describe((const void *)~(size_t)12, &info) == HL_OK)
        abort();
    if (hl_describe(NULL, &info) == HL_OK)
        abort();
}
