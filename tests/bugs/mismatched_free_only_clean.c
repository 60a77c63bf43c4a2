// expect: nothing
#include "heapledger.h"

void run(void)
{
    static char handle[48];
    uint32_t foo;
    hl_family_declare("foo_open", "foo_close", &foo);
    hl_adopt_as(handle, sizeof handle, foo);
    hl_release(handle, foo);
}
