// expect: mismatched-free size=48 offset=0 says="foo_close"
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    uint32_t foo, bar;
    hl_family_declare("foo_open", "foo_close", &foo);
    hl_family_declare("bar_open", "bar_close", &bar);
    char *block = malloc(48);
    hl_adopt_as(block, 48, foo);                // allocated: in function run
    if (hl_release(block, bar) != HL_FINDING) // here: in function run
        abort();
    if (hl_release(block, foo) != HL_OK)
        abort();
    free(block);
}
