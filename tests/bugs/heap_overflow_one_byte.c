// expect: heap-overflow size=42 offset=42
#include "heapledger.h"
#include <string.h>

void run(void)
{
    const char *text = "forty-two characters and the forgotten NUL";
    char *copy = hl_malloc(strlen(text)); // allocated
    for (size_t place = 0; place <= strlen(text); ++place)
        ((volatile char *)copy)[place] = text[place];
    hl_free(copy); // here
}
