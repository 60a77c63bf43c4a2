// Each error many times in a row: directly, from threads, and inside a callback.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

// What the compiler must not see through.
template <typename T> T *hidden(T *pointer)
{
    T *volatile place = pointer;
    return place;
}

constexpr size_t SIZE = 48;
constexpr int THREAD_COUNT = 8;

} // namespace

extern "C" {

void double_free(int count)
{
    for (int time = 0; time < count; ++time) {
        void *block = malloc(SIZE);
        free(block);
        free(hidden(block));
    }
}

void invalid_free(int count)
{
    for (int time = 0; time < count; ++time) {
        char *block = static_cast<char *>(malloc(SIZE));
        free(hidden(block + 16));
        free(block);
    }
}

void mismatched_free(int count)
{
    for (int time = 0; time < count; ++time) {
        char *block = new char[SIZE];
        free(hidden(block));
        delete[] block;
    }
}

void realloc_after_free(int count)
{
    for (int time = 0; time < count; ++time) {
        void *block = malloc(SIZE);
        free(block);
        if (realloc(hidden(block), 2 * SIZE))
            abort();
    }
}

void heap_overflow(int count)
{
    for (int time = 0; time < count; ++time) {
        char *block = static_cast<char *>(malloc(SIZE));
        memset(hidden(block) + SIZE, 1, 4);
        free(block);
    }
}

void heap_underflow(int count)
{
    for (int time = 0; time < count; ++time) {
        char *block = static_cast<char *>(malloc(SIZE));
        *static_cast<volatile char *>(hidden(block) - 1) = 1;
        free(block);
    }
}

void use_after_free(int count)
{
    for (int time = 0; time < count; ++time) {
        char *block = static_cast<char *>(malloc(SIZE));
        free(block);
        memset(hidden(block), 1, 16);
    }
}

void size_overflow(int count)
{
    for (int time = 0; time < count; ++time) {
        volatile size_t size = SIZE_MAX - 1;
        if (malloc(size))
            abort();
    }
}

// The right use, of many sizes: what a damaged heap does not survive.
void use_heap(int count)
{
    std::vector<char *> blocks(257);
    for (int time = 0; time < count; ++time) {
        char *&place = blocks[static_cast<size_t>(time) % blocks.size()];
        free(place);
        size_t size = static_cast<size_t>(time) * 37 % 5000 + 1;
        place = static_cast<char *>(realloc(malloc(size), 2 * size));
        memset(place, time, 2 * size);
    }
    for (char *block : blocks)
        free(block);
}

void from_threads(void (*function)(int), int count)
{
    std::vector<std::thread> threads;
    for (int index = 0; index < THREAD_COUNT; ++index)
        threads.emplace_back(function, count);
    for (std::thread &thread : threads)
        thread.join();
}

void call_back(void (*function)(int), int count) { function(count); }
}
