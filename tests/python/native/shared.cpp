// The library the tests call through ctypes: the founding case, pairs of functions, callbacks.
#include <cstdint>
#include <cstdlib>
#include <cstring>

static long released_count = 0;

extern "C" {

double *get_shared_memory(int count) {
    double *numbers = new double[count];
    for (int index = 0; index < count; ++index) numbers[index] = index;
    return numbers;
}

void free_shared_memory(double *numbers) {
    ++released_count;
    delete[] numbers;
}

double sum(const double *numbers, int count) {
    double total = 0;
    for (int index = 0; index < count; ++index) total += numbers[index];
    return total;
}

void fill(unsigned char *bytes, size_t count, int value) { std::memset(bytes, value, count); }

long released(void) { return released_count; }

struct handle { int value; };

handle *foo_open(int value) { return new handle{value}; }
int foo_value(const handle *one) { return one->value; }
int foo_close(handle *one) {
    ++released_count;
    int value = one->value;
    delete one;
    return value;
}

handle *bar_open(int value) { return new handle{value}; }
void bar_close(handle *one) {
    ++released_count;
    delete one;
}

void *null_open(int) { return nullptr; }

// Memory of heapledger's own functions, allocated and released by C.
typedef void *(*allocator)(size_t);
typedef void (*releaser)(void *);
static releaser release_with = nullptr;
void use_release(releaser function) { release_with = function; }
void *allocate_with(allocator function, size_t size) { return function(size); }
void own_close(void *block) {
    ++released_count;
    release_with(block);
}

}
