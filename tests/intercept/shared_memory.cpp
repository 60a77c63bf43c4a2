// The library of the first example: it hands out memory, and takes some of it back.
#include <cstdlib>

extern "C" {
double *get_shared_memory(std::size_t count) { return new double[count]; }
void free_shared_memory(double *block) { delete[] block; }
void *get_plain_memory(std::size_t size) { return std::malloc(size); }
}
