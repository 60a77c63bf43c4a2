// Wrong releases; none may be carried out.
#include <cstdlib>
#include <cstring>
#include <new>

namespace {
int in_data = 7;
void *volatile seen;
}  // namespace

extern "C" {
void interior() {
    char *block = static_cast<char *>(std::malloc(100));
    seen = block;
    std::memset(block, 'x', 100);
    std::free(block + 16);
    std::free(seen);
}
void misaligned() {
    char *block = static_cast<char *>(std::malloc(100));
    seen = block + 3;
    std::free(seen);
    std::free(block);
}
void on_stack() {
    int local = 7;
    seen = &local;
    std::free(seen);
}
void in_image() {
    seen = &in_data;
    std::free(seen);
}
void unmapped() {
    seen = reinterpret_cast<void *>(0x10000);
    std::free(seen);
}
void twice() {
    seen = std::malloc(50);
    std::free(seen);
    std::free(seen);
}
void resized_after_release() {
    seen = std::malloc(50);
    std::free(seen);
    void *moved = std::realloc(seen, 60);
    if (moved != nullptr)
        std::free(moved);
}
void past_the_end() {
    char *block = static_cast<char *>(std::malloc(10));
    seen = block;
    static_cast<char *>(seen)[10] = 1;
    std::free(block);
}
void too_large() {
    volatile std::size_t size = static_cast<std::size_t>(-8);
    seen = std::malloc(size);
}
int throws() {
    volatile std::size_t size = static_cast<std::size_t>(1) << 46;
    try {
        seen = ::operator new(size);
    } catch (const std::bad_alloc &) {
        return 1;
    }
    return 0;
}
}
