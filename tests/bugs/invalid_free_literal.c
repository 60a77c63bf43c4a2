// expect: invalid-free says="static"
#include "heapledger.h"

void run(void)
{
    hl_free("a string literal"); // here
}
