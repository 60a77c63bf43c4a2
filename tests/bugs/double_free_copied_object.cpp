// expect: double-free size=24 offset=0
#include "heapledger.h"

// Copied member by member: both copies release the same block.
struct Buffer {
    void *memory;
    Buffer() { memory = hl_malloc(24); } // allocated
    ~Buffer() { hl_free(memory); }       // released, here
};

extern "C" void run(void)
{
    Buffer original;
    Buffer copy = original;
}
