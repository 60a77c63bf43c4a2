// Writes past the end of a block that leave the bytes right behind it as they are.
#include "suite.h"

#include <malloc.h>
#include <stdint.h>
#include <wchar.h>

// One element, `index` elements from the start of a block of `count`.
#define APART(name, type, make, count, index) \
    BAD(name, "heap-overflow") { \
        type *block = make; \
        HIDDEN(type, block)[index] = (type)1; \
        free(block); \
    } \
    GOOD(name) { \
        type *block = make; \
        HIDDEN(type, block)[(count) - 1] = (type)1; \
        free(block); \
    }

APART(char_8_past, char, malloc(40), 40, 48)
APART(char_16_past, char, malloc(40), 40, 56)
APART(char_24_past, char, malloc(40), 40, 64)
APART(char_32_past, char, malloc(40), 40, 72)
APART(char_39_past, char, malloc(40), 40, 79)
APART(char_31_past_1, char, malloc(1), 1, 32)

APART(char_100_past, char, malloc(101), 101, 201)
APART(char_69_past_128, char, malloc(128), 128, 197)
APART(char_500_past_1000, char, malloc(1000), 1000, 1500)
APART(char_500_past_100000, char, malloc(100000), 100000, 100500)
APART(char_500_past_200001, char, malloc(200001), 200001, 200501)
APART(char_500_past_2000000, char, malloc(2000000), 2000000, 2000500)
APART(char_500_past_50000000, char, malloc(50000000), 50000000, 50000500)
APART(short_skip_one, short, malloc(20), 10, 15)
APART(int_index_14_of_10, int, malloc(10 * sizeof(int)), 10, 14)
APART(int_index_69_of_64, int, malloc(64 * sizeof(int)), 64, 69)
APART(int_calloc, int, calloc(10, sizeof(int)), 10, 13)
APART(int_realloc, int, realloc(malloc(8), 40), 10, 13)
APART(int_reallocarray, int, reallocarray(NULL, 10, sizeof(int)), 10, 13)
APART(long_index_3_of_1, int64_t, malloc(sizeof(int64_t)), 1, 3)
APART(double_index_12_of_10, double, malloc(10 * sizeof(double)), 10, 12)
APART(wide_index_12_of_10, wchar_t, malloc(10 * sizeof(wchar_t)), 10, 12)
APART(float_aligned, float, aligned_alloc(64, 64), 16, 20)
APART(float_aligned_page, float, aligned_alloc(4096, 8192), 2048, 2060)
APART(float_memalign, float, memalign(32, 100), 25, 30)
APART(float_mapped_aligned, float, aligned_alloc(64, 400000), 100000, 100020)
APART(char_strdup, char, strdup("text"), 5, 20)

BAD(posix_memalign, "heap-overflow") {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 128, 100);
    HIDDEN(int, block)[29] = 1;
    free(block);
}
GOOD(posix_memalign) {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 128, 100);
    HIDDEN(int, block)[24] = 1;
    free(block);
}

// Every fourth element, as of a matrix's column.
BAD(stride, "heap-overflow") {
    double *matrix = malloc(5 * 4 * sizeof *matrix);
    for (int row = 0; row <= 5; row++) {
        HIDDEN(double, matrix)[4 * row + 3] = row;
    }
    free(matrix);
}
GOOD(stride) {
    double *matrix = malloc(5 * 4 * sizeof *matrix);
    for (int row = 0; row < 5; row++) {
        HIDDEN(double, matrix)[4 * row + 3] = row;
    }
    free(matrix);
}

BAD(second_number_of_each_pair, "heap-overflow") {
    float *pairs = malloc(6 * sizeof *pairs);
    for (int pair = 0; pair < 6; pair++) {
        HIDDEN(float, pairs)[2 * pair + 1] = 1;
    }
    free(pairs);
}
GOOD(second_number_of_each_pair) {
    float *pairs = malloc(12 * sizeof *pairs);
    for (int pair = 0; pair < 6; pair++) {
        HIDDEN(float, pairs)[2 * pair + 1] = 1;
    }
    free(pairs);
}

struct small {
    int64_t first;
};
struct large {
    int64_t first;
    int64_t second;
    int64_t third;
};
BAD(member_of_a_larger_struct, "heap-overflow") {
    struct large *large = malloc(sizeof(struct small));
    HIDDEN(struct large, large)->third = 1;
    free(large);
}
GOOD(member_of_a_larger_struct) {
    struct large *large = malloc(sizeof(struct large));
    HIDDEN(struct large, large)->third = 1;
    free(large);
}

