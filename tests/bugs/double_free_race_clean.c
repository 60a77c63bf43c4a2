// expect: nothing
#include "heapledger.h"
#include <pthread.h>

static void *churn(void *unused)
{
    char *blocks[64];
    for (int round = 0; round < 500; ++round) {
        for (int number = 0; number < 64; ++number)
            blocks[number] = hl_malloc(48);
        for (int number = 0; number < 64; ++number)
            hl_free(blocks[number]);
    }
    return unused;
}

void run(void)
{
    pthread_t threads[2];
    for (int number = 0; number < 2; ++number)
        pthread_create(&threads[number], NULL, churn, NULL);
    for (int number = 0; number < 2; ++number)
        pthread_join(threads[number], NULL);
}
