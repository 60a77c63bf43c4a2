// expect: nothing
#include "heapledger.h"

void run(void)
{
    double local[6] = {1.0};
    double *copy = hl_malloc(sizeof local);
    *copy = *local;
    hl_free(copy);
}
