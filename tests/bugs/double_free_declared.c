// expect: double-free size=48 offset=0
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    uint32_t foo;
    hl_family_declare("foo_open", "foo_close", &foo);
    char *block = malloc(48);
    hl_adopt_as(block, 48, foo);                // allocated: in function run
    if (hl_release(block, foo) == HL_OK)        // released: in function run
        free(block);
    if (hl_release(block, foo) != HL_FINDING) // here: in function run
        abort();
}
