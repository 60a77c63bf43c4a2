/*
 * The same mistakes in a C program that is linked with the library: a loop that forgets its
 * blocks, a second free, and a free of a pointer into the middle of a block.
 */
#include "heapledger.h"
#include <stdio.h>
#include <stdlib.h>

static double average(size_t count, double value)
{
    double *numbers = hl_calloc(count, sizeof *numbers);
    double sum = 0.0;
    for (size_t index = 0; index < count; ++index)
        sum += numbers[index] + value;
    return sum / (double)count; /* the numbers are forgotten */
}

static void consume(double *numbers)
{
    numbers[0] = 1.0;
    hl_free(numbers);
}

static void print_report(void)
{
    size_t length = 0;
    hl_report_text(NULL, 0, &length); /* asks how long it is */
    char *text = malloc(length + 1);
    if (text != NULL && hl_report_text(text, length + 1, &length) == HL_OK)
        puts(text);
    free(text);
}

int main(void)
{
    for (int round = 0; round < 10; ++round)
        average(42, round);

    double *numbers = hl_malloc(42 * sizeof *numbers);
    consume(numbers);
    hl_free(numbers);

    char *text = hl_malloc(100);
    hl_free(text + 8);
    hl_free(text);

    puts("Still running.");
    print_report();
    return 0;
}
