// expect: nothing
#include "heapledger.h"

void run(void)
{
    char *block = hl_malloc(48);
    char *cursor = block + 8;
    hl_free(cursor - 8);
}
