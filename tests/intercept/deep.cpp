// Blocks allocated in every kind of place that a native stack is taken from. Each is BLOCK bytes,
// give or take what the library adds, so that a debugger can stop at it.
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <vector>

#define KEPT __attribute__((noinline, noclone))
#define NO_TAIL_CALL asm volatile("")

namespace {

constexpr size_t BLOCK = 7720;
struct Payload { char bytes[BLOCK]; };

std::vector<char> *volatile vector_kept;
std::string *volatile string_kept;
std::shared_ptr<Payload> *volatile shared_kept;
void *volatile kept;

KEPT void allocate() { kept = malloc(BLOCK); NO_TAIL_CALL; }
KEPT void inner(int depth)
{
    if (depth > 0)
        inner(depth - 1);
    else
        allocate();
    NO_TAIL_CALL;
}

struct Cleanup {
    ~Cleanup() { allocate(); NO_TAIL_CALL; }
};
KEPT void throws(int depth)
{
    if (depth > 0)
        throws(depth - 1);
    else
        throw std::runtime_error("expected");
    NO_TAIL_CALL;
}
KEPT void cleans_up() { Cleanup cleanup; throws(2); NO_TAIL_CALL; }

KEPT int compare(const void *left, const void *right)
{
    if (!kept)
        allocate();
    return *(const int *)left - *(const int *)right;
}

KEPT void *start(void *) { inner(1); NO_TAIL_CALL; return nullptr; }

KEPT void on_signal(int) { inner(0); NO_TAIL_CALL; }

} // namespace

extern "C" {

KEPT void begin_marker() { NO_TAIL_CALL; }

KEPT void plainly(void) { kept = malloc(BLOCK); NO_TAIL_CALL; }
KEPT void nested(void) { inner(3); NO_TAIL_CALL; }
KEPT void in_vector(void) { vector_kept = new std::vector<char>(BLOCK); NO_TAIL_CALL; }
KEPT void in_string(void) { string_kept = new std::string(BLOCK, 'x'); NO_TAIL_CALL; }
KEPT void in_shared(void)
{
    shared_kept = new std::shared_ptr<Payload>(std::make_shared<Payload>());
    NO_TAIL_CALL;
}

KEPT void in_handler(void)
{
    try {
        throws(3);
    } catch (const std::exception &) {
        inner(1);
    }
    NO_TAIL_CALL;
}

KEPT void in_flight(void)
{
    try {
        cleans_up();
    } catch (const std::exception &) {
    }
    NO_TAIL_CALL;
}

KEPT void in_callback(void)
{
    int numbers[] = {3, 1, 2};
    kept = nullptr;
    qsort(numbers, 3, sizeof *numbers, compare);
    NO_TAIL_CALL;
}

KEPT void with_variable_frame(void)
{
    volatile size_t length = 100;
    volatile char *room = (char *)__builtin_alloca(length);
    room[0] = 1;
    inner(1);
    room[1] = 2;
}

KEPT void with_aligned_frame(void)
{
    alignas(128) volatile char room[256];
    room[0] = 1;
    inner(1);
    room[1] = 2;
}

KEPT void on_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, nullptr, start, nullptr);
    pthread_join(thread, nullptr);
    NO_TAIL_CALL;
}

KEPT void in_signal(void)
{
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    NO_TAIL_CALL;
}

// Called by the constructor of a plugin.
KEPT void allocate_for_plugin(void) { allocate(); NO_TAIL_CALL; }
KEPT void in_constructor(const char *plugin) { kept = dlopen(plugin, RTLD_NOW); NO_TAIL_CALL; }

// Opens a library, calls its function `run` and closes it again; returns where it was.
KEPT void *uses(const char *plugin)
{
    void *handle = dlopen(plugin, RTLD_NOW);
    auto run = (void (*)(void))dlsym(handle, "run");
    run();
    dlclose(handle);
    return (void *)run;
}

} // extern "C"
