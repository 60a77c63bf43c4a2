// A library as ctypes packages bind them, for suites under test. It knows nothing of heapledger.
#include <cstdlib>
#include <cstring>

namespace {
struct Line {
    Line *next;
    char text[40];
};
Line *lines;
int *table;
void *singleton;
}  // namespace

extern "C" {

void *make_block(size_t size) { return std::malloc(size); }

void drop_block(void *block) { std::free(block); }

double *make_array(size_t length) { return new double[length]; }

void drop_array(double *array) { delete[] array; }

int open_block(void **block, size_t size) {
    *block = std::malloc(size);
    return 0;
}

char *greeting() { return strdup("good morning"); }

// A cache that Python never sees.
int look_up(int index) {
    if (table == nullptr) table = static_cast<int *>(std::calloc(256, sizeof(int)));
    return table[index & 255];
}

// A list that grows with every call: the library still refers to what it gives.
void *make_line() {
    auto *line = static_cast<Line *>(std::malloc(sizeof(Line)));
    line->next = lines;
    lines = line;
    return line;
}

// The same, and Python never sees it.
void log_line() { make_line(); }

// A cache that every call returns.
void *the_context() {
    if (singleton == nullptr) singleton = std::malloc(300);
    return singleton;
}

// An object with a text of its own, which is made anew whenever it is asked for.
char **open_parser() { return static_cast<char **>(std::calloc(1, sizeof(char *))); }

const char *describe_parser(char **parser) {
    std::free(*parser);
    *parser = strdup("a parser that has been asked");
    return *parser;
}

void close_parser(char **parser) {
    std::free(*parser);
    std::free(parser);
}

void write_past(char *block, size_t size) { block[size] = 7; }

void call_back(void (*function)()) { function(); }

int add(int one, int other) { return one + other; }

void crash() { std::abort(); }

}  // extern "C"
