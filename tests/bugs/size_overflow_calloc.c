// expect: size-overflow
#include "heapledger.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

void run(void)
{
    errno = 0;
    if (hl_calloc(SIZE_MAX / 4, 8) != NULL || errno != ENOMEM) // here
        abort();
}
