// Opened by opener.c while a foreign call is executing.
#include <stdlib.h>

void *plugin_allocate(void) { return malloc(48); }
