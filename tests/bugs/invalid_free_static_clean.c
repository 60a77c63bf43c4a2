// expect: nothing
#include "heapledger.h"

static double *table;

void run(void)
{
    table = hl_calloc(6, sizeof *table);
    hl_free(table);
}
