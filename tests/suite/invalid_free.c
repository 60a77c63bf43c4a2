// Releases of what is no block: memory of another kind, or a pointer that has wandered.
#include "suite.h"

#include <alloca.h>
#include <pthread.h>
#include <sys/mman.h>

static char global_bytes[64];
static struct {
    int number;
    char text[32];
} global_record = {7, "text"};

BAD(stack_array, "invalid-free") {
    char local[100];
    local[0] = 1;
    free(HIDDEN(char, local));
}
GOOD(stack_array) {
    char local[100];
    char *block = malloc(sizeof local);
    free(HIDDEN(char, block));
}

BAD(stack_variable, "invalid-free") {
    int local = 1;
    free(HIDDEN(int, &local));
    suite_sink = local;
}
GOOD(stack_variable) {
    int *local = malloc(sizeof *local);
    free(local);
}

__attribute__((noinline)) static void callee(char *callers) {
    free(callers);
}
BAD(callers_stack, "invalid-free") {
    char local[33] = "text";
    callee(HIDDEN(char, local));
}
GOOD(callers_stack) {
    callee(malloc(33));
}

BAD(alloca, "invalid-free") {
    char *local = alloca(100);
    local[0] = 1;
    free(HIDDEN(char, local));
}
GOOD(alloca) {
    char *local = alloca(100);
    local[0] = 1;
    suite_sink = HIDDEN(char, local)[0];
}

BAD(global, "invalid-free") {
    free(HIDDEN(char, global_bytes));
}
GOOD(global) {
    suite_sink = HIDDEN(char, global_bytes)[0];
}

BAD(global_member, "invalid-free") {
    free(HIDDEN(char, global_record.text));
}
GOOD(global_member) {
    free(strdup(global_record.text));
}

BAD(function_static, "invalid-free") {
    static int numbers[16];
    free(HIDDEN(int, numbers));
}
GOOD(function_static) {
    static int *numbers;
    numbers = malloc(64);
    free(numbers);
}

BAD(literal, "invalid-free") {
    free(HIDDEN(char, "a literal"));
}
GOOD(literal) {
    free(strdup("a literal"));
}

BAD(function, "invalid-free") {
    free(HIDDEN(void, (void *)good_literal));
}
GOOD(function) {
    suite_sink = (long)HIDDEN(void, (void *)good_literal);
}

BAD(mapping, "invalid-free") {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(HIDDEN(char, pages));
    munmap(pages, 8192);
}
GOOD(mapping) {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages, 8192);
}

BAD(inside_mapping, "invalid-free") {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'x', 8192);
    free(HIDDEN(char, pages + 256));
    munmap(pages, 8192);
}
GOOD(inside_mapping) {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'x', 8192);
    munmap(pages, 8192);
}

BAD(environment, "invalid-free") {
    setenv("SUITE", "a value", 1);
    free(HIDDEN(char, getenv("PATH")));
}
GOOD(environment) {
    free(strdup(getenv("PATH")));
}

BAD(small_number, "invalid-free") {
    free(HIDDEN(char, 16));
}
GOOD(small_number) {
    free(HIDDEN(char, 0));
}

BAD(wild, "invalid-free") {
    free(HIDDEN(char, 0x123456789ab0));
}
GOOD(wild) {
    free(NULL);
}

BAD(not_canonical, "invalid-free") {
    free(HIDDEN(char, 0xdddddddddddddddd));
}
GOOD(not_canonical) {
    free(NULL);
}

BAD(search_moves_pointer, "invalid-free leak") {
    char *text = malloc(20);
    strcpy(text, "find the s here");
    for (; *text != '\0'; text++) {
        if (*text == 's') {
            break;
        }
    }
    free(HIDDEN(char, text));
}
GOOD(search_moves_pointer) {
    char *text = malloc(20);
    strcpy(text, "find the s here");
    size_t place = 0;
    while (text[place] != '\0' && text[place] != 's') {
        place++;
    }
    free(HIDDEN(char, text));
}

