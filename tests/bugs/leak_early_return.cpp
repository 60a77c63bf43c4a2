// expect: leak size=800 blocks=1 bytes=800
#include "heapledger.h"
#include <stdexcept>

static void work(bool fails)
{
    void *scratch = hl_calloc(100, sizeof(double)); // allocated
    if (fails)
        throw std::runtime_error("the release below is never reached");
    hl_free(scratch);
}

extern "C" void run(void)
{
    try {
        work(true);
    } catch (const std::runtime_error &) {
    }
}
