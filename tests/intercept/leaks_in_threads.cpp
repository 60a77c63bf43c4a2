// A program without Python that leaks once in main and once on a thread.
#include <cstdlib>
#include <pthread.h>
static void *volatile kept;
static __attribute__((noinline)) void leak(int depth)
{
    if (depth > 0)
        leak(depth - 1);
    else
        kept = malloc(99);
    asm volatile("");
}
static void *start(void *)
{
    leak(0);
    return nullptr;
}
int main()
{
    leak(1);
    pthread_t thread;
    pthread_create(&thread, nullptr, start, nullptr);
    pthread_join(thread, nullptr);
    return 0;
}
