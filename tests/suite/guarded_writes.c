// Writes beside a block that leave its neighbouring bytes alone. Run with the check `guard` only: what
// lies beside a block then are its own pages, on the side of the closed page and on the other.
#include "suite.h"

#include <stdint.h>
#include <wchar.h>

#define PAST(name, type, make, count, index) \
    BAD(name, "heap-overflow") { \
        type *block = make; \
        HIDDEN(type, block)[index] = (type)1; \
        free(block); \
    } \
    GOOD(name) { \
        type *block = make; \
        HIDDEN(type, block)[0] = (type)1; \
        HIDDEN(type, block)[(count) - 1] = (type)1; \
        free(block); \
    }
#define BEFORE(name, type, make, count, index) \
    BAD(name, "heap-underflow") { \
        type *block = make; \
        HIDDEN(type, block)[index] = (type)1; \
        free(block); \
    } \
    GOOD(name) { \
        type *block = make; \
        HIDDEN(type, block)[0] = (type)1; \
        HIDDEN(type, block)[(count) - 1] = (type)1; \
        free(block); \
    }

PAST(char_3_past_13, char, malloc(13 * sizeof(char)), 13, 15)
PAST(char_100_past_40, char, malloc(40 * sizeof(char)), 40, 140)
PAST(char_1000_past_40, char, malloc(40 * sizeof(char)), 40, 1040)
PAST(char_2000_past_2000, char, malloc(2000 * sizeof(char)), 2000, 4000)
PAST(int_index_14_of_10, int, malloc(10 * sizeof(int)), 10, 14)
PAST(int_index_69_of_64, int, malloc(64 * sizeof(int)), 64, 69)
PAST(long_index_3_of_1, int64_t, malloc(1 * sizeof(int64_t)), 1, 3)
PAST(double_index_520_of_512, double, malloc(512 * sizeof(double)), 512, 520)
PAST(wide_index_12_of_10, wchar_t, malloc(10 * sizeof(wchar_t)), 10, 12)
PAST(char_60_past_5000, char, malloc(5000 * sizeof(char)), 5000, 5060)
PAST(char_9_past_65536, char, malloc(65536 * sizeof(char)), 65536, 65544)
PAST(calloc_12_of_10, int, calloc(10, sizeof(int)), 10, 12)
PAST(realloc_12_of_10, int, realloc(malloc(8), 40), 10, 12)

BEFORE(char_9_before_13, char, malloc(13 * sizeof(char)), 13, -9)
BEFORE(char_100_before_40, char, malloc(40 * sizeof(char)), 40, -100)
BEFORE(char_1000_before_40, char, malloc(40 * sizeof(char)), 40, -1000)
BEFORE(int_5_before_10, int, malloc(10 * sizeof(int)), 10, -5)
BEFORE(long_3_before_1, int64_t, malloc(1 * sizeof(int64_t)), 1, -3)
BEFORE(double_30_before_512, double, malloc(512 * sizeof(double)), 512, -30)
BEFORE(wide_12_before_10, wchar_t, malloc(10 * sizeof(wchar_t)), 10, -12)
BEFORE(char_60_before_5000, char, malloc(5000 * sizeof(char)), 5000, -60)
BEFORE(char_9_before_65536, char, malloc(65536 * sizeof(char)), 65536, -9)
BEFORE(calloc_12_before_10, int, calloc(10, sizeof(int)), 10, -12)
BEFORE(realloc_12_before_10, int, realloc(malloc(8), 40), 10, -12)

BAD(both_sides, "heap-overflow heap-underflow") {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[-5] = 1;
    HIDDEN(int, numbers)[14] = 1;
    free(numbers);
}
GOOD(both_sides) {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[0] = 1;
    HIDDEN(int, numbers)[9] = 1;
    free(numbers);
}

BAD(seen_by_realloc, "heap-underflow") {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[-5] = 1;
    free(realloc(numbers, 400));
}
GOOD(seen_by_realloc) {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[0] = 1;
    free(realloc(numbers, 400));
}

BAD(never_released, "heap-underflow leak") {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[-5] = 1;
}
GOOD(never_released) {
    int *numbers = malloc(40);
    HIDDEN(int, numbers)[0] = 1;
    free(numbers);
}
