// A block that begins where memory from before every foreign call ends, and whose front is written over.
#include <stdint.h>
#include <stdlib.h>

// Larger than what a thread keeps for itself without a look at the chunk behind.
enum { FRONT = 1200, HOLE = 4000, PAIRS = 16, PAGE = 4096, LARGE = 1 << 20 };

static char *front, *hole, *block;

__attribute__((constructor)) static void prepare(void)
{
    for (int pair = 0; pair < PAIRS; ++pair) {
        char *volatile first = malloc(FRONT);
        char *volatile second = malloc(HOLE);
        if (second - first == FRONT + 16 && (uintptr_t)first / PAGE == (uintptr_t)second / PAGE) {
            front = first;
            hole = second;
        }
    }
    free(hole);
}

int write_in_front(void)
{
    // The first block of a place may get a margin in front. This one is too large for it,
    // and for the hole.
    for (volatile int turn = 0; turn < 2; ++turn) {
        free(block);
        block = malloc(turn ? FRONT : LARGE);
    }
    block[-1] = 17;
    return block == hole;
}

void release_front(void) { free(front); }
void release_block(void) { free(block); }
