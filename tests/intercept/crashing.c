/* A library that is crashed with, in the ways that programs over ctypes do. */

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
