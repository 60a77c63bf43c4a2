// expect: nothing
#include "heapledger.h"

extern "C" void run(void)
{
    double *block = new double[12];
    hl_adopt_as(block, 96, HL_FAMILY_NEW_ARRAY);
    if (hl_release(block, HL_FAMILY_NEW_ARRAY) == HL_OK)
        delete[] block;
}
