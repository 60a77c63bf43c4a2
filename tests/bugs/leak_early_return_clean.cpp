// expect: nothing
#include "heapledger.h"
#include <memory>
#include <stdexcept>

static void work()
{
    std::unique_ptr<void, void (*)(void *)> scratch(hl_calloc(100, sizeof(double)), hl_free);
    throw std::runtime_error("the owner releases it on the way out");
}

extern "C" void run(void)
{
    try {
        work();
    } catch (const std::runtime_error &) {
    }
}
