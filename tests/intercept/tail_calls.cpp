// Functions that an optimising compiler turns into a jump to the allocator: no frame of theirs is
// left when it is entered.
#include <cstdlib>

extern "C" {
double *get_shared_memory(std::size_t count) { return new double[count]; }
void free_shared_memory(double *block) { delete[] block; }
void *make(std::size_t size) { return std::malloc(size); }
void give_back(void *block) { std::free(block); }
}
