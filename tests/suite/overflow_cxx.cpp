// Writes past the end of objects and arrays.
#include "suite.h"

#include <new>
#include <string>
#include <vector>

namespace {
struct Object {
    long number = 1;
    char text[16] = "";
};
struct WithDestructor {
    long number = 1;
    ~WithDestructor() { suite_sink = number; }
};
struct alignas(64) Wide {
    char bytes[64];
};
}

BAD(array, "heap-overflow") {
    int *numbers = new int[10];
    HIDDEN(int, numbers)[10] = 1;
    delete[] numbers;
}
GOOD(array) {
    int *numbers = new int[10];
    HIDDEN(int, numbers)[9] = 1;
    delete[] numbers;
}

BAD(parenthesis_for_bracket, "heap-overflow") {
    char *text = new char(10);
    HIDDEN(char, text)[5] = 1;
    HIDDEN(char, text)[1] = 1;
    delete text;
}
GOOD(parenthesis_for_bracket) {
    char *text = new char[10];
    HIDDEN(char, text)[5] = 1;
    delete[] text;
}

BAD(member, "heap-overflow") {
    Object *object = new Object;
    strcpy(HIDDEN(Object, object)->text, "sixteen letters.");
    delete object;
}
GOOD(member) {
    Object *object = new Object;
    strcpy(HIDDEN(Object, object)->text, "fifteen letters");
    delete object;
}

BAD(objects_with_destructor, "heap-overflow") {
    WithDestructor *objects = new WithDestructor[4];
    HIDDEN(WithDestructor, objects)[4].number = 2;
    delete[] objects;
}
GOOD(objects_with_destructor) {
    WithDestructor *objects = new WithDestructor[4];
    HIDDEN(WithDestructor, objects)[3].number = 2;
    delete[] objects;
}

BAD(aligned_object, "heap-overflow") {
    Wide *wide = new Wide;
    HIDDEN(char, wide->bytes)[64] = 1;
    delete wide;
}
GOOD(aligned_object) {
    Wide *wide = new Wide;
    HIDDEN(char, wide->bytes)[63] = 1;
    delete wide;
}

BAD(aligned_array, "heap-overflow") {
    Wide *wide = new Wide[3];
    HIDDEN(char, wide)[192] = 1;
    delete[] wide;
}
GOOD(aligned_array) {
    Wide *wide = new Wide[3];
    HIDDEN(char, wide)[191] = 1;
    delete[] wide;
}

BAD(nothrow_array, "heap-overflow") {
    short *numbers = new (std::nothrow) short[7];
    HIDDEN(short, numbers)[7] = 1;
    delete[] numbers;
}
GOOD(nothrow_array) {
    short *numbers = new (std::nothrow) short[7];
    HIDDEN(short, numbers)[6] = 1;
    delete[] numbers;
}

BAD(vector_data, "heap-overflow") {
    std::vector<int> numbers(10);
    HIDDEN(int, numbers.data())[10] = 1;
}
GOOD(vector_data) {
    std::vector<int> numbers(10);
    HIDDEN(int, numbers.data())[9] = 1;
}

BAD(half_array_of_objects, "heap-overflow") {
    struct Two { int one, two; };
    Two source[100] = {};
    Two *data = new Two[50];
    memcpy(HIDDEN(Two, data), source, sizeof source);
    printf("%d\n", data[0].one);
    delete[] data;
}
GOOD(half_array_of_objects) {
    struct Two { int one, two; };
    Two source[100] = {};
    Two *data = new Two[100];
    memcpy(HIDDEN(Two, data), source, sizeof source);
    printf("%d\n", data[0].one);
    delete[] data;
}

BAD(downcast, "heap-overflow") {
    struct Base { long number = 1; };
    struct Derived : Base { long more = 2; };
    Base *base = new Base;
    static_cast<Derived *>(HIDDEN(Base, base))->more = 3;
    delete base;
}
GOOD(downcast) {
    struct Base { long number = 1; };
    struct Derived : Base { long more = 2; };
    Derived *derived = new Derived;
    HIDDEN(Derived, derived)->more = 3;
    delete derived;
}
