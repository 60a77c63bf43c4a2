// What a library keeps, loses, gives out and gives out while keeping it.
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <string>
#include <unistd.h>
#include <vector>

struct Node {
    Node *next;
    char line[88];
};
struct Handle {
    std::string name;
    std::vector<int> values;
    int *shared;
};

static void *table;
static Node *lines;
static thread_local std::string message;
static thread_local void *scratch;
static int shared_value;

extern "C" {
// Kept: a table made once, a list that grows, thread-local memory, an object made once.
int look_up() {
    if (table == nullptr) table = std::calloc(100, 10);
    return 0;
}
int log_line() {
    auto *node = static_cast<Node *>(std::malloc(sizeof(Node)));
    node->next = lines;
    lines = node;
    return 0;
}
int warm_up() {
    if (scratch == nullptr) scratch = std::malloc(500);
    return 0;
}
int remember() {
    static pthread_key_t key;
    static const int made = pthread_key_create(&key, std::free);
    if (made != 0) return made;
    if (pthread_getspecific(key) == nullptr) pthread_setspecific(key, std::malloc(700));
    return 0;
}
const char *last_error() {
    message = "longer than what fits into the string itself";
    return message.c_str();
}
void *the_context() {
    static void *context = std::malloc(300);
    return context;
}
// Lost: nobody has the pointer any more.
int forget() {
    char *volatile block = static_cast<char *>(std::malloc(2000));
    block[0] = 1;
    block = nullptr;
    return 0;
}
// Lost with the thread that had the pointer.
static void *lose_on_thread(void *) {
    char *volatile block = static_cast<char *>(std::malloc(2000));
    block[0] = 1;
    return nullptr;
}
int forget_on_thread() {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, lose_on_thread, nullptr) != 0) return -1;
    return pthread_join(thread, nullptr);
}
// Kept by the stack of a thread that waits.
int wait_with_block(int say_there, int may_go) {
    char *volatile block = static_cast<char *>(std::malloc(2000));
    block[0] = 'x';
    bool is_told = write(say_there, block, 1) == 1 && read(may_go, block, 1) == 1;
    std::free(block);
    return is_told ? 0 : -1;
}
// Given out: what hangs off the handle goes where the handle goes.
void *open_handle(int size) {
    auto *handle = new Handle{std::string(size, 'n'), {}, &shared_value};
    handle->values.resize(size);
    return handle;
}
void close_handle(void *handle) { delete static_cast<Handle *>(handle); }
}

// Given back by Python, and kept to be given out again.
static void *spare_contexts[4];
static int spare_context_count;
extern "C" {
void *open_context() {
    if (spare_context_count > 0) return spare_contexts[--spare_context_count];
    return std::malloc(400);
}
void close_context(void *context) {
    if (spare_context_count < 4)
        spare_contexts[spare_context_count++] = context;
    else
        std::free(context);
}
}

// What an object of the library holds is the library's, whatever pointer to it a call was given.
struct Pool {
    Node *first;
    Node *spare;
};
extern "C" {
void *make_pool() { return std::calloc(1, sizeof(Pool)); }
void *spare_of(void *pool) { return &static_cast<Pool *>(pool)->spare; }
int fill(Node **place) {
    *place = static_cast<Node *>(std::calloc(1, sizeof(Node)));
    return 0;
}
}
