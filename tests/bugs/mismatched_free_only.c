// expect: mismatched-free size=48 offset=0 says="foo_close"
#include "heapledger.h"

void run(void)
{
    static char handle[48];
    uint32_t foo, bar;
    hl_family_declare("foo_open", "foo_close", &foo);
    hl_family_declare("bar_open", "bar_close", &bar);
    hl_adopt_as(handle, sizeof handle, foo); // allocated: in function run
    hl_release(handle, bar); // here: in function run
} // The right release never comes: that is the same error, not a leak as well.
