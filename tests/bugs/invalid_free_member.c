// expect: invalid-free size=64 offset=16
#include "heapledger.h"

struct record {
    double key[2];
    double value[6];
};

void run(void)
{
    struct record *record = hl_malloc(sizeof *record); // allocated
    hl_free(record->value);                            // here
    hl_free(record);
}
