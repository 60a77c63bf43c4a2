// An object with parts, whose end reads it: ending it twice reads what is released.
#include <stdlib.h>
#include <string.h>

struct part {
    char *name;
    struct part *next;
};
struct object {
    struct part *first;
    int count;
};

void *open_it(void)
{
    struct object *object = malloc(sizeof *object);
    object->first = malloc(sizeof *object->first);
    object->first->name = strdup("part");
    object->first->next = NULL;
    object->count = 1;
    return object;
}

void close_it(struct object *object)
{
    for (struct part *part = object->first, *next; part != NULL; part = next) {
        next = part->next;
        free(part->name);
        free(part);
    }
    free(object);
}
