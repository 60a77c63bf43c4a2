// Threads that ask for their own stack: glibc allocates and releases meanwhile, under a lock.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

static void *ask(void *size) {
    pthread_attr_t attributes;
    void *start;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return NULL;
    pthread_attr_getstack(&attributes, &start, size);
    pthread_attr_destroy(&attributes);
    free(malloc(64));
    return size;
}

size_t stack_size_of_thread(size_t wanted) {
    pthread_attr_t attributes;
    pthread_t thread;
    size_t size = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, wanted);
    if (pthread_create(&thread, &attributes, ask, &size) == 0)
        pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    return size;
}

// The same on a thread that was there before anybody watched.
static pthread_t early;
static size_t early_size;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_and_ask(void *size) {
    pthread_mutex_lock(&gate);
    return ask(size);
}

__attribute__((constructor)) static void start_early(void) {
    pthread_mutex_lock(&gate);
    pthread_create(&early, NULL, wait_and_ask, &early_size);
}

size_t stack_size_of_early_thread(void) {
    pthread_mutex_unlock(&gate);
    pthread_join(early, NULL);
    return early_size;
}
