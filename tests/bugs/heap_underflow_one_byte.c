// expect: heap-underflow size=16 offset=-1 says="1 byte before a 16-byte block"
#include "heapledger.h"

void run(void)
{
    volatile char *line = hl_malloc(16); // allocated
    int length = 0;
    line[length - 1] = '\n'; // strips the newline of an empty line
    hl_free((void *)line); // here
}
