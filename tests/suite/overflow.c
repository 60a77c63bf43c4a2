// Accesses past the end of a block. The text of a few of them is that of the public collections.
#include "suite.h"

#include <malloc.h>
#include <stdint.h>
#include <wchar.h>

#define ONE_PAST(name, make, size) \
    BAD(name, "heap-overflow") { \
        char *block = make; \
        HIDDEN(char, block)[size] = 'x'; \
        free(block); \
    } \
    GOOD(name) { \
        char *block = make; \
        HIDDEN(char, block)[(size) - 1] = 'x'; \
        free(block); \
    }

ONE_PAST(malloc_1, malloc(1), 1)
ONE_PAST(malloc_16, malloc(16), 16)
ONE_PAST(malloc_23, malloc(23), 23)
ONE_PAST(malloc_24, malloc(24), 24)
ONE_PAST(malloc_32, malloc(32), 32)
ONE_PAST(malloc_100, malloc(100), 100)
ONE_PAST(malloc_1000, malloc(1000), 1000)
ONE_PAST(malloc_4096, malloc(4096), 4096)
ONE_PAST(malloc_65536, malloc(65536), 65536)
ONE_PAST(malloc_131072, malloc(131072), 131072)
ONE_PAST(malloc_200001, malloc(200001), 200001)
ONE_PAST(malloc_1048576, malloc(1048576), 1048576)
ONE_PAST(malloc_50000000, malloc(50000000), 50000000)
ONE_PAST(calloc_10, calloc(10, 1), 10)
ONE_PAST(calloc_800, calloc(100, 8), 800)
ONE_PAST(calloc_200000, calloc(200000, 1), 200000)
ONE_PAST(aligned_64, aligned_alloc(64, 64), 64)
ONE_PAST(aligned_4096, aligned_alloc(4096, 8192), 8192)
ONE_PAST(memalign_100, memalign(32, 100), 100)
ONE_PAST(valloc_100, valloc(100), 100)
ONE_PAST(realloc_null, realloc(NULL, 50), 50)
ONE_PAST(reallocarray_null, reallocarray(NULL, 5, 10), 50)
ONE_PAST(strdup_5, strdup("text"), 5)
ONE_PAST(strndup_3, strndup("text", 2), 3)

BAD(posix_memalign_100, "heap-overflow") {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 128, 100);
    HIDDEN(char, block)[100] = 1;
    free(block);
}
GOOD(posix_memalign_100) {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 128, 100);
    HIDDEN(char, block)[99] = 1;
    free(block);
}

BAD(nothing_at_all, "heap-overflow") {
    char *block = malloc(0);
    HIDDEN(char, block)[0] = 1;
    free(block);
}
GOOD(nothing_at_all) {
    char *block = malloc(0);
    suite_sink = HIDDEN(char, block) != NULL;
    free(block);
}

BAD(loop, "heap-overflow") {
    int *numbers = malloc(10 * sizeof *numbers);
    for (int place = 0; place <= 10; place++) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}
GOOD(loop) {
    int *numbers = malloc(10 * sizeof *numbers);
    for (int place = 0; place < 10; place++) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}

BAD(terminator, "heap-overflow") {
    const char *text = "AAAAAAAAAA";
    char *copy = malloc(10);
    strcpy(HIDDEN(char, copy), text);
    puts(copy);
    free(copy);
}
GOOD(terminator) {
    const char *text = "AAAAAAAAAA";
    char *copy = malloc(11);
    strcpy(HIDDEN(char, copy), text);
    puts(copy);
    free(copy);
}

BAD(wide_terminator, "heap-overflow") {
    const wchar_t *text = L"AAAAAAAAAA";
    wchar_t *copy = malloc(10 * sizeof *copy);
    wcscpy(HIDDEN(wchar_t, copy), text);
    free(copy);
}
GOOD(wide_terminator) {
    const wchar_t *text = L"AAAAAAAAAA";
    wchar_t *copy = malloc(11 * sizeof *copy);
    wcscpy(HIDDEN(wchar_t, copy), text);
    free(copy);
}

// A buffer of half the size, of characters: 50 bytes too many, over what lies behind.
#define HALF(name, type, copying) \
    BAD(name, "heap-overflow") { \
        type source[100]; \
        for (int place = 0; place < 100; place++) source[place] = (type)'C'; \
        source[99] = 0; \
        type *data = malloc(50 * sizeof *data); \
        data[0] = 0; \
        size_t room = 100; \
        (void)room; \
        copying; \
        printf("%d\n", (int)data[49]); \
        free(data); \
    } \
    GOOD(name) { \
        type source[100]; \
        for (int place = 0; place < 100; place++) source[place] = (type)'C'; \
        source[99] = 0; \
        type *data = malloc(100 * sizeof *data); \
        data[0] = 0; \
        size_t room = 100; \
        (void)room; \
        copying; \
        printf("%d\n", (int)data[49]); \
        free(data); \
    }

