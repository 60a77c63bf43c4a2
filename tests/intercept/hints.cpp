// What a library gives out, for tests of what the report adds to a leak or a double free.
#include <cstdlib>
#include <cstring>
#include <cwchar>

extern "C" {
double *get_shared_memory(std::size_t count) { return new double[count](); }
void free_shared_memory(double *block) { delete[] block; }

char *greeting(const char *name) {
    char *text = static_cast<char *>(std::malloc(64));
    std::strcpy(text, "hello ");
    return std::strncat(text, name, 50);
}

wchar_t *wide_greeting() {
    wchar_t *text = static_cast<wchar_t *>(std::malloc(64));
    return std::wcscpy(text, L"hello");
}

const char *constant() { return "constant"; }
void greeting_free(void *text) { std::free(text); }

// Many small blocks, and then five that the caller gets through its arguments.
static void *kept[40];
void leaves(void **a, void **b, void **c) {
    *a = std::malloc(24);
    *b = std::malloc(24);
    for (void *&block : kept)
        block = std::malloc(16);
    *c = std::malloc(24);
    for (void *&block : kept)
        std::free(block);
}
}
