// Signals that interrupt the vdso: their handler leaks, so that frames of the vdso are in the stack.
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

enum { SIGNAL_COUNT = 40 };

static volatile sig_atomic_t count;

static void leak(int signal)
{
    (void)signal;
    // Not for programs: malloc in a handler. Nothing else in this one allocates.
    void *block = malloc(77);
    __asm__ volatile("" : : "r"(block) : "memory");
    ++count;
}

void interrupt_the_clock(void)
{
    struct sigaction action = {0};
    action.sa_handler = leak;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, NULL);
    struct timespec now;
    while (count < SIGNAL_COUNT)
        clock_gettime(CLOCK_MONOTONIC, &now);
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}