HALF(half_memcpy, char, memcpy(HIDDEN(char, data), source, room))
HALF(half_memmove, char, memmove(HIDDEN(char, data), source, room))
HALF(half_strcpy, char, strcpy(HIDDEN(char, data), source))
HALF(half_strncpy, char, strncpy(HIDDEN(char, data), source, room))
HALF(half_strcat, char, strcat(HIDDEN(char, data), source))
HALF(half_strncat, char, strncat(HIDDEN(char, data), source, room))
HALF(half_sprintf, char, sprintf(HIDDEN(char, data), "%s", source))
HALF(half_snprintf, char, snprintf(HIDDEN(char, data), room, "%s", source))
HALF(half_loop, char, for (size_t i = 0; i < room; i++) HIDDEN(char, data)[i] = source[i])
HALF(half_wide_memcpy, wchar_t, memcpy(HIDDEN(wchar_t, data), source, room * sizeof *data))
HALF(half_wide_wcscpy, wchar_t, wcscpy(HIDDEN(wchar_t, data), source))
HALF(half_wide_wcsncpy, wchar_t, wcsncpy(HIDDEN(wchar_t, data), source, room))
HALF(half_wide_wcscat, wchar_t, wcscat(HIDDEN(wchar_t, data), source))
HALF(half_wide_swprintf, wchar_t, swprintf(HIDDEN(wchar_t, data), room, L"%ls", source))
HALF(half_int_memcpy, int, memcpy(HIDDEN(int, data), source, room * sizeof *data))
HALF(half_int_loop, int, for (size_t i = 0; i < room; i++) HIDDEN(int, data)[i] = source[i])
HALF(half_long_memmove, int64_t, memmove(HIDDEN(int64_t, data), source, room * sizeof *data))
HALF(half_long_loop, int64_t, for (size_t i = 0; i < room; i++) HIDDEN(int64_t, data)[i] = source[i])

BAD(before_another_allocation, "heap-overflow") {
    char *first = malloc(50);
    memset(HIDDEN(char, first), 'C', 100);
    char *second = malloc(200);
    memset(second, 0, 200);
    char *third = malloc(5000);
    free(third);
    free(second);
    free(first);
}
GOOD(before_another_allocation) {
    char *first = malloc(100);
    memset(HIDDEN(char, first), 'C', 100);
    char *second = malloc(200);
    free(second);
    free(first);
}

BAD(into_the_next_block, "heap-overflow") {
    char *first = malloc(50);
    char *second = malloc(50);
    memset(HIDDEN(char, first), 'C', 100);
    free(second);
    free(first);
}
GOOD(into_the_next_block) {
    char *first = malloc(50);
    char *second = malloc(50);
    memset(HIDDEN(char, first), 'C', 50);
    free(second);
    free(first);
}

BAD(over_three_blocks, "heap-overflow") {
    char *blocks[5];
    for (int place = 0; place < 5; place++) {
        blocks[place] = malloc(24);
    }
    memset(HIDDEN(char, blocks[0]), 'C', 120);
    for (int place = 0; place < 5; place++) {
        free(blocks[place]);
    }
}
GOOD(over_three_blocks) {
    char *blocks[5];
    for (int place = 0; place < 5; place++) {
        blocks[place] = malloc(24);
    }
    memset(HIDDEN(char, blocks[0]), 'C', 24);
    for (int place = 0; place < 5; place++) {
        free(blocks[place]);
    }
}

BAD(into_a_free_chunk, "heap-overflow") {
    char *first = malloc(2000);
    char *second = malloc(3000);
    char *wall = malloc(100);
    free(second);
    memset(HIDDEN(char, first), 'C', 2100);
    free(first);
    free(wall);
    free(malloc(2500));
}
GOOD(into_a_free_chunk) {
    char *first = malloc(2000);
    char *second = malloc(3000);
    char *wall = malloc(100);
    free(second);
    memset(HIDDEN(char, first), 'C', 2000);
    free(first);
    free(wall);
    free(malloc(2500));
}

