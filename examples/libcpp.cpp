// The library of the founding case: it hands out memory and relies on its caller to give it back.
#include <cstddef>

extern "C" double *get_shared_memory(std::size_t count)
{
    return new double[count]();
}

extern "C" void free_shared_memory(double *memory)
{
    delete[] memory;
}

// Writes into memory of the caller.
extern "C" void fill_shared_memory(double *memory, std::size_t count, double value)
{
    for (std::size_t index = 0; index < count; ++index)
        memory[index] = value;
}
