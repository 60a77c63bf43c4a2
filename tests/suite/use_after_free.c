// Accesses to released blocks.
#include "suite.h"

BAD(write_first, "use-after-free") {
    char *block = malloc(100);
    free(block);
    HIDDEN(char, block)[0] = 'x';
}
GOOD(write_first) {
    char *block = malloc(100);
    HIDDEN(char, block)[0] = 'x';
    free(block);
}

BAD(write_last, "use-after-free") {
    char *block = malloc(100);
    free(block);
    HIDDEN(char, block)[99] = 'x';
}
GOOD(write_last) {
    char *block = malloc(100);
    HIDDEN(char, block)[99] = 'x';
    free(block);
}

BAD(write_middle_of_large, "use-after-free") {
    char *block = malloc(10000);
    free(block);
    memset(HIDDEN(char, block) + 1000, 'x', 100);
}
GOOD(write_middle_of_large) {
    char *block = malloc(10000);
    memset(HIDDEN(char, block) + 1000, 'x', 100);
    free(block);
}

BAD(write_middle_element_of_many, "use-after-free") {
    double *block = malloc(30000 * sizeof *block);
    free(block);
    HIDDEN(double, block)[15000] = 1;
}
GOOD(write_middle_element_of_many) {
    double *block = malloc(30000 * sizeof *block);
    HIDDEN(double, block)[15000] = 1;
    free(block);
}

BAD(write_middle_of_mapped, "use-after-free") {
    char *block = malloc(1 << 20);
    free(block);
    HIDDEN(char, block)[500000] = 'x';
}
GOOD(write_middle_of_mapped) {
    char *block = malloc(1 << 20);
    HIDDEN(char, block)[500000] = 'x';
    free(block);
}

BAD(write_very_large, "use-after-free") {
    char *block = malloc(64 << 20);
    free(block);
    HIDDEN(char, block)[32 << 20] = 'x';
}
GOOD(write_very_large) {
    char *block = malloc(64 << 20);
    HIDDEN(char, block)[32 << 20] = 'x';
    free(block);
}

BAD(read_very_large, "use-after-free") {
    double *block = malloc(64 << 20);
    block[1000000] = 1;
    free(block);
    suite_sink = (long)HIDDEN(double, block)[1000000];
}
GOOD(read_very_large) {
    double *block = malloc(64 << 20);
    block[1000000] = 1;
    suite_sink = (long)HIDDEN(double, block)[1000000];
    free(block);
}

BAD(read, "guard:use-after-free") {
    int *block = malloc(100 * sizeof *block);
    block[3] = 7;
    free(block);
    suite_sink = HIDDEN(int, block)[3];
}
GOOD(read) {
    int *block = malloc(100 * sizeof *block);
    block[3] = 7;
    suite_sink = HIDDEN(int, block)[3];
    free(block);
}

__attribute__((noinline)) static char *reversed(const char *text) {
    size_t length = strlen(text);
    char *copy = malloc(length + 1);
    for (size_t place = 0; place < length; place++) {
        copy[length - place - 1] = text[place];
    }
    copy[length] = '\0';
    free(copy);
    return hidden(copy);
}
BAD(returned, "guard:use-after-free") {
    suite_sink = reversed("text")[0];
}
GOOD(returned) {
    char *copy = strdup("text");
    suite_sink = copy[0];
    free(copy);
}

struct record {
    int number;
    struct record *next;
    char text[40];
};
BAD(write_member, "use-after-free") {
    struct record *record = malloc(sizeof *record);
    free(record);
    HIDDEN(struct record, record)->number = 4;
}
GOOD(write_member) {
    struct record *record = malloc(sizeof *record);
    HIDDEN(struct record, record)->number = 4;
    free(record);
}

