// expect: leak size=48 blocks=1 bytes=48
#include "heapledger.h"
#include <stdlib.h>

void run(void)
{
    static char *kept;
    kept = malloc(48);
    hl_adopt(kept, 48); // allocated: in function run
}
