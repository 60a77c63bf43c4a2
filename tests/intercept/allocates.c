// Allocates and releases any number of bytes.
#include <stdlib.h>

void *allocate(size_t size) {
    return malloc(size);
}

void release(void *block) {
    free(block);
}
