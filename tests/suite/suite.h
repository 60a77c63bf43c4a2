// The frame of the suite: each source is a group of small functions in pairs. BAD(name, "kinds")
// does one thing wrong and names the findings that this must give, GOOD(name) is the same work
// done right and must give none. A name in `kinds` that begins with `guard:` needs the check
// `guard`: a read leaves no trace.
//
// The same source is compiled as a program, which runs the functions named by its arguments, and as
// a shared library, whose functions Python calls.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void suite_function(void);
struct suite_entry {
    const char *name;
    suite_function *run;
};

#ifdef __cplusplus
#define SUITE_C extern "C"
#else
#define SUITE_C extern
#endif
#define SUITE_ENTRY(name) \
    SUITE_C void name(void); \
    __attribute__((used, section("suite_entries"))) static struct suite_entry entry_of_##name = \
        {#name, name}; \
    void name(void)
#define BAD(name, kinds) SUITE_ENTRY(bad_##name)
#define GOOD(name) SUITE_ENTRY(good_##name)

// What the compiler can know nothing about.
static volatile int suite_one = 1;
static volatile long suite_sink;
__attribute__((noinline)) static void *hidden(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}
#define HIDDEN(type, pointer) ((type *)hidden((void *)(pointer)))

#ifdef SUITE_PROGRAM
SUITE_C struct suite_entry __start_suite_entries[];
SUITE_C struct suite_entry __stop_suite_entries[];

int main(int count, char **names) {
    int ran = 0;
    for (int number = 1; number < count; number++) {
        for (struct suite_entry *entry = __start_suite_entries; entry < __stop_suite_entries;
             entry++) {
            if (strcmp(entry->name, names[number]) == 0) {
                entry->run();
                printf("ran %s\n", entry->name);
                ran++;
            }
        }
    }
    return ran == count - 1 ? 0 : 2;
}
#endif
