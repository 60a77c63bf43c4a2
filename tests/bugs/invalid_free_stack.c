// expect: invalid-free says="stack"
#include "heapledger.h"

void run(void)
{
    double local[6];
    hl_free(local); // here
}