BAD(list_walk, "guard:use-after-free") {
    struct record *first = calloc(1, sizeof *first);
    first->next = calloc(1, sizeof *first);
    for (struct record *at = first, *next = NULL; at != NULL; at = next) {
        next = at->next;
        free(at);
        suite_sink = HIDDEN(struct record, at)->number;
    }
}
GOOD(list_walk) {
    struct record *first = calloc(1, sizeof *first);
    first->next = calloc(1, sizeof *first);
    for (struct record *at = first, *next = NULL; at != NULL; at = next) {
        next = at->next;
        suite_sink = HIDDEN(struct record, at)->number;
        free(at);
    }
}

BAD(string_copy, "use-after-free") {
    char *text = malloc(32);
    free(text);
    strcpy(HIDDEN(char, text), "too late");
}
GOOD(string_copy) {
    char *text = malloc(32);
    strcpy(HIDDEN(char, text), "in time");
    free(text);
}

BAD(after_moving, "use-after-free") {
    int *numbers = malloc(4 * sizeof *numbers);
    int *wall = malloc(64);
    int *moved = realloc(numbers, 100000);
    HIDDEN(int, numbers)[1] = 5;
    free(moved);
    free(wall);
}
GOOD(after_moving) {
    int *numbers = malloc(4 * sizeof *numbers);
    int *wall = malloc(64);
    int *moved = realloc(numbers, 100000);
    HIDDEN(int, moved)[1] = 5;
    free(moved);
    free(wall);
}

BAD(after_moving_large, "use-after-free") {
    char *block = malloc(300000);
    char *wall = malloc(300000);
    char *moved = realloc(block, 3000000);
    HIDDEN(char, block)[7] = 5;
    free(moved);
    free(wall);
}
GOOD(after_moving_large) {
    char *block = malloc(300000);
    char *wall = malloc(300000);
    char *moved = realloc(block, 3000000);
    HIDDEN(char, moved)[7] = 5;
    free(moved);
    free(wall);
}

BAD(after_moving_many, "use-after-free") {
    char *old[20];
    for (int turn = 0; turn < 20; turn++) {
        char *block = malloc(40);
        void *wall = malloc(40);
        old[turn] = block;
        free(realloc(block, 4000));
        free(wall);
    }
    HIDDEN(char, old[3])[10] = 1;
}
GOOD(after_moving_many) {
    for (int turn = 0; turn < 20; turn++) {
        char *block = malloc(40);
        void *wall = malloc(40);
        free(realloc(block, 4000));
        free(wall);
    }
}

BAD(through_a_global, "use-after-free") {
    static char *kept;
    kept = malloc(48);
    free(kept);
    memset(HIDDEN(char, kept), 'A', 48);
}
GOOD(through_a_global) {
    static char *kept;
    kept = malloc(48);
    memset(HIDDEN(char, kept), 'A', 48);
    free(kept);
}

BAD(after_other_work, "use-after-free") {
    char *block = malloc(48);
    free(block);
    for (int turn = 0; turn < 100; turn++) {
        free(malloc(48));
    }
    HIDDEN(char, block)[8] = 'A';
    for (int turn = 0; turn < 100; turn++) {
        free(malloc(48));
    }
}
GOOD(after_other_work) {
    char *block = malloc(48);
    free(block);
    for (int turn = 0; turn < 200; turn++) {
        free(malloc(48));
    }
}

BAD(thousand_times, "use-after-free") {
    for (int turn = 0; turn < 1000; turn++) {
        char *block = malloc(16 + turn);
        free(block);
        memset(HIDDEN(char, block), 0, 16 + turn);
    }
}
GOOD(thousand_times) {
    for (int turn = 0; turn < 1000; turn++) {
        char *block = malloc(16 + turn);
        memset(HIDDEN(char, block), 0, 16 + turn);
        free(block);
    }
}

BAD(aligned, "use-after-free") {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 256, 512);
    free(block);
    HIDDEN(char, block)[4] = 1;
}
GOOD(aligned) {
    void *block = NULL;
    suite_sink = posix_memalign(&block, 256, 512);
    HIDDEN(char, block)[4] = 1;
    free(block);
}
