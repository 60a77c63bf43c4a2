// Loops of malloc+free pairs whose instructions are counted: a shared object for ctypes and a
// program for LD_PRELOAD in one file. Knows nothing of heapledger.

#include <cstdlib>
#include <cstring>
#include <thread>
#include <valgrind/callgrind.h>

namespace {

constexpr long RING_LENGTH = 512;

// Beyond the limits of a quarantine: from then on each release takes a block out.
constexpr long WARM_UP_COUNT = 20'000;

// Keeps the compiler from leaving a pair out.
void *volatile sink;

char *used(void *block)
{
    sink = block;
    static_cast<char *>(block)[0] = 1;
    return static_cast<char *>(block);
}

} // namespace

extern "C" {

// A block is released right after it was allocated.
void direct_pairs(long count, size_t size)
{
    for (long pair = 0; pair < count; pair++)
        free(used(malloc(size)));
}

// A block is released after the next RING_LENGTH allocations.
void ring_pairs(long count, size_t size)
{
    static char *ring[RING_LENGTH];
    for (long pair = 0; pair < count; pair++) {
        char *&place = ring[pair % RING_LENGTH];
        free(place);
        place = used(malloc(size));
    }
    for (char *&place : ring) {
        free(place);
        place = nullptr;
    }
}

// The same through C++: `operator new` calls malloc, and both are intercepted.
void object_pairs(long count, size_t size)
{
    for (long pair = 0; pair < count; pair++)
        ::operator delete(used(::operator new(size)));
}

// Begins to count, or stops.
void toggle()
{
    CALLGRIND_TOGGLE_COLLECT;
}

// What Python calls.
void nothing() {}
void *make(size_t size) { return used(malloc(size)); }
void drop(void *block) { free(block); }
}

// LOOP COUNT SIZE
int main(int argument_count, char **arguments)
{
    if (argument_count != 4)
        return 2;
    auto loop = strcmp(arguments[1], "ring_pairs") == 0 ? ring_pairs : direct_pairs;
    long count = atol(arguments[2]);
    size_t size = strtoul(arguments[3], nullptr, 10);
    // Under valgrind the first thread's stack is not where the kernel says.
    std::thread([=] {
        loop(WARM_UP_COUNT, size);
        toggle();
        loop(count, size);
        toggle();
    }).join();
    return 0;
}
