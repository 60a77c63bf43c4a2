// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    char *theirs = malloc(48);
    char *ours = hl_malloc(48);
    free(theirs);
    hl_free(ours);
}
