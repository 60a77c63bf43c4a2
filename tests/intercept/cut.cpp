// Functions whose pointer Python cuts to 32 bits, and functions whose result register holds a
// pointer that nobody meant as a result.
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {
struct Foo {
    int number;
    std::vector<double> values;
};
struct Child;
struct Parent {
    Child *child;
};
struct Child {
    Parent *parent;
};
struct Node {
    Node *self;
    Node *next;
};
std::vector<Foo *> registry;
void *cache;
Node *head;
}  // namespace

extern "C" {
void *gives_malloc() { return std::malloc(100); }
double *gives_array() { return new double[10]; }
double *gives_large_array() { return new double[1000000]; }
Foo *gives_object() {
    Foo *object = new Foo;
    object->values.resize(3);
    return object;
}
Foo *gives_object_of_many_parts() {
    Foo *object = new Foo;
    for (int i = 0; i < 100; i++)
        object->values.push_back(i);
    for (int i = 0; i < 100; i++)
        cache = std::malloc(10);
    return object;
}
Node *gives_self() {
    Node *node = static_cast<Node *>(std::malloc(sizeof(Node)));
    node->next = node->self = node;
    return node;
}
Parent *gives_parent() {
    Parent *parent = static_cast<Parent *>(std::calloc(1, sizeof(Parent)));
    parent->child = static_cast<Child *>(std::calloc(1, sizeof(Child)));
    parent->child->parent = parent;
    return parent;
}
char *gives_string() { return strdup("a string of some length"); }
Foo *keeps_and_gives() {
    registry.push_back(new Foo);
    return registry.back();
}
int first_byte(const char *block) { return *block; }

int means_status() {
    cache = std::malloc(100);
    return 0;
}
void means_nothing() { cache = std::malloc(100); }
int means_sum(int count) {
    int *numbers = static_cast<int *>(std::calloc(count, 4));
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += numbers[i] = i;
    std::free(numbers);
    return sum;
}
void fills_registry() { registry.push_back(new Foo); }
void fills_list() {
    Node *node = static_cast<Node *>(std::malloc(sizeof(Node)));
    node->next = head;
    head = node;
}
void appends_to_list() {
    Node **place = &head;
    while (*place != nullptr)
        place = &(*place)->next;
    *place = static_cast<Node *>(std::calloc(1, sizeof(Node)));
}
void fills_out(void **out) { *out = std::malloc(10); }
void loses() {
    void *volatile lost = std::malloc(10);
    (void)lost;
}

// A handle passed by value leads to what the library keeps, as libclang's strings do.
struct Pool {
    void **kept;
    std::size_t count;
};
struct Handle {
    Pool *pool;
    unsigned flags;
};
static Handle handle_of(Pool *pool) { return {pool, 1}; }
Handle opens() { return handle_of(static_cast<Pool *>(std::calloc(1, sizeof(Pool)))); }
void closes(Handle handle) {
    std::free(handle.pool->kept);
    handle.pool->kept = static_cast<void **>(std::malloc(8));
}
}
