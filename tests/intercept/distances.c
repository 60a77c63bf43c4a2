// Objects that refer to each other by distances, as those do that a library also maps from files.
#include <stdint.h>
#include <stdlib.h>

struct set {
    intptr_t from_start;
    intptr_t from_here;
    long count;
};

static struct set *volatile kept;

static intptr_t distance(void *from, void *to) { return (char *)to - (char *)from; }

// Both parts are found again.
void keep_set(void)
{
    struct set *set = calloc(1, sizeof *set);
    set->from_start = distance(set, malloc(500));
    set->from_here = distance(&set->from_here, malloc(300));
    set->count = 7;
    kept = set;
}

// Of these the set has a number that happens to lead to one.
void lose_four(void)
{
    void *volatile last = NULL;
    for (int block = 0; block < 4; ++block)
        last = malloc(200);
    kept->count = distance(kept, last);
}
