// expect: nothing
#include "heapledger.h"

struct record {
    double key[2];
    double *value;
};

void run(void)
{
    struct record *record = hl_malloc(sizeof *record);
    record->value = hl_calloc(6, sizeof *record->value);
    hl_free(record->value);
    hl_free(record);
}
