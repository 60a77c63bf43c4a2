// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    char *block = malloc(48);
    hl_adopt(block, 48);
    hl_disown(block);
    free(block);
}
