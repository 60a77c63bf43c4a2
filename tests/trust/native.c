/* Native code for the programs of this folder; it knows nothing of heapledger. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

void *open_session(void) { return strdup("session"); }
void close_session(void *session) { free(session); }

static void *worker(void *rounds)
{
    long intact = 0;
    for (long round = 0; round < (long)rounds; round++) {
        char *text = malloc(64);
        strcpy(text, "text");
        text = realloc(text, 200);
        char *copy = strdup(text);
        intact += strcmp(copy, "text") == 0;
        free(copy);
        free(text);
    }
    return (void *)intact;
}

/* Threads with stacks of stack_bytes (0: the default); returns how many rounds went well. */
long run_threads(int count, size_t stack_bytes, long rounds)
{
    pthread_t threads[256];
    pthread_attr_t attributes;
    long intact = 0;
    pthread_attr_init(&attributes);
    if (stack_bytes)
        pthread_attr_setstacksize(&attributes, stack_bytes);
    for (int index = 0; index < count; index++)
        if (pthread_create(&threads[index], &attributes, worker, (void *)rounds))
            return -1;
    for (int index = 0; index < count; index++) {
        void *result;
        pthread_join(threads[index], &result);
        intact += (long)result;
    }
    return intact;
}

static void *free_twice(void *unused)
{
    (void)unused;
    char *block = malloc(64);
    free(block);
    free(block);
    return NULL;
}

/* Two releases of one block in a thread with a stack of stack_bytes; glibc would abort. */
int free_twice_in_a_thread(size_t stack_bytes)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    if (pthread_create(&thread, &attributes, free_twice, NULL))
        return 0;
    return pthread_join(thread, NULL) == 0;
}

static atomic_long signal_count;
static void count_signal(int number) { (void)number; signal_count++; }

/* Counts SIGPROF at the interval, on the stack given by sigaltstack when asked. */
int begin_storm(int interval_us, int on_alternate_stack)
{
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    if (on_alternate_stack) {
        sigaltstack(&alternate, NULL);
        action.sa_flags |= SA_ONSTACK;
    }
    sigaction(SIGPROF, &action, NULL);
    struct itimerval timer = {{0, interval_us}, {0, interval_us}};
    return setitimer(ITIMER_PROF, &timer, NULL);
}

long end_storm(void)
{
    struct itimerval timer = {{0, 0}, {0, 0}};
    setitimer(ITIMER_PROF, &timer, NULL);
    return signal_count;
}

/* A handler of the program's own that allocates: not allowed by POSIX, and done everywhere. */
static void *from_handler[64];
static volatile sig_atomic_t from_handler_count;
static void allocate_in_handler(int number)
{
    (void)number;
    if (from_handler_count < 64)
        from_handler[from_handler_count++] = malloc(32);
}
long raise_into_malloc(int count)
{
    struct sigaction action = {.sa_handler = allocate_in_handler};
    sigaction(SIGUSR1, &action, NULL);
    for (int index = 0; index < count; index++)
        raise(SIGUSR1);
    long made = from_handler_count;
    while (from_handler_count > 0)
        free(from_handler[--from_handler_count]);
    return made;
}

static volatile int zero;
int recurse(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return recurse(depth + 1) + frame[zero];
}
void read_nothing(void) { *(volatile int *)0 = zero; }
void abort_now(void) { abort(); }
void exit_now(int status) { free(strdup("last")); _exit(status); }
void exit_in_foreign_call(int status) { exit(status); }

/* Forks while other threads allocate; returns how many children said that all is well. */
static atomic_int is_going_on;
static void *allocate_until_told(void *unused)
{
    (void)unused;
    while (is_going_on)
        worker((void *)20L);
    return NULL;
}
static int well_in_child(void)
{
    return worker((void *)20L) == (void *)20L;
}
long fork_among_threads(int thread_count, int fork_count)
{
    pthread_t threads[64];
    long well = 0;
    is_going_on = 1;
    for (int index = 0; index < thread_count; index++)
        pthread_create(&threads[index], NULL, allocate_until_told, NULL);
    for (int index = 0; index < fork_count; index++) {
        pid_t child = fork();
        if (child == 0)
            _exit(well_in_child() ? 0 : 1);
        int status = -1;
        waitpid(child, &status, 0);
        well += status == 0;
    }
    is_going_on = 0;
    for (int index = 0; index < thread_count; index++)
        pthread_join(threads[index], NULL);
    return well;
}

/* A child of vfork runs on our memory until it execs. */
long spawn_by_vfork(int count)
{
    long well = 0;
    for (int index = 0; index < count; index++) {
        pid_t child = vfork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        int status = -1;
        waitpid(child, &status, 0);
        well += status == 0;
    }
    return well;
}

/* Opens a library, lets it allocate, closes it while its blocks live, and releases them. */
long use_and_close(const char *path, int count)
{
    void *kept[64];
    long well = 0;
    for (int index = 0; index < count; index++) {
        void *library = dlopen(path, RTLD_NOW);
        if (!library)
            return -1;
        void *(*make)(void) = (void *(*)(void))dlsym(library, "open_session");
        kept[index % 64] = make();
        dlclose(library);
        well += strcmp(kept[index % 64], "session") == 0;
        free(kept[index % 64]);
    }
    return well;
}

/* Lets a library close itself while it executes; its block is released when its code is gone. */
long close_while_executing(const char *path, int count)
{
    long well = 0;
    for (int index = 0; index < count; index++) {
        void *library = dlopen(path, RTLD_NOW);
        if (!library)
            return -1;
        int (*last)(void **, int (*)(void *), void *) =
            (int (*)(void **, int (*)(void *), void *))dlsym(library, "allocate_and_close");
        void *block = NULL;
        well += last(&block, dlclose, library) == 0 && strcmp(block, "the last") == 0;
        free(block);
    }
    return well;
}
