// Releases of a block that was released before.
#include "suite.h"

BAD(direct, "double-free") {
    char *block = malloc(100);
    free(block);
    free(HIDDEN(char, block));
}
GOOD(direct) {
    char *block = malloc(100);
    free(block);
}

BAD(by_alias, "double-free") {
    int *block = malloc(10 * sizeof *block);
    int *alias = HIDDEN(int, block);
    free(block);
    free(alias);
}
GOOD(by_alias) {
    int *block = malloc(10 * sizeof *block);
    int *alias = HIDDEN(int, block);
    block = NULL;
    free(block);
    free(alias);
}

__attribute__((noinline)) static void release(void *block) {
    free(block);
}
BAD(in_two_functions, "double-free") {
    void *block = malloc(64);
    release(block);
    free(HIDDEN(char, block));
}
GOOD(in_two_functions) {
    void *block = malloc(64);
    release(block);
}

BAD(on_a_condition, "double-free") {
    void *block = malloc(24);
    if (suite_one) {
        free(block);
    }
    if (suite_one == 1) {
        free(HIDDEN(char, block));
    }
}
GOOD(on_a_condition) {
    void *block = malloc(24);
    if (suite_one) {
        free(block);
    } else {
        free(HIDDEN(char, block));
    }
}

BAD(in_a_loop, "double-free") {
    void *block = malloc(40);
    for (int turn = 0; turn < 3; turn++) {
        free(HIDDEN(char, block));
    }
}
GOOD(in_a_loop) {
    for (int turn = 0; turn < 3; turn++) {
        void *block = malloc(40);
        free(HIDDEN(char, block));
    }
}

BAD(after_another_allocation, "double-free") {
    void *block = malloc(48);
    free(block);
    void *other = malloc(48);
    free(HIDDEN(char, block));
    free(other);
}
GOOD(after_another_allocation) {
    void *block = malloc(48);
    free(block);
    void *other = malloc(48);
    free(other);
}

struct node {
    struct node *next;
    char *name;
};
BAD(shared_member, "double-free") {
    struct node *first = malloc(sizeof *first);
    struct node *second = malloc(sizeof *second);
    first->name = strdup("a name");
    second->name = first->name;
    free(first->name);
    free(HIDDEN(char, second->name));
    free(first);
    free(second);
}
GOOD(shared_member) {
    struct node *first = malloc(sizeof *first);
    struct node *second = malloc(sizeof *second);
    first->name = strdup("a name");
    second->name = strdup(first->name);
    free(first->name);
    free(second->name);
    free(first);
    free(second);
}

BAD(large, "double-free") {
    char *block = malloc(1 << 20);
    memset(block, 1, 1 << 20);
    free(block);
    free(HIDDEN(char, block));
}
GOOD(large) {
    char *block = malloc(1 << 20);
    memset(block, 1, 1 << 20);
    free(block);
}

BAD(very_large, "double-free") {
    char *block = malloc(64 << 20);
    block[0] = 1;
    free(block);
    free(HIDDEN(char, block));
}
GOOD(very_large) {
    char *block = malloc(64 << 20);
    block[0] = 1;
    free(block);
}

BAD(of_calloc, "double-free") {
    int *block = calloc(25, sizeof *block);
    free(block);
    free(HIDDEN(int, block));
}
GOOD(of_calloc) {
    int *block = calloc(25, sizeof *block);
    free(block);
}

BAD(of_aligned, "double-free") {
    void *block = aligned_alloc(64, 128);
    free(block);
    free(HIDDEN(char, block));
}
GOOD(of_aligned) {
    void *block = aligned_alloc(64, 128);
    free(block);
}

BAD(of_nothing, "double-free") {
    void *block = malloc(0);
    free(block);
    free(HIDDEN(char, block));
}
GOOD(of_nothing) {
    void *block = malloc(0);
    free(block);
}

BAD(old_pointer_after_realloc, "double-free") {
    char *block = malloc(16);
    char *moved = realloc(block, 100000);
    free(HIDDEN(char, block));
    free(moved);
}
GOOD(old_pointer_after_realloc) {
    char *block = malloc(16);
    char *moved = realloc(block, 100000);
    free(moved);
}

BAD(released_by_realloc, "double-free") {
    char *block = malloc(16);
    char *rest = realloc(block, suite_one - 1);
    free(rest);
    free(HIDDEN(char, block));
}
GOOD(released_by_realloc) {
    char *block = malloc(16);
    char *rest = realloc(block, suite_one);
    free(rest);
}

BAD(rows_of_a_matrix, "double-free") {
    int **rows = malloc(4 * sizeof *rows);
    for (int row = 0; row < 4; row++) {
        rows[row] = malloc(8 * sizeof **rows);
    }
    for (int row = 0; row <= 4; row++) {
        free(HIDDEN(int, rows[row % 4]));
    }
    free(rows);
}
GOOD(rows_of_a_matrix) {
    int **rows = malloc(4 * sizeof *rows);
    for (int row = 0; row < 4; row++) {
        rows[row] = malloc(8 * sizeof **rows);
    }
    for (int row = 0; row < 4; row++) {
        free(rows[row]);
    }
    free(rows);
}

BAD(file_buffer, "double-free") {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fmemopen((void *)"one line\n", 9, "r");
    suite_sink = getline(&line, &room, file);
    fclose(file);
    free(line);
    free(HIDDEN(char, line));
}
GOOD(file_buffer) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fmemopen((void *)"one line\n", 9, "r");
    suite_sink = getline(&line, &room, file);
    fclose(file);
    free(line);
}
