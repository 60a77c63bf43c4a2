// The address of malloc in initialised data: a pointer relocation, no call through a table.
#include <stdlib.h>

static void *(*allocate)(size_t) = malloc;
static void (*const release[])(void *) = {free};

void *by_data_pointer(void) { return allocate(48); }
void with_data_pointer(void *block) { release[0](block); }
