// expect: nothing
#include "heapledger.h"
#include <string.h>

void run(void)
{
    const char *literal = "a string literal";
    char *copy = hl_malloc(strlen(literal) + 1);
    hl_free(strcpy(copy, literal));
}
