/* A library that is opened and closed again: what it allocated outlives its code. */
#include <stdlib.h>
#include <string.h>
void *open_session(void) { return strdup("session"); }

/* Allocates, and closes this very library: the jump to dlclose leaves no frame to come back to. */
int allocate_and_close(void **block, int (*close)(void *), void *library)
{
    *block = strdup("the last");
    return close(library);
}
