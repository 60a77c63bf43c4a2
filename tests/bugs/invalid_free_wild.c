// expect: invalid-free
#include "heapledger.h"
#include <stdint.h>

void run(void)
{
    // Outside what a program can map at all, and not even aligned.
    hl_free((void *)(uintptr_t)0xfffffffffffffff3); // here
}
