// expect: double-free size=48 offset=0 count=1
#include "heapledger.h"
#include <pthread.h>

static pthread_barrier_t start;

static void *release(void *block)
{
    pthread_barrier_wait(&start);
    hl_free(block); // released, here: no Python on this thread
    return NULL;
}

void run(void)
{
    char *block = hl_malloc(48); // allocated
    pthread_t threads[2];
    pthread_barrier_init(&start, NULL, 2);
    for (int number = 0; number < 2; ++number)
        pthread_create(&threads[number], NULL, release, block);
    for (int number = 0; number < 2; ++number)
        pthread_join(threads[number], NULL);
}
