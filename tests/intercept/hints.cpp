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

// One wrapper of malloc for two purposes, each with a function that releases it.
static void *__attribute__((noinline)) allocated(std::size_t size) {
    void *block = std::malloc(size);
    if (block == nullptr) std::abort();
    return block;
}
static void *__attribute__((noinline)) fresh_key() {
    void *key = allocated(20);
    static_cast<char *>(key)[0] = 'k';
    return key;
}
static void *__attribute__((noinline)) fresh_value() {
    void *value = allocated(20);
    static_cast<char *>(value)[0] = 'v';
    return value;
}
extern "C" {
void *fresh(int is_key) { return is_key ? fresh_key() : fresh_value(); }
void free_key(void *key) { std::free(key); }
void free_value(void *value) { std::free(value); }
// Releases most of what it makes itself, and gives out one in ten.
void *one_in_ten() {
    static int count;
    void *block = fresh_key();
    if (++count % 10 == 0) return block;
    std::free(block);
    return nullptr;
}
}
