// expect: invalid-free says="no memory is mapped"
#include "heapledger.h"
#include <stdint.h>

void run(void)
{
    hl_free((void *)(uintptr_t)0x123450000); // here
}
