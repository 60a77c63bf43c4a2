// expect: nothing
#include "heapledger.h"

struct hooks {
    void *(*allocate)(size_t size);
    void *(*resize)(void *pointer, size_t size);
    void (*release)(void *pointer);
};

void run(void)
{
    struct hooks hooks = {hl_malloc, hl_realloc, hl_free};
    char *block = hooks.allocate(48);
    block = hooks.resize(block, 480);
    hooks.release(block);
}
