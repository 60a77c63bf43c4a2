// expect: nothing
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    static double pool[6];
    hl_block_info info = {.struct_size = sizeof info};
    if (hl_disown(NULL) == HL_OK)
        abort();
    if (hl_adopt(pool, sizeof pool) != HL_OK || hl_adopt(pool, sizeof pool) == HL_OK)
        abort(); // once is enough
    if (hl_disown(pool) != HL_OK)
        abort();
    if (hl_describe(pool, &info) == HL_OK && info.state == 1)
        abort();
}
