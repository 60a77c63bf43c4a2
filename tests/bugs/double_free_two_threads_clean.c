// expect: nothing
#include "heapledger.h"
#include <pthread.h>

static void *release(void *block)
{
    hl_free(block);
    return hl_malloc(16);
}

void run(void)
{
    char *block = hl_malloc(48);
    pthread_t thread;
    void *answer;
    pthread_create(&thread, NULL, release, block);
    pthread_join(thread, &answer);
    hl_free(answer);
}
