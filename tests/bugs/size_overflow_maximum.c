// expect: size-overflow
#include "heapledger.h"
#include <errno.h>
#include <stdlib.h>

void run(void)
{
    volatile size_t size = (size_t)-1;
    errno = 0;
    if (hl_malloc(size) != NULL || errno != ENOMEM) // here
        abort();
}
