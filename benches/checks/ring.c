// A malloc+free pair over a ring of blocks: `ring BYTES PAIRS` prints nanoseconds of processor time per
// pair, the least of several rounds.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RING_LENGTH = 1024, ROUND_COUNT = 12 };

static void *volatile ring[RING_LENGTH];

static double nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    size_t byte_count = strtoul(arguments[1], NULL, 10);
    long pair_count = strtol(arguments[2], NULL, 10);
    double least = 1e18;
    for (int round = 0; round < ROUND_COUNT; round++) {
        double began = nanoseconds();
        for (long pair = 0; pair < pair_count; pair++) {
            free(ring[pair % RING_LENGTH]);
            ring[pair % RING_LENGTH] = malloc(byte_count);
        }
        double each = (nanoseconds() - began) / pair_count;
        least = each < least ? each : least;
    }
    printf("%.1f\n", least);
    return 0;
}
