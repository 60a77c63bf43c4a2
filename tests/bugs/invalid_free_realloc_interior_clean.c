// expect: nothing
#include "heapledger.h"
#include <stdlib.h>
#include <string.h>

void run(void)
{
    char *block = hl_calloc(4, 12);
    memcpy(block, "kept across a resize", 21);
    block = hl_realloc(block, 96);
    if (strcmp(block, "kept across a resize") != 0)
        abort();
    hl_free(block);
}
