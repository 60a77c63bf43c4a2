// expect: nothing
#include "heapledger.h"
#include <stdint.h>

void run(void)
{
    // An address may travel as a number, as long as it comes back whole.
    uintptr_t number = (uintptr_t)hl_malloc(48);
    hl_free((void *)number);
}
