// A library that keeps a block, allocated two calls deep.
#include <cstdlib>
static void *volatile kept;
extern "C" {
__attribute__((noinline)) void deeper_in_a(void) { kept = malloc(77); asm volatile(""); }
__attribute__((noinline)) void of_a(void) { deeper_in_a(); asm volatile(""); }
void run(void) { of_a(); asm volatile(""); }
}