BAD(size_of_pointer, "heap-overflow") {
    double *number = malloc(sizeof(char *) / 2);
    *HIDDEN(double, number) = 1.7e300;
    free(number);
}
GOOD(size_of_pointer) {
    double *number = malloc(sizeof *number);
    *HIDDEN(double, number) = 1.7e300;
    free(number);
}

struct record {
    int number;
    char text[12];
};
BAD(struct_too_small, "heap-overflow") {
    struct record *record = malloc(sizeof(int));
    strcpy(HIDDEN(struct record, record)->text, "overflow");
    free(record);
}
GOOD(struct_too_small) {
    struct record *record = malloc(sizeof *record);
    strcpy(HIDDEN(struct record, record)->text, "fits");
    free(record);
}

BAD(last_member_too_long, "heap-overflow") {
    struct record *record = malloc(sizeof *record);
    strcpy(HIDDEN(struct record, record)->text, "long enough to leave");
    free(record);
}
GOOD(last_member_too_long) {
    struct record *record = malloc(sizeof *record);
    strcpy(HIDDEN(struct record, record)->text, "fits");
    free(record);
}

BAD(product_overflows, "heap-overflow") {
    unsigned count = 0x40000001u * (unsigned)suite_one;
    int *numbers = malloc(count * (unsigned)sizeof *numbers);
    for (int place = 0; place < 8; place++) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}
GOOD(product_overflows) {
    unsigned count = 8 * (unsigned)suite_one;
    int *numbers = malloc(count * sizeof *numbers);
    for (int place = 0; place < 8; place++) {
        HIDDEN(int, numbers)[place] = place;
    }
    free(numbers);
}

BAD(grown_then_past, "heap-overflow") {
    char *block = malloc(10);
    block = realloc(block, 300);
    HIDDEN(char, block)[300] = 1;
    free(block);
}
GOOD(grown_then_past) {
    char *block = malloc(10);
    block = realloc(block, 300);
    HIDDEN(char, block)[299] = 1;
    free(block);
}

BAD(shrunk_then_past, "heap-overflow") {
    char *block = malloc(300);
    block = realloc(block, 100);
    HIDDEN(char, block)[200] = 1;
    HIDDEN(char, block)[100] = 1;
    free(block);
}
GOOD(shrunk_then_past) {
    char *block = malloc(300);
    block = realloc(block, 100);
    HIDDEN(char, block)[99] = 1;
    free(block);
}

BAD(seen_by_realloc, "heap-overflow") {
    char *block = malloc(30);
    HIDDEN(char, block)[30] = 1;
    block = realloc(block, 300);
    free(block);
}
GOOD(seen_by_realloc) {
    char *block = malloc(30);
    HIDDEN(char, block)[29] = 1;
    block = realloc(block, 300);
    free(block);
}

BAD(never_released, "heap-overflow leak") {
    char *block = malloc(30);
    HIDDEN(char, block)[30] = 1;
}
GOOD(never_released) {
    char *block = malloc(30);
    HIDDEN(char, block)[29] = 1;
    free(block);
}

BAD(never_released_far, "heap-overflow leak") {
    char *block = malloc(30);
    memset(HIDDEN(char, block), 'C', 200);
}
GOOD(never_released_far) {
    char *block = malloc(200);
    memset(HIDDEN(char, block), 'C', 200);
    free(block);
}

BAD(thousand_times, "heap-overflow") {
    for (int turn = 1; turn <= 1000; turn++) {
        char *block = malloc(2000 + turn);
        memset(HIDDEN(char, block), 'C', 2000 + turn + 8 + turn % 24);
        free(block);
    }
}
GOOD(thousand_times) {
    for (int turn = 1; turn <= 1000; turn++) {
        char *block = malloc(2000 + turn);
        memset(HIDDEN(char, block), 'C', 2000 + turn);
        free(block);
    }
}

BAD(read_past, "guard:heap-overflow") {
    int *numbers = calloc(16, sizeof *numbers);
    suite_sink = HIDDEN(int, numbers)[16];
    free(numbers);
}
GOOD(read_past) {
    int *numbers = calloc(16, sizeof *numbers);
    suite_sink = HIDDEN(int, numbers)[15];
    free(numbers);
}

BAD(read_half, "guard:heap-overflow") {
    char copy[100];
    char *source = malloc(50);
    memset(source, 'A', 50);
    memcpy(copy, HIDDEN(char, source), 100);
    suite_sink = copy[99];
    free(source);
}
GOOD(read_half) {
    char copy[100];
    char *source = malloc(100);
    memset(source, 'A', 100);
    memcpy(copy, HIDDEN(char, source), 100);
    suite_sink = copy[99];
    free(source);
}
