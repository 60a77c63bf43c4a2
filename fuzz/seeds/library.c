/* A library with lines, an inlined function and unwind rules, for the targets that read such files. */
struct table { int numbers[4]; };

static inline int inner(int number) { return number * 3; }

int outer(struct table *table, int number) {
    int local[8];
    for (int index = 0; index < 8; index++)
        local[index] = inner(number + index);
    return table->numbers[number & 3] + local[number & 7];
}
