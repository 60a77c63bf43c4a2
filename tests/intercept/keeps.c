// Functions whose result register holds a block that they keep.
#include <stdlib.h>

struct node {
    struct node *next;
    void *block;
};

static void *volatile in_data;
static struct node *volatile list;

void keep_in_data(void) { in_data = malloc(48); }

void keep_in_list(void) {
    struct node *last = list;
    if (last == NULL) {
        list = calloc(1, sizeof *list);
        return;
    }
    while (last->next != NULL)
        last = last->next;
    last->next = calloc(1, sizeof *last);
}

void keep_in_argument(void *volatile *place) { *place = malloc(48); }

void *keep_and_return(void) { return in_data = malloc(48); }
void take(void *block) { in_data = block; }
void *only_returns(void) { return malloc(48); }
