// Calls back into Python, from this thread, from a thread of its own, and through qsort.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef int (*callback)(void);

void *around_callback(callback call) {
    char *before = malloc(10);
    call();
    char *after = malloc(20);
    free(before);
    return after;
}

void *volatile seen;

static void *run(void *argument) {
    callback call = (callback)argument;
    seen = malloc(30);
    if (call != NULL)
        call();
    return NULL;
}

int on_thread(callback call) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, (void *)call) != 0)
        return -1;
    return pthread_join(thread, NULL);
}

static void *leave(void *argument) {
    seen = malloc(40);
    pthread_exit(argument);
}

int on_leaving_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, leave, NULL) != 0)
        return -1;
    return pthread_join(thread, NULL);
}

void forever(callback call) {
    for (;;)
        call();
}
