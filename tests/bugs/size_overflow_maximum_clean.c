// expect: nothing
#include "heapledger.h"
#include <stdint.h>

void run(void)
{
    // Much, but a size a block can have: whether the kernel gives it is no error of the program.
    volatile size_t size = (size_t)1 << 46;
    hl_free(hl_malloc(size));
}
