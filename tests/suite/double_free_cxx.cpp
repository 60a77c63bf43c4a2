// Second releases that C++ objects cause.
#include "suite.h"

#include <memory>
#include <string>
#include <vector>

namespace {
struct Owner {
    char *text;
    explicit Owner(const char *from) : text(new char[strlen(from) + 1]) { strcpy(text, from); }
    ~Owner() { delete[] text; }
};
struct Copied : Owner {
    using Owner::Owner;
    Copied(const Copied &other) : Owner(other.text) {}
};
struct Base {
    virtual ~Base() {}
};
struct Derived : Base {
    int *numbers = new int[10]();
    ~Derived() override { delete[] numbers; }
};
struct Twice {
    int *number = new int(1);
    void close() { delete number; }
    ~Twice() { delete number; }
};
struct Once {
    int *number = new int(1);
    void close() {
        delete number;
        number = nullptr;
    }
    ~Once() { delete number; }
};
}

BAD(no_copy_constructor, "double-free") {
    Owner owner("text");
    Owner copy = owner;
    suite_sink = copy.text[0];
}
GOOD(no_copy_constructor) {
    Copied owner("text");
    Copied copy = owner;
    suite_sink = copy.text[0];
}

BAD(passed_by_value, "double-free") {
    Owner owner("text");
    [](Owner taken) { suite_sink = taken.text[0]; }(owner);
}
GOOD(passed_by_value) {
    Owner owner("text");
    [](const Owner &taken) { suite_sink = taken.text[0]; }(owner);
}

BAD(close_and_destructor, "double-free") {
    Twice twice;
    twice.close();
}
GOOD(close_and_destructor) {
    Once once;
    once.close();
}

BAD(delete_twice, "double-free") {
    int *number = new int(3);
    delete number;
    delete HIDDEN(int, number);
}
GOOD(delete_twice) {
    int *number = new int(3);
    delete number;
    number = nullptr;
    delete number;
}

BAD(array_twice, "double-free") {
    double *numbers = new double[100];
    delete[] numbers;
    delete[] HIDDEN(double, numbers);
}
GOOD(array_twice) {
    double *numbers = new double[100];
    delete[] numbers;
}

BAD(array_with_cookie_twice, "double-free") {
    char *memory = new char[40];
    delete[] memory;
    delete[] HIDDEN(char, memory);
}
GOOD(array_with_cookie_twice) {
    Copied *owners = new Copied[3]{Copied("a"), Copied("b"), Copied("c")};
    delete[] owners;
}

BAD(two_owners, "double-free") {
    int *number = new int(3);
    std::shared_ptr<int> first(number);
    std::shared_ptr<int> second(HIDDEN(int, number));
}
GOOD(two_owners) {
    std::shared_ptr<int> first(new int(3));
    std::shared_ptr<int> second = first;
}

BAD(unique_and_delete, "double-free") {
    std::unique_ptr<int> owner(new int(3));
    delete HIDDEN(int, owner.get());
}
GOOD(unique_and_delete) {
    std::unique_ptr<int> owner(new int(3));
    delete owner.release();
}

BAD(by_base_then_derived, "double-free") {
    int *numbers = nullptr;
    {
        Derived derived;
        numbers = derived.numbers;
    }
    delete[] HIDDEN(int, numbers);
}
GOOD(by_base_then_derived) {
    Base *base = new Derived;
    delete base;
}

BAD(pointers_in_two_vectors, "double-free") {
    std::vector<int *> first{new int(1), new int(2)};
    std::vector<int *> second = first;
    for (int *number : first) delete number;
    for (int *number : second) delete HIDDEN(int, number);
}
GOOD(pointers_in_two_vectors) {
    std::vector<int *> first{new int(1), new int(2)};
    std::vector<int *> second = first;
    for (int *number : second) delete number;
}

BAD(aligned_twice, "double-free") {
    struct alignas(64) Wide { char bytes[64]; };
    Wide *wide = new Wide;
    delete wide;
    delete HIDDEN(Wide, wide);
}
GOOD(aligned_twice) {
    struct alignas(64) Wide { char bytes[64]; };
    Wide *wide = new Wide;
    delete wide;
}
