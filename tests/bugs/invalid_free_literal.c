// expect: invalid-free says="loaded image"
#include "heapledger.h"

void run(void)
{
    hl_free("a string literal"); // here
}
