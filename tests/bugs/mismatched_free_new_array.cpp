// expect: mismatched-free size=96 offset=0 says="operator delete[]"
#include "heapledger.h"
#include <cstdlib>

extern "C" void run(void)
{
    double *block = new double[12];
    hl_adopt_as(block, 96, HL_FAMILY_NEW_ARRAY);         // allocated: in function run
    if (hl_release(block, HL_FAMILY_NEW) != HL_FINDING) // here: in function run
        abort();
    if (hl_release(block, HL_FAMILY_NEW_ARRAY) == HL_OK)
        delete[] block;
}
