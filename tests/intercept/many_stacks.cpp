// Threads that allocate and release at depths and by ways that change all the time, while another
// opens and closes a library: `many_stacks PLUGIN COUNT`, COUNT events on each of four threads.
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <pthread.h>
#include <atomic>

namespace {

constexpr int THREAD_COUNT = 4;
std::atomic<int> running{THREAD_COUNT};
long event_count;

unsigned next(unsigned *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

__attribute__((noinline)) void one(unsigned *state, int depth);

__attribute__((noinline)) void two(unsigned *state, int depth)
{
    volatile char room[200];
    room[depth] = 1;
    one(state, depth - 1);
    room[0] = 2;
}

__attribute__((noinline)) void three(unsigned *state, int depth)
{
    volatile char *room = (char *)__builtin_alloca(16 + next(state) % 64);
    room[0] = 1;
    one(state, depth - 1);
    room[1] = 2;
}

__attribute__((noinline)) void one(unsigned *state, int depth)
{
    if (depth <= 0) {
        void *block = malloc(16 + next(state) % 64);
        asm volatile("" : "+r"(block)); // the compiler would leave the pair out
        if (next(state) % 4 == 0)
            block = realloc(block, 100);
        free(block);
    } else if (next(state) % 2) {
        two(state, depth);
    } else {
        three(state, depth);
    }
    asm volatile("");
}

void *start(void *number)
{
    unsigned state = (unsigned)(size_t)number * 77777u + 1;
    for (long event = 0; event < event_count; event += 2)
        one(&state, next(&state) % 12);
    running--;
    return nullptr;
}

} // namespace

int main(int count, char **words)
{
    event_count = count > 2 ? atol(words[2]) : 0;
    pthread_t threads[THREAD_COUNT];
    for (size_t number = 0; number < THREAD_COUNT; number++)
        pthread_create(&threads[number], nullptr, start, (void *)number);
    long loadings = 0;
    while (running > 0) {
        void *handle = dlopen(words[1], RTLD_NOW);
        if (handle == nullptr)
            return 1;
        dlclose(handle);
        loadings++;
    }
    for (pthread_t thread : threads)
        pthread_join(thread, nullptr);
    printf("%s\n", loadings > 0 ? "done" : "never loaded");
    return 0;
}
