// expect: invalid-free says="loaded image"
#include "heapledger.h"

static double table[6];

void run(void)
{
    hl_free(table); // here
}
