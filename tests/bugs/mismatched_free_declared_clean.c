// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    uint32_t foo;
    hl_family_declare("foo_open", "foo_close", &foo);
    char *block = malloc(48);
    hl_adopt_as(block, 48, foo);
    if (hl_release(block, foo) != HL_OK)
        abort();
    free(block);
}
