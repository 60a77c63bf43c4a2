// What unwinding adds to a malloc+free pair: `native_stacks [DEPTH]`, DEPTH frames more than three.
//
//     cc -O2 -pthread -o native_stacks benches/native_stacks.c
//     export LD_PRELOAD=$PWD/target/release/libheapledger.so
//     HEAPLEDGER_OPTIONS=scope=process:native_stacks=full ./native_stacks 19
//
// Prints nanoseconds per pair, the least of many short rounds: on a busy machine some round is left
// alone. On a thread, because valgrind hides the main thread's stack.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEPT __attribute__((noinline))
#define NO_TAIL_CALL __asm__ volatile("")

enum { ROUND_COUNT = 400, PAIR_COUNT = 1000 };

static KEPT void *allocate(void) { void *block = malloc(48); NO_TAIL_CALL; return block; }
static KEPT void *make(void) { void *block = allocate(); NO_TAIL_CALL; return block; }
static KEPT void release(void *block) { free(block); NO_TAIL_CALL; }
static KEPT void drop(void *block) { release(block); NO_TAIL_CALL; }

static double nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static KEPT void pairs(void)
{
    double least = 1e18;
    for (int round = 0; round < ROUND_COUNT; round++) {
        double began = nanoseconds();
        for (int pair = 0; pair < PAIR_COUNT; pair++)
            drop(make());
        double each = (nanoseconds() - began) / PAIR_COUNT;
        least = each < least ? each : least;
    }
    printf("%.1f\n", least);
}

static KEPT void deeper(int depth)
{
    if (depth > 0)
        deeper(depth - 1);
    else
        pairs();
    NO_TAIL_CALL;
}

static void *start(void *depth) { deeper(*(int *)depth); return NULL; }

int main(int count, char **words)
{
    int depth = count > 1 ? atoi(words[1]) : 0;
    pthread_t thread;
    pthread_create(&thread, NULL, start, &depth);
    pthread_join(thread, NULL);
    return 0;
}
