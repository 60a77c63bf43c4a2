// Releases by a function of another family.
#include "suite.h"

#include <memory>
#include <string>
#include <wchar.h>

namespace {
struct Plain {
    int one, two;
};
struct WithDestructor {
    int one = 1, two = 2;
    ~WithDestructor() { suite_sink = suite_sink + one; }
};
struct Virtual {
    long value = 1;
    virtual ~Virtual() { suite_sink = suite_sink + value; }
};
}

#define PAIR(name, make, right, wrong) \
    BAD(name, "mismatched-free") { \
        make; \
        wrong; \
    } \
    GOOD(name) { \
        make; \
        right; \
    }

// clang-format off
PAIR(new_free, char *p = new char, delete p, free(HIDDEN(char, p)))
PAIR(new_delete_array, int *p = new int(3), delete p, delete[] HIDDEN(int, p))
PAIR(new_struct_delete_array, Plain *p = new Plain, delete p, delete[] HIDDEN(Plain, p))
PAIR(new_struct_free, Plain *p = new Plain, delete p, free(HIDDEN(Plain, p)))
PAIR(new_object_free, WithDestructor *p = new WithDestructor, delete p, free(HIDDEN(WithDestructor, p)))
PAIR(new_virtual_free, Virtual *p = new Virtual, delete p, free(HIDDEN(Virtual, p)))
PAIR(array_free, char *p = new char[100], delete[] p, free(HIDDEN(char, p)))
PAIR(array_delete, char *p = new char[100], delete[] p, delete HIDDEN(char, p))
PAIR(int_array_delete, int *p = new int[100], delete[] p, delete HIDDEN(int, p))
PAIR(long_array_delete, long *p = new long[100], delete[] p, delete HIDDEN(long, p))
PAIR(wide_array_delete, wchar_t *p = new wchar_t[100], delete[] p, delete HIDDEN(wchar_t, p))
PAIR(struct_array_delete, Plain *p = new Plain[100], delete[] p, delete HIDDEN(Plain, p))
PAIR(struct_array_free, Plain *p = new Plain[100], delete[] p, free(HIDDEN(Plain, p)))
PAIR(malloc_delete, char *p = (char *)malloc(100), free(p), delete HIDDEN(char, p))
PAIR(malloc_delete_array, char *p = (char *)malloc(100), free(p), delete[] HIDDEN(char, p))
PAIR(malloc_delete_struct, Plain *p = (Plain *)malloc(sizeof *p), free(p), delete HIDDEN(Plain, p))
PAIR(calloc_delete, long *p = (long *)calloc(100, sizeof *p), free(p), delete HIDDEN(long, p))
PAIR(calloc_delete_array, long *p = (long *)calloc(100, sizeof *p), free(p), delete[] HIDDEN(long, p))
PAIR(realloc_delete, int *p = (int *)realloc(nullptr, 400), free(p), delete HIDDEN(int, p))
PAIR(realloc_delete_array, int *p = (int *)realloc(nullptr, 400), free(p), delete[] HIDDEN(int, p))
PAIR(strdup_delete, char *p = strdup("text"), free(p), delete HIDDEN(char, p))
PAIR(strdup_delete_array, char *p = strdup("text"), free(p), delete[] HIDDEN(char, p))
PAIR(wcsdup_delete_array, wchar_t *p = wcsdup(L"text"), free(p), delete[] HIDDEN(wchar_t, p))
PAIR(aligned_delete, void *p = aligned_alloc(64, 64), free(p), operator delete(hidden(p)))
PAIR(unique_of_array, int *p = new int[4], delete[] p, std::unique_ptr<int> owner(HIDDEN(int, p)))
PAIR(shared_of_array, int *p = new int[4], delete[] p, std::shared_ptr<int> owner(HIDDEN(int, p)))
PAIR(unique_of_malloc, int *p = (int *)malloc(4), free(p), std::unique_ptr<int> owner(HIDDEN(int, p)))
PAIR(large_array_free, char *p = new char[1 << 20], delete[] p, free(HIDDEN(char, p)))
PAIR(large_malloc_delete, char *p = (char *)malloc(1 << 20), free(p), delete HIDDEN(char, p))
// clang-format on

// An array of objects with destructors begins with its length: `delete` gets a pointer eight bytes
// inside the block, and `delete[]` of a single object one eight bytes in front of it.
BAD(object_array_delete, "mismatched-free") {
    WithDestructor *objects = new WithDestructor[3];
    delete HIDDEN(WithDestructor, objects);
}
GOOD(object_array_delete) {
    WithDestructor *objects = new WithDestructor[3];
    delete[] objects;
}

BAD(object_array_free, "mismatched-free") {
    WithDestructor *objects = new WithDestructor[3];
    free(HIDDEN(WithDestructor, objects));
}
GOOD(object_array_free) {
    WithDestructor *objects = new WithDestructor[3];
    delete[] objects;
}

BAD(virtual_array_free, "mismatched-free") {
    Virtual *objects = new Virtual[3];
    free(HIDDEN(Virtual, objects));
}
GOOD(virtual_array_free) {
    Virtual *objects = new Virtual[3];
    delete[] objects;
}

BAD(string_array_free, "mismatched-free") {
    std::string *strings = new std::string[3];
    free(HIDDEN(std::string, strings));
}
GOOD(string_array_free) {
    std::string *strings = new std::string[3];
    delete[] strings;
}

BAD(object_delete_array, "mismatched-free") {
    struct Empty {
        long pad[2];
        ~Empty() { suite_sink = suite_sink + 1; }
    };
    // Two in one allocation, with a length in front that an object of its own does not have.
    long *memory = (long *)operator new(64);
    memory[0] = 0;
    memory[1] = 1;
    delete[] (Empty *)HIDDEN(char, (char *)memory + 8);
}
GOOD(object_delete_array) {
    struct Empty {
        long pad[2];
        ~Empty() { suite_sink = suite_sink + 1; }
    };
    Empty *empty = new Empty[2];
    delete[] empty;
}

BAD(new_realloc, "mismatched-free") {
    int *numbers = new int[10];
    numbers[9] = 9;
    int *moved = (int *)realloc(HIDDEN(int, numbers), 400);
    if (!moved || moved[9] != 9)
        abort();
    moved[99] = 99;
    free(moved);
}
BAD(new_realloc_smaller, "mismatched-free") {
    long *number = new long(7);
    char *moved = (char *)realloc(HIDDEN(long, number), 1);
    if (!moved || *moved != 7)
        abort();
    free(moved);
}
GOOD(new_realloc_smaller) {
    long *number = (long *)malloc(sizeof(long));
    *number = 7;
    char *moved = (char *)realloc(number, 1);
    free(moved);
}
GOOD(new_realloc) {
    int *numbers = (int *)malloc(40);
    int *moved = (int *)realloc(numbers, 400);
    free(moved);
}
