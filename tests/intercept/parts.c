// An object whose parts the library knows itself: ending it twice reads nothing and releases all of it twice.
#include <stdlib.h>
#include <string.h>

static char *name;
static int *numbers;

void *open_it(void)
{
    name = strdup("object");
    numbers = malloc(100 * sizeof *numbers);
    return malloc(24);
}

void close_it(void *object)
{
    free(name);
    free(numbers);
    free(object);
}
