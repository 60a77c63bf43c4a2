/* How long a report takes: a million live blocks in ten thousand stacks.

   cc -O2 -Iinclude -o many_leaks benches/report/many_leaks.c LIBRARY, with the path of
   libheapledger.so; prints seconds of processor time. */

#include <stdio.h>
#include <time.h>

#include "heapledger.h"

#define BLOCK_COUNT 1000000
#define PLACE_COUNT 10000

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void say(const char *what, double began, size_t length)
{
    printf("%s: %.2f s, %zu bytes\n", what, seconds() - began, length);
}

int main(void)
{
    size_t length = 0;
    double began = seconds();
    for (unsigned block = 0; block < BLOCK_COUNT; block++)
        if (hl_malloc_at(24 + block % 200, "file.c", 1 + block % PLACE_COUNT, "function") == NULL)
            return 1;
    say("allocated", began, BLOCK_COUNT);
    began = seconds();
    hl_report_json(NULL, 0, &length);
    say("report as JSON", began, length);
    began = seconds();
    hl_report_text(NULL, 0, &length);
    say("report as text", began, length);
    return 0;
}
