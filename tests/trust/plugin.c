/* A library that is opened and closed again: what it allocated outlives its code. */
#include <stdlib.h>
#include <string.h>
void *open_session(void) { return strdup("session"); }
