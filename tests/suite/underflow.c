// Accesses before the start of a block.
#include "suite.h"

#include <wchar.h>

#define ONE_BEFORE(name, make) \
    BAD(name, "heap-underflow") { \
        char *block = make; \
        HIDDEN(char, block)[-1] = 'x'; \
        free(block); \
    } \
    GOOD(name) { \
        char *block = make; \
        HIDDEN(char, block)[0] = 'x'; \
        free(block); \
    }

ONE_BEFORE(malloc_10, malloc(10))
ONE_BEFORE(malloc_64, malloc(64))
ONE_BEFORE(malloc_10000, malloc(10000))
ONE_BEFORE(malloc_1000000, malloc(1000000))
ONE_BEFORE(calloc_10, calloc(1, 10))
ONE_BEFORE(aligned, aligned_alloc(64, 64))

// Eight bytes before a buffer, as the public collections do it.
#define EIGHT_BEFORE(name, type, copying) \
    BAD(name, "heap-underflow") { \
        type source[100]; \
        for (int place = 0; place < 100; place++) source[place] = (type)'C'; \
        source[99] = 0; \
        type *buffer = malloc(100 * sizeof *buffer); \
        type *data = HIDDEN(type, buffer - 8); \
        copying; \
        printf("%d\n", (int)data[10]); \
        free(buffer); \
    } \
    GOOD(name) { \
        type source[100]; \
        for (int place = 0; place < 100; place++) source[place] = (type)'C'; \
        source[99] = 0; \
        type *buffer = malloc(100 * sizeof *buffer); \
        type *data = HIDDEN(type, buffer); \
        copying; \
        printf("%d\n", (int)data[10]); \
        free(buffer); \
    }

EIGHT_BEFORE(chars_memcpy, char, memcpy(data, source, 100))
EIGHT_BEFORE(chars_memmove, char, memmove(data, source, 100))
EIGHT_BEFORE(chars_strcpy, char, strcpy(data, source))
EIGHT_BEFORE(chars_strncpy, char, strncpy(data, source, 99))
EIGHT_BEFORE(chars_loop, char, for (int i = 0; i < 100; i++) data[i] = source[i])
EIGHT_BEFORE(wide_wcscpy, wchar_t, wcscpy(data, source))
EIGHT_BEFORE(wide_memcpy, wchar_t, memcpy(data, source, 100 * sizeof *data))

BAD(int_before, "heap-underflow") {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[-1] = 5;
    free(numbers);
}
GOOD(int_before) {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[0] = 5;
    free(numbers);
}

BAD(count_down, "heap-underflow") {
    int *numbers = malloc(10 * sizeof *numbers);
    for (int place = 9; place >= -1; place--) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}
GOOD(count_down) {
    int *numbers = malloc(10 * sizeof *numbers);
    for (int place = 9; place >= 0; place--) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}

BAD(seen_by_realloc, "heap-underflow") {
    char *block = malloc(40);
    HIDDEN(char, block)[-1] = 'x';
    block = realloc(block, 400);
    free(block);
}
GOOD(seen_by_realloc) {
    char *block = malloc(40);
    HIDDEN(char, block)[0] = 'x';
    block = realloc(block, 400);
    free(block);
}

BAD(never_released, "heap-underflow leak") {
    char *block = malloc(40);
    memset(HIDDEN(char, block) - 8, 'x', 8);
}
GOOD(never_released) {
    char *block = malloc(40);
    memset(HIDDEN(char, block), 'x', 8);
    free(block);
}

BAD(neighbour_released_first, "heap-underflow") {
    char *first = malloc(40);
    char *second = malloc(40);
    memset(HIDDEN(char, second) - 8, 'x', 8);
    free(first);
    free(second);
}
GOOD(neighbour_released_first) {
    char *first = malloc(40);
    char *second = malloc(40);
    free(first);
    free(second);
}

// Six ints too far, over the end of the margin of the block in front.
BAD(over_the_margin_in_front, "heap-underflow") {
    int *first = malloc(40);
    int *second = malloc(40);
    memset(HIDDEN(int, second) - 6, 'x', 24);
    free(second);
    free(first);
}
GOOD(over_the_margin_in_front) {
    int *first = malloc(40);
    int *second = malloc(40);
    memset(HIDDEN(int, second), 'x', 24);
    free(second);
    free(first);
}

BAD(over_the_margin_in_front_released_first, "heap-underflow") {
    int *first = malloc(40);
    int *second = malloc(40);
    memset(HIDDEN(int, second) - 6, 'x', 24);
    free(first);
    free(second);
}
GOOD(over_the_margin_in_front_released_first) {
    int *first = malloc(40);
    int *second = malloc(40);
    memset(HIDDEN(int, second), 'x', 24);
    free(first);
    free(second);
}

BAD(thousand_times, "heap-underflow") {
    for (int turn = 0; turn < 1000; turn++) {
        char *block = malloc(16 + turn);
        HIDDEN(char, block)[-1 - turn % 7] = 'x';
        free(block);
    }
}
GOOD(thousand_times) {
    for (int turn = 0; turn < 1000; turn++) {
        char *block = malloc(16 + turn);
        HIDDEN(char, block)[turn % 7] = 'x';
        free(block);
    }
}

BAD(read_before_page, "guard:heap-underflow") {
    char *block = malloc(4096);
    suite_sink = HIDDEN(char, block)[-1];
    free(block);
}
GOOD(read_before_page) {
    char *block = malloc(4096);
    suite_sink = HIDDEN(char, block)[0];
    free(block);
}
