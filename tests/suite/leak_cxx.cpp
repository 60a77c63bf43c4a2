// Objects that nobody deletes.
#include "suite.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {
struct Base {
    long number = 1;
    virtual void act() {}
};
struct Leaky : Base {
    std::string text = std::string(100, 'x');
};
struct VirtualBase {
    virtual ~VirtualBase() {}
};
struct Derived : VirtualBase {
    std::string text = std::string(100, 'x');
};
struct Throwing {
    char *text;
    Throwing() : text(new char[30]) {
        if (suite_one) throw std::runtime_error("no");
    }
    ~Throwing() { delete[] text; }
};
struct Holding {
    std::unique_ptr<char[]> text{new char[30]};
    Holding() {
        if (suite_one) throw std::runtime_error("no");
    }
};
struct Node {
    std::shared_ptr<Node> next;
    std::weak_ptr<Node> weak;
};
}

BAD(simple, "leak") {
    int *number = new int(3);
    suite_sink = *HIDDEN(int, number);
}
GOOD(simple) {
    int *number = new int(3);
    suite_sink = *HIDDEN(int, number);
    delete number;
}

BAD(array, "leak") {
    int *numbers = new int[30];
    suite_sink = HIDDEN(int, numbers) != nullptr;
}
GOOD(array) {
    int *numbers = new int[30];
    suite_sink = HIDDEN(int, numbers) != nullptr;
    delete[] numbers;
}

BAD(pointers_in_vector, "leak") {
    std::vector<int *> numbers;
    for (int place = 0; place < 10; place++) numbers.push_back(new int(place));
}
GOOD(pointers_in_vector) {
    std::vector<int *> numbers;
    for (int place = 0; place < 10; place++) numbers.push_back(new int(place));
    for (int *number : numbers) delete number;
}

BAD(pointers_in_map, "leak") {
    std::map<int, std::string *> names;
    names[1] = new std::string(200, 'x');
}
GOOD(pointers_in_map) {
    std::map<int, std::unique_ptr<std::string>> names;
    names[1].reset(new std::string(200, 'x'));
}

BAD(constructor_throws, "leak") {
    try {
        delete new Throwing;
    } catch (const std::exception &) {
    }
}
GOOD(constructor_throws) {
    try {
        delete new Holding;
    } catch (const std::exception &) {
    }
}

BAD(exception_skips_delete, "leak") {
    try {
        int *number = new int(1);
        if (suite_one) throw std::runtime_error("no");
        delete number;
    } catch (const std::exception &) {
    }
}
GOOD(exception_skips_delete) {
    try {
        std::unique_ptr<int> number(new int(1));
        if (suite_one) throw std::runtime_error("no");
    } catch (const std::exception &) {
    }
}

BAD(no_virtual_destructor, "leak") {
    Base *base = new Leaky;
    operator delete(HIDDEN(Base, base));
}
GOOD(no_virtual_destructor) {
    VirtualBase *base = new Derived;
    delete base;
}

BAD(cycle, "leak") {
    auto first = std::make_shared<Node>();
    auto second = std::make_shared<Node>();
    first->next = second;
    second->next = first;
}
GOOD(cycle) {
    auto first = std::make_shared<Node>();
    auto second = std::make_shared<Node>();
    first->next = second;
    second->weak = first;
}

BAD(released_from_unique, "leak") {
    std::unique_ptr<int> number(new int(1));
    suite_sink = *number.release();
}
GOOD(released_from_unique) {
    std::unique_ptr<int> number(new int(1));
    suite_sink = *number;
}

BAD(placement, "leak") {
    void *memory = operator new(sizeof(Derived));
    Derived *derived = new (memory) Derived;
    operator delete(HIDDEN(Derived, derived));
}
GOOD(placement) {
    void *memory = operator new(sizeof(Derived));
    Derived *derived = new (memory) Derived;
    derived->~Derived();
    operator delete(memory);
}
