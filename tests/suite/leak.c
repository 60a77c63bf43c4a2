// Blocks that nobody releases.
#define _GNU_SOURCE
#include "suite.h"

#include <pthread.h>

BAD(simple, "leak") {
    char *block = malloc(100);
    strcpy(HIDDEN(char, block), "kept");
}
GOOD(simple) {
    char *block = malloc(100);
    strcpy(HIDDEN(char, block), "kept");
    free(block);
}

__attribute__((noinline)) static int parse(int is_right) {
    char *block = malloc(33);
    if (suite_one) {
        if (is_right) {
            free(block);
        }
        return -1;
    }
    free(block);
    return 0;
}
BAD(early_return, "leak") {
    suite_sink = parse(0);
}
GOOD(early_return) {
    suite_sink = parse(1);
}

BAD(overwritten_pointer, "leak") {
    char *block = malloc(10);
    block = malloc(20);
    free(HIDDEN(char, block));
}
GOOD(overwritten_pointer) {
    char *block = malloc(10);
    free(block);
    block = malloc(20);
    free(HIDDEN(char, block));
}

BAD(failed_realloc, "leak size-overflow") {
    char *block = malloc(10);
    block = realloc(block, (size_t)-suite_one);
    free(block);
}
GOOD(failed_realloc) {
    char *block = malloc(10);
    char *larger = realloc(block, (size_t)suite_one << 46);
    free(larger != NULL ? larger : block);
}

BAD(realloc_result_lost, "leak") {
    char *block = malloc(10);
    suite_sink = realloc(block, 100000) != NULL;
}
GOOD(realloc_result_lost) {
    char *block = malloc(10);
    free(realloc(block, 100000));
}

BAD(members, "leak") {
    char **names = malloc(3 * sizeof *names);
    for (int place = 0; place < 3; place++) {
        names[place] = strdup("name");
    }
    free(names);
}
GOOD(members) {
    char **names = malloc(3 * sizeof *names);
    for (int place = 0; place < 3; place++) {
        names[place] = strdup("name");
    }
    for (int place = 0; place < 3; place++) {
        free(names[place]);
    }
    free(names);
}

BAD(list, "leak") {
    struct node {
        struct node *next;
    } *first = NULL;
    for (int place = 0; place < 5; place++) {
        struct node *node = malloc(sizeof *node);
        node->next = first;
        first = node;
    }
    free(HIDDEN(struct node, first));
}
GOOD(list) {
    struct node {
        struct node *next;
    } *first = NULL;
    for (int place = 0; place < 5; place++) {
        struct node *node = malloc(sizeof *node);
        node->next = first;
        first = node;
    }
    while (first != NULL) {
        struct node *next = first->next;
        free(HIDDEN(struct node, first));
        first = next;
    }
}

BAD(in_a_loop, "leak") {
    for (int turn = 0; turn < 1000; turn++) {
        suite_sink = (long)malloc(1 + turn % 64);
    }
}
GOOD(in_a_loop) {
    for (int turn = 0; turn < 1000; turn++) {
        free(HIDDEN(char, malloc(1 + turn % 64)));
    }
}

static void *start(void *given) {
    suite_sink = (long)malloc(77);
    return given;
}
static void *start_right(void *given) {
    free(HIDDEN(char, malloc(77)));
    return given;
}
BAD(in_a_thread, "leak") {
    pthread_t thread;
    pthread_create(&thread, NULL, start, NULL);
    pthread_join(thread, NULL);
}
GOOD(in_a_thread) {
    pthread_t thread;
    pthread_create(&thread, NULL, start_right, NULL);
    pthread_join(thread, NULL);
}

BAD(thread_result, "leak") {
    pthread_t thread;
    pthread_create(&thread, NULL, start_right, calloc(1, 9));
    pthread_join(thread, NULL);
}
GOOD(thread_result) {
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, start_right, calloc(1, 9));
    pthread_join(thread, &result);
    free(result);
}

BAD(file_not_closed, "leak") {
    FILE *file = fopen("/dev/null", "r");
    suite_sink = file != NULL;
}
GOOD(file_not_closed) {
    FILE *file = fopen("/dev/null", "r");
    fclose(file);
}

BAD(from_library, "leak") {
    char *text = NULL;
    suite_sink = asprintf(&text, "number %d", suite_one);
}
GOOD(from_library) {
    char *text = NULL;
    suite_sink = asprintf(&text, "number %d", suite_one);
    free(text);
}

BAD(very_large, "leak") {
    char *block = malloc(64 << 20);
    HIDDEN(char, block)[1 << 20] = 1;
}
GOOD(very_large) {
    char *block = malloc(64 << 20);
    HIDDEN(char, block)[1 << 20] = 1;
    free(block);
}

BAD(of_nothing, "leak") {
    suite_sink = (long)malloc(0);
}
GOOD(of_nothing) {
    free(HIDDEN(char, malloc(0)));
}

BAD(aligned, "leak") {
    suite_sink = (long)aligned_alloc(128, 256);
}
GOOD(aligned) {
    free(HIDDEN(char, aligned_alloc(128, 256)));
}
