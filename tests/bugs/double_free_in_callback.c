// expect: double-free size=48 offset=0
#include "heapledger.h"

// What a library keeps that takes an allocator from its user.
struct hooks {
    void *(*allocate)(size_t size);
    void (*release)(void *pointer);
};

void run(void)
{
    struct hooks hooks = {.allocate = hl_malloc, .release = hl_free};
    char *block = hooks.allocate(48); // allocated: in function run
    hooks.release(block);             // released: in function run
    hooks.release(block);             // here: in function run
}
