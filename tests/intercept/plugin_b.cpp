// As large as its neighbour, with other frames at the same addresses.
#include <cstdlib>
static void *volatile kept;
extern "C" {
__attribute__((noinline)) void of_b(void)
{
    volatile char room[200];
    room[0] = 1;
    kept = malloc(77);
    room[1] = 2;
}
void run(void) { of_b(); asm volatile(""); }
}