BAD(moved_by_sixteen, "invalid-free leak") {
    int *numbers = calloc(100, sizeof *numbers);
    numbers += 4;
    free(HIDDEN(int, numbers));
}
GOOD(moved_by_sixteen) {
    int *numbers = calloc(100, sizeof *numbers);
    numbers += 4;
    free(HIDDEN(int, numbers - 4));
}

BAD(one_past_the_end, "invalid-free leak") {
    int *numbers = calloc(12, sizeof *numbers);
    free(HIDDEN(int, numbers + 12));
}
GOOD(one_past_the_end) {
    int *numbers = calloc(12, sizeof *numbers);
    free(HIDDEN(int, numbers));
}

BAD(before_the_start, "invalid-free leak") {
    long *numbers = calloc(12, sizeof *numbers);
    free(HIDDEN(long, numbers - 2));
}
GOOD(before_the_start) {
    long *numbers = calloc(12, sizeof *numbers);
    free(HIDDEN(long, numbers));
}

BAD(inside_large, "invalid-free leak") {
    char *block = malloc(4 << 20);
    memset(block, 0, 4 << 20);
    free(HIDDEN(char, block + (2 << 20)));
}
GOOD(inside_large) {
    char *block = malloc(4 << 20);
    memset(block, 0, 4 << 20);
    free(HIDDEN(char, block));
}

struct record {
    long number;
    char text[24];
};
BAD(member, "invalid-free leak") {
    struct record *record = calloc(1, sizeof *record);
    free(HIDDEN(char, record->text));
}
GOOD(member) {
    struct record *record = calloc(1, sizeof *record);
    free(HIDDEN(char, record));
}

BAD(stack_looks_like_a_chunk, "invalid-free") {
    _Alignas(16) size_t words[16] = {0};
    words[1] = 0x41;
    words[9] = 0x1001;
    free(HIDDEN(size_t, words + 2));
}
GOOD(stack_looks_like_a_chunk) {
    _Alignas(16) size_t words[16] = {0};
    words[1] = 0x41;
    suite_sink = (long)HIDDEN(size_t, words)[1];
}

static void *free_from_thread(void *pointer) {
    free(pointer);
    return NULL;
}
BAD(another_threads_stack, "invalid-free") {
    char local[64] = "of the main thread";
    pthread_t thread;
    pthread_create(&thread, NULL, free_from_thread, HIDDEN(char, local));
    pthread_join(thread, NULL);
}
GOOD(another_threads_stack) {
    pthread_t thread;
    pthread_create(&thread, NULL, free_from_thread, malloc(64));
    pthread_join(thread, NULL);
}

static void *free_own_stack(void *unused) {
    char local[64] = "of a started thread";
    free(HIDDEN(char, local));
    return unused;
}
BAD(started_threads_stack, "invalid-free") {
    pthread_t thread;
    pthread_create(&thread, NULL, free_own_stack, NULL);
    pthread_join(thread, NULL);
}
GOOD(started_threads_stack) {
    pthread_t thread;
    pthread_create(&thread, NULL, free_from_thread, calloc(1, 64));
    pthread_join(thread, NULL);
}

BAD(realloc_of_stack, "invalid-free") {
    char local[40] = "local";
    free(realloc(HIDDEN(char, local), 100));
}
GOOD(realloc_of_stack) {
    free(realloc(HIDDEN(char, malloc(40)), 100));
}

BAD(realloc_of_interior, "invalid-free leak") {
    char *block = malloc(40);
    free(realloc(HIDDEN(char, block + 8), 100));
}
GOOD(realloc_of_interior) {
    char *block = malloc(40);
    free(realloc(HIDDEN(char, block), 100));
}

BAD(interior_of_released, "invalid-free") {
    char *block = malloc(400);
    free(block);
    free(HIDDEN(char, block + 64));
}
GOOD(interior_of_released) {
    char *block = malloc(400);
    free(block);
}

BAD(uninitialised_looking, "invalid-free") {
    free(HIDDEN(char, 0x4141414141414141));
}
GOOD(uninitialised_looking) {
    free(NULL);
}
