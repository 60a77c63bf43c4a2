// Writes before the start of a block that leave the eight bytes in front of it alone.
#include "suite.h"

#define APART(name, make, unmake, type, index) \
    BAD(name, "heap-underflow") { \
        type *numbers = (type *)make; \
        HIDDEN(type, numbers)[index] = (type)suite_one; \
        unmake; \
    } \
    GOOD(name) { \
        type *numbers = (type *)make; \
        HIDDEN(type, numbers)[0] = (type)suite_one; \
        unmake; \
    }

APART(shorts_five_before, calloc(5, sizeof(short)), free(numbers), short, -5)
APART(ints_three_before, malloc(5 * sizeof(int)), free(numbers), int, -3)
APART(ints_five_before, calloc(5, sizeof(int)), free(numbers), int, -5)
APART(ints_six_before, malloc(100 * sizeof(int)), free(numbers), int, -6)
APART(longs_two_before, malloc(5 * sizeof(long)), free(numbers), long, -2)
APART(chars_forty_before, malloc(5), free(numbers), char, -40)
APART(chars_of_another_row, malloc(520), free(numbers), char, -520)
APART(chars_of_a_page, malloc(4096), free(numbers), char, -100)
APART(large, malloc(30000), free(numbers), char, -500)
APART(object, new int(7), delete numbers, int, -5)
APART(array, new int[5], delete[] numbers, int, -5)
APART(resized, realloc(NULL, 20), free(numbers), int, -1)

struct pair {
    int first;
    int second;
    int rest[11];
};

BAD(member_of_the_struct_before, "heap-underflow") {
    struct pair *pairs = (struct pair *)malloc(10 * sizeof *pairs);
    HIDDEN(struct pair, pairs)[-1].second = suite_one;
    free(pairs);
}
GOOD(member_of_the_struct_before) {
    struct pair *pairs = (struct pair *)malloc(10 * sizeof *pairs);
    HIDDEN(struct pair, pairs)[0].second = suite_one;
    free(pairs);
}

// From far before the block into it.
BAD(from_before_to_inside, "heap-underflow") {
    char *block = (char *)malloc(100);
    memset(HIDDEN(char, block) - 40, 1, 60);
    free(block);
}
GOOD(from_before_to_inside) {
    char *block = (char *)malloc(100);
    memset(HIDDEN(char, block), 1, 60);
    free(block);
}

BAD(never_released, "heap-underflow leak") {
    int *numbers = (int *)malloc(60);
    HIDDEN(int, numbers)[-5] = suite_one;
    numbers = NULL;
}
GOOD(never_released) {
    int *numbers = (int *)malloc(60);
    HIDDEN(int, numbers)[5] = suite_one;
    free(numbers);
}

BAD(after_the_release, "heap-underflow") {
    int *numbers = (int *)malloc(60);
    free(numbers);
    HIDDEN(int, numbers)[-5] = suite_one;
}
GOOD(after_the_release) {
    int *numbers = (int *)malloc(60);
    HIDDEN(int, numbers)[5] = suite_one;
    free(numbers);
}

BAD(seen_by_realloc, "heap-underflow") {
    int *numbers = (int *)malloc(60);
    HIDDEN(int, numbers)[-5] = suite_one;
    numbers = (int *)realloc(numbers, 20);
    free(numbers);
}
GOOD(seen_by_realloc) {
    int *numbers = (int *)malloc(60);
    HIDDEN(int, numbers)[5] = suite_one;
    numbers = (int *)realloc(numbers, 20);
    numbers = (int *)realloc(numbers, 200);
    free(numbers);
}

// The first of three neighbours is written past its end, over all that lies between it and the next.
BAD(neighbour_overflows, "heap-overflow") {
    char *first = (char *)malloc(40);
    char *second = (char *)malloc(40);
    char *third = (char *)malloc(40);
    memset(HIDDEN(char, first), 1, 120);
    free(first);
    free(second);
    free(third);
}
GOOD(neighbour_overflows) {
    char *first = (char *)malloc(40);
    char *second = (char *)malloc(40);
    char *third = (char *)malloc(40);
    memset(HIDDEN(char, first), 1, 40);
    free(third);
    free(second);
    free(first);
}

// The margin is no memory that was forgotten to be zeroed, and none that is leaked.
BAD(thousand_times, "heap-underflow") {
    for (int turn = 0; turn < 1000; turn++) {
        int *numbers = (int *)calloc(5, sizeof *numbers);
        if (numbers[0] | numbers[4]) abort();
        if (turn == 0) HIDDEN(int, numbers)[-5] = suite_one;
        free(numbers);
    }
}
GOOD(thousand_times) {
    for (int turn = 0; turn < 1000; turn++) {
        int *numbers = (int *)calloc(5, sizeof *numbers);
        if (numbers[0] | numbers[4]) abort();
        numbers = (int *)realloc(numbers, 10 + turn);
        free(numbers);
    }
}
