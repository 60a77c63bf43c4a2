// expect: nothing
#include "heapledger.h"

struct Buffer {
    void *memory;
    Buffer() { memory = hl_malloc(24); }
    Buffer(Buffer &&other) : memory(other.memory) { other.memory = nullptr; }
    ~Buffer() { hl_free(memory); }
};

extern "C" void run(void)
{
    Buffer original;
    Buffer moved = static_cast<Buffer &&>(original);
}
