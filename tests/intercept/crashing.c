/* A library that is crashed with, in the ways that programs over ctypes do. */

#include <signal.h>
#include <stdlib.h>

struct picture {
    long size;
    long *row;
};

typedef int (*callback)(int);

static callback kept;

struct picture *picture_open(void)
{
    struct picture *picture = malloc(sizeof *picture);
    static long row[4];
    picture->size = 4;
    picture->row = row;
    return picture;
}

void picture_close(struct picture *picture)
{
    free(picture);
}

long read_at(const long *place)
{
    return *place;
}

void keep_callback(callback called)
{
    kept = called;
}

int call_back(int number)
{
    return kept(number) + 1;
}

int recurse(int number)
{
    volatile char frame[4096];
    frame[0] = (char)number;
    return recurse(number + 1) + frame[0];
}

// A stack for signals as small as they are made, with other blocks around it.
void use_small_stack(void) {
    static char *volatile around[16];
    for (int number = 0; number < 8; number++)
        around[number] = malloc(8192);
    stack_t stack = {.ss_sp = malloc(8192), .ss_size = 8192, .ss_flags = 0};
    sigaltstack(&stack, NULL);
}
