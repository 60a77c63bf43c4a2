/* Touches memory as it is told, for the tests of guarded blocks. */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

int read_byte(const volatile unsigned char *block, long offset) { return block[offset]; }

void write_byte(volatile unsigned char *block, long offset, int value)
{
    block[offset] = (unsigned char)value;
}

void fill(void *block, int value, size_t length) { memset(block, value, length); }

struct reading {
    const volatile unsigned char *block;
    int sum;
};

static void *read_often(void *argument)
{
    struct reading *reading = argument;
    for (int time = 0; time < 1000; ++time)
        reading->sum += reading->block[time % 16];
    return NULL;
}

int read_from_threads(const volatile unsigned char *block)
{
    enum { THREAD_COUNT = 4 };
    pthread_t threads[THREAD_COUNT];
    struct reading readings[THREAD_COUNT];
    for (int index = 0; index < THREAD_COUNT; ++index) {
        readings[index] = (struct reading){block, 0};
        pthread_create(&threads[index], NULL, read_often, &readings[index]);
    }
    int sum = 0;
    for (int index = 0; index < THREAD_COUNT; ++index) {
        pthread_join(threads[index], NULL);
        sum += readings[index].sum;
    }
    return sum;
}

static struct sigaction before_us;

static void give_way(int signal)
{
    sigaction(signal, &before_us, NULL);
    raise(signal);
}

/* Registers a handler as LLVM does: for one time, and it puts back what was there and raises anew. */
void register_once(void)
{
    struct sigaction action = {.sa_handler = give_way};
    action.sa_flags = SA_NODEFER | SA_RESETHAND | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before_us);
}
