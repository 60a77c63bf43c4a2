// expect: nothing
#include "heapledger.h"

void run(void)
{
    // A header in front of what the program uses.
    char *block = hl_malloc(16 + 48);
    char *used = block + 16;
    hl_free(used - 16);
}