BAD(last_member_of_the_next_struct, "heap-overflow") {
    struct large *array = malloc(5 * sizeof *array);
    HIDDEN(struct large, array)[5].third = 1;
    free(array);
}
GOOD(last_member_of_the_next_struct) {
    struct large *array = malloc(5 * sizeof *array);
    HIDDEN(struct large, array)[4].third = 1;
    free(array);
}

BAD(struct_after_the_next, "heap-overflow") {
    struct large *array = malloc(5 * sizeof *array);
    for (int place = 0; place <= 6; place += 2) {
        HIDDEN(struct large, array)[place].first = place;
    }
    free(array);
}
GOOD(struct_after_the_next) {
    struct large *array = malloc(5 * sizeof *array);
    for (int place = 0; place < 5; place += 2) {
        HIDDEN(struct large, array)[place].first = place;
    }
    free(array);
}

BAD(flexible_array, "heap-overflow") {
    struct message {
        int length;
        char text[];
    } *message = malloc(sizeof *message + 10);
    HIDDEN(struct message, message)->text[24] = 'x';
    free(message);
}
GOOD(flexible_array) {
    struct message {
        int length;
        char text[];
    } *message = malloc(sizeof *message + 10);
    HIDDEN(struct message, message)->text[9] = 'x';
    free(message);
}

BAD(text_appended_too_far, "heap-overflow") {
    char *text = malloc(16);
    strcpy(HIDDEN(char, text) + 26, "end");
    free(text);
}
GOOD(text_appended_too_far) {
    char *text = malloc(16);
    strcpy(HIDDEN(char, text) + 12, "end");
    free(text);
}

BAD(shrunk, "heap-overflow") {
    char *block = realloc(malloc(300), 100);
    HIDDEN(char, block)[140] = 1;
    free(block);
}
GOOD(shrunk) {
    char *block = realloc(malloc(300), 100);
    HIDDEN(char, block)[99] = 1;
    free(block);
}

// From the middle of the margin over its end, into what lies behind the last block.
BAD(over_the_end_of_the_margin, "heap-overflow") {
    char *block = malloc(40);
    memset(HIDDEN(char, block) + 60, 'x', 60);
    char *other = malloc(5000);
    free(other);
    free(block);
}
GOOD(over_the_end_of_the_margin) {
    char *block = malloc(120);
    memset(HIDDEN(char, block) + 60, 'x', 60);
    char *other = malloc(5000);
    free(other);
    free(block);
}

BAD(seen_by_realloc, "heap-overflow") {
    int *block = malloc(40);
    HIDDEN(int, block)[14] = 1;
    free(realloc(block, 300));
}
GOOD(seen_by_realloc) {
    int *block = malloc(40);
    HIDDEN(int, block)[9] = 1;
    free(realloc(block, 300));
}

// Many blocks have come and gone.
static int *one_after_many(void) {
    enum { COUNT = 70000 };
    void **blocks = malloc(COUNT * sizeof *blocks);
    for (int place = 0; place < COUNT; place++) {
        blocks[place] = malloc(24);
    }
    for (int place = 0; place < COUNT; place++) {
        free(blocks[place]);
    }
    free(blocks);
    return malloc(40);
}
BAD(after_many_blocks, "heap-overflow") {
    int *block = one_after_many();
    HIDDEN(int, block)[14] = 1;
    free(block);
}
GOOD(after_many_blocks) {
    int *block = one_after_many();
    HIDDEN(int, block)[9] = 1;
    free(block);
}

BAD(after_the_release, "heap-overflow") {
    int *block = malloc(40);
    free(block);
    HIDDEN(int, block)[14] = 1;
}
GOOD(after_the_release) {
    int *block = malloc(40);
    HIDDEN(int, block)[9] = 1;
    free(block);
}

BAD(never_released, "heap-overflow leak") {
    int *block = malloc(40);
    HIDDEN(int, block)[14] = 1;
}
GOOD(never_released) {
    int *block = malloc(40);
    HIDDEN(int, block)[9] = 1;
    free(block);
}

BAD(thousand_times, "heap-overflow") {
    for (int turn = 1; turn <= 1000; turn++) {
        char *block = malloc(turn);
        HIDDEN(char, block)[turn + 8 + turn % 24] = 1;
        free(block);
    }
}
GOOD(thousand_times) {
    for (int turn = 1; turn <= 1000; turn++) {
        char *block = malloc(turn);
        HIDDEN(char, block)[turn - 1] = 1;
        free(block);
    }
}
