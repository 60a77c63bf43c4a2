// expect: invalid-free says="static"
#include "heapledger.h"

static double table[6];

void run(void)
{
    hl_free(table); // here
}
