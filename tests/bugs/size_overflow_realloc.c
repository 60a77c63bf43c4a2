// expect: size-overflow
#include "heapledger.h"
#include <stdlib.h>
#include <string.h>

void run(void)
{
    char *block = hl_malloc(48);
    strcpy(block, "still here");
    if (hl_realloc(block, (size_t)-8) != NULL) // here
        abort();
    if (strcmp(block, "still here") != 0) // a failed resize leaves the block as it was
        abort();
    hl_free(block);
}
