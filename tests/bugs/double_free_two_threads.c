// expect: double-free size=48 offset=0
#include "heapledger.h"
#include <pthread.h>

static void *release(void *block)
{
    hl_free(block); // released: no Python on this thread
    return NULL;
}

void run(void)
{
    char *block = hl_malloc(48); // allocated
    pthread_t thread;
    pthread_create(&thread, NULL, release, block);
    pthread_join(thread, NULL);
    hl_free(block); // here
}
