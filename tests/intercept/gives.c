// The ways in which a C function gives memory to its caller, and the ways in which it is left.
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    int number;
    char *text;
};
struct many {
    void *blocks[6];
};

char *gives_text(void) { return strdup("a text"); }
int *gives_numbers(void) { return calloc(4, sizeof(int)); }
struct pair gives_pair(void) {
    struct pair pair = {7, strdup("a text in a pair")};
    return pair;
}
struct many gives_many(void) {
    struct many many;
    for (int i = 0; i < 6; i++)
        many.blocks[i] = malloc(10);
    return many;
}
struct pair *gives_pair_of_blocks(void) {
    struct pair *pair = calloc(1, sizeof *pair);
    pair->text = strdup("a part");
    return pair;
}
int fills_one(void **place) {
    *place = malloc(20);
    return 0;
}
int fills_array(void **places, int count) {
    for (int i = 0; i < count; i++)
        places[i] = malloc(30);
    return count;
}
int fills_structure(struct pair *pair) {
    pair->text = strdup("a text in a structure");
    return 1;
}
static void *volatile kept;
int keeps(void) {
    kept = malloc(40);
    return 0;
}
void release(void *block) { free(block); }
void *replace(void *block) { return realloc(block, 500); }

static jmp_buf place;
static void deeper(int depth) {
    char *volatile block = malloc(50);
    memset(block, depth, 50);
    if (depth == 0) {
        free(block);
        longjmp(place, 1);
    }
    deeper(depth - 1);
}
// Leaves five blocks behind on its way back.
void *jumps(void) {
    if (setjmp(place) == 0)
        deeper(5);
    return malloc(60);
}

static int compare(const void *left, const void *right) {
    (void)left, (void)right;
    longjmp(place, 1);
}
// Leaves qsort, which may have allocated, by a jump.
void jumps_out_of_qsort(void) {
    static char bytes[100000];
    if (setjmp(place) == 0)
        qsort(bytes, sizeof bytes, 1, compare);
}

void leaves_thread(void) { pthread_exit(NULL); }

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int wanted, done, is_stopping;
static pthread_t worker;
static void *volatile result;

static void *work(void *argument) {
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (wanted == done && !is_stopping)
            pthread_cond_wait(&changed, &mutex);
        if (is_stopping)
            break;
        result = malloc(70);
        done++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&mutex);
    return argument;
}
void pool_start(void) {
    if (pthread_create(&worker, NULL, work, NULL) != 0)
        abort();
}
void *pool_work(void) {
    pthread_mutex_lock(&mutex);
    wanted++;
    pthread_cond_broadcast(&changed);
    while (wanted != done)
        pthread_cond_wait(&changed, &mutex);
    void *block = result;
    pthread_mutex_unlock(&mutex);
    return block;
}
void pool_stop(void) {
    pthread_mutex_lock(&mutex);
    is_stopping = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    pthread_join(worker, NULL);
}

void *through(void *(*call)(void)) {
    void *before = malloc(80);
    void *block = call();
    free(before);
    return block;
}
