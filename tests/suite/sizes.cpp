// Sizes that no block can have, and resizes of what is gone.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "suite.h"

#include <new>

#define REQUEST(name, wrong, right) \
    BAD(name, "size-overflow") { \
        void *block = wrong; \
        printf("%d\n", block == nullptr); \
        free(block); \
    } \
    GOOD(name) { \
        void *block = right; \
        printf("%d\n", block == nullptr); \
        free(block); \
    }

REQUEST(negative, malloc((size_t)-suite_one), malloc((size_t)suite_one))
REQUEST(negative_hundred, malloc((size_t)(-100 * suite_one)), malloc((size_t)(100 * suite_one)))
REQUEST(product, calloc((size_t)suite_one << 33, (size_t)1 << 33), calloc((size_t)suite_one << 3, 8))
REQUEST(resize, realloc(nullptr, (size_t)-suite_one), realloc(nullptr, (size_t)suite_one))
REQUEST(resize_product, reallocarray(nullptr, (size_t)suite_one << 33, (size_t)1 << 33), reallocarray(nullptr, 3, 5))
REQUEST(aligned, aligned_alloc(64, (size_t)-64 * suite_one), aligned_alloc(64, (size_t)64 * suite_one))

BAD(new_negative, "size-overflow") {
    long count = -suite_one;
    try {
        int *numbers = (int *)operator new((size_t)count);
        operator delete(numbers);
    } catch (const std::bad_alloc &) {
        printf("caught\n");
    }
}
GOOD(new_negative) {
    long count = suite_one;
    int *numbers = new int[count];
    delete[] numbers;
}

BAD(nothrow_negative, "size-overflow") {
    void *numbers = operator new[]((size_t)-suite_one, std::nothrow);
    printf("%d\n", numbers == nullptr);
    operator delete[](numbers);
}
GOOD(nothrow_negative) {
    void *numbers = operator new[]((size_t)suite_one, std::nothrow);
    operator delete[](numbers);
}

BAD(after_free, "realloc-after-free") {
    char *block = (char *)malloc(10);
    free(block);
    char *more = (char *)realloc(HIDDEN(char, block), 200);
    free(more);
}
GOOD(after_free) {
    char *block = (char *)malloc(10);
    char *more = (char *)realloc(HIDDEN(char, block), 200);
    free(more);
}

BAD(after_move, "realloc-after-free") {
    char *block = (char *)malloc(10);
    char *more = (char *)realloc(block, 200000);
    char *again = (char *)realloc(HIDDEN(char, block), 300);
    free(more);
    free(again);
}
GOOD(after_move) {
    char *block = (char *)malloc(10);
    char *more = (char *)realloc(block, 200000);
    char *again = (char *)realloc(HIDDEN(char, more), 300);
    free(again);
}

BAD(array_after_free, "realloc-after-free") {
    char *block = (char *)malloc(10);
    free(block);
    free(reallocarray(HIDDEN(char, block), 10, 20));
}
GOOD(array_after_free) {
    char *block = (char *)malloc(10);
    free(reallocarray(HIDDEN(char, block), 10, 20));
}

BAD(large_after_free, "realloc-after-free") {
    char *block = (char *)malloc(10 << 20);
    free(block);
    free(realloc(HIDDEN(char, block), 20 << 20));
}
GOOD(large_after_free) {
    char *block = (char *)malloc(10 << 20);
    free(realloc(HIDDEN(char, block), 20 << 20));
}

BAD(leave_by_exception, "leak") {
    long *kept = new long[3];
    try {
        long *numbers = new long[(size_t)(suite_one + 3)];
        throw numbers;
    } catch (long *numbers) {
        delete[] numbers;
    }
    suite_sink = HIDDEN(long, kept) != nullptr;
}
GOOD(leave_by_exception) {
    try {
        long *numbers = new long[(size_t)(suite_one + 3)];
        throw numbers;
    } catch (long *numbers) {
        delete[] numbers;
    }
}

// The compiler's own check throws before anything is allocated: nothing to see.
GOOD(new_array_negative) {
    long count = -suite_one;
    try {
        delete[] new int[(size_t)count];
    } catch (const std::bad_array_new_length &) {
        printf("caught\n");
    }
}
