// One function for each way to allocate 48 bytes, and one for each way to release them.
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {
constexpr std::size_t SIZE = 48;
constexpr std::align_val_t ALIGNED{64};
// The compiler may leave out an allocation that it can see the end of. Several threads are here at once.
void *kept(void *block) {
    asm volatile("" : "+r"(block) : : "memory");
    return block;
}
}  // namespace

extern "C" {
void *by_malloc() { return kept(std::malloc(SIZE)); }
void *by_calloc() { return kept(std::calloc(6, 8)); }
void *by_realloc() { return kept(std::realloc(nullptr, SIZE)); }
void *by_growing() { return kept(std::realloc(kept(std::malloc(8)), SIZE)); }
void *by_reallocarray() { return kept(reallocarray(nullptr, 6, 8)); }
void *by_posix_memalign() {
    void *block = nullptr;
    return posix_memalign(&block, 64, SIZE) == 0 ? kept(block) : nullptr;
}
void *by_aligned_alloc() { return kept(std::aligned_alloc(16, SIZE)); }
void *by_memalign() { return kept(memalign(64, SIZE)); }
void *by_valloc() { return kept(valloc(SIZE)); }

void *by_new() { return kept(::operator new(SIZE)); }
void *by_new_nothrow() { return kept(::operator new(SIZE, std::nothrow)); }
void *by_new_aligned() { return kept(::operator new(SIZE, ALIGNED)); }
void *by_new_aligned_nothrow() { return kept(::operator new(SIZE, ALIGNED, std::nothrow)); }

void *by_new_array() { return kept(::operator new[](SIZE)); }
void *by_new_array_nothrow() { return kept(::operator new[](SIZE, std::nothrow)); }
void *by_new_array_aligned() { return kept(::operator new[](SIZE, ALIGNED)); }
void *by_new_array_aligned_nothrow() {
    return kept(::operator new[](SIZE, ALIGNED, std::nothrow));
}

// Kept where nobody looks for it, and called past everybody who comes later.
void *(*volatile kept_operator)(std::size_t);
void keep_operator() { kept_operator = &::operator new[]; }
void *by_kept_operator() { return kept(kept_operator(SIZE)); }

void with_free(void *block) { std::free(block); }
void with_realloc(void *block) { kept(std::realloc(block, 0)); }

void with_delete(void *block) { ::operator delete(block); }
void with_delete_sized(void *block) { ::operator delete(block, SIZE); }
void with_delete_nothrow(void *block) { ::operator delete(block, std::nothrow); }
void with_delete_aligned(void *block) { ::operator delete(block, ALIGNED); }
void with_delete_sized_aligned(void *block) { ::operator delete(block, SIZE, ALIGNED); }
void with_delete_aligned_nothrow(void *block) {
    ::operator delete(block, ALIGNED, std::nothrow);
}

void with_delete_array(void *block) { ::operator delete[](block); }
void with_delete_array_sized(void *block) { ::operator delete[](block, SIZE); }
void with_delete_array_nothrow(void *block) { ::operator delete[](block, std::nothrow); }
void with_delete_array_aligned(void *block) { ::operator delete[](block, ALIGNED); }
void with_delete_array_sized_aligned(void *block) { ::operator delete[](block, SIZE, ALIGNED); }
void with_delete_array_aligned_nothrow(void *block) {
    ::operator delete[](block, ALIGNED, std::nothrow);
}

std::size_t usable(void *block) { return malloc_usable_size(block); }
}
