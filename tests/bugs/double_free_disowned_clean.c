// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    static double pool[6];
    hl_adopt(pool, sizeof pool);
    if (hl_disown(pool) != HL_OK)
        abort();
    if (hl_disown(pool) == HL_OK) // it is no longer there: a status, not a finding
        abort();
}
