// Accesses to C++ objects that are gone.
#include "suite.h"

#include <string>
#include <vector>

namespace {
struct Object {
    long number = 1;
    long other = 2;
    void set(long to) { other = to; }
};
struct Virtual {
    long number = 3;
    virtual ~Virtual() {}
};
}

BAD(member_write, "use-after-free") {
    Object *object = new Object;
    delete object;
    HIDDEN(Object, object)->set(5);
}
GOOD(member_write) {
    Object *object = new Object;
    HIDDEN(Object, object)->set(5);
    delete object;
}

BAD(array_write, "use-after-free") {
    long *numbers = new long[50];
    delete[] numbers;
    HIDDEN(long, numbers)[49] = 1;
}
GOOD(array_write) {
    long *numbers = new long[50];
    HIDDEN(long, numbers)[49] = 1;
    delete[] numbers;
}

BAD(iterator, "use-after-free") {
    std::vector<int> numbers(4, 1);
    int *first = HIDDEN(int, &numbers[0]);
    numbers.resize(1000);
    *first = 9;
}
GOOD(iterator) {
    std::vector<int> numbers(4, 1);
    numbers.resize(1000);
    *HIDDEN(int, &numbers[0]) = 9;
}

BAD(text_of_temporary, "guard:use-after-free") {
    const char *text = HIDDEN(const char, std::string(100, 'x').c_str());
    suite_sink = text[0];
}
GOOD(text_of_temporary) {
    std::string kept(100, 'x');
    suite_sink = HIDDEN(const char, kept.c_str())[0];
}

BAD(virtual_member_read, "guard:use-after-free") {
    Virtual *object = new Virtual;
    delete object;
    suite_sink = HIDDEN(Virtual, object)->number;
}
GOOD(virtual_member_read) {
    Virtual *object = new Virtual;
    suite_sink = HIDDEN(Virtual, object)->number;
    delete object;
}
