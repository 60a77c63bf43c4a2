// A program whose C++ run time is its own: with -static-libstdc++ it keeps memory for exceptions.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

int main(int count, char **) {
    try {
        throw std::runtime_error("thrown");
    } catch (const std::exception &error) {
        std::puts(error.what());
    }
    // The size of the reserve, and lost.
    char *volatile block = count > 1 ? static_cast<char *>(std::malloc(72704)) : nullptr;
    block = nullptr;
    return 0;
}
