// Threads that allocate by every function there is while the session starts and stops beside them:
// nothing that they do is wrong, and no block may lose its content.
//
//   attaching OPTIONS STARTS THREADS FORKS
//
// Prints what went wrong: findings, lost contents, children that did not end well.
#include "heapledger.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

enum Way {
    MALLOC, CALLOC, REALLOC, MEMALIGN, ALIGNED, STRDUP,
    NEW, NEW_ARRAY, NEW_ALIGNED, NEW_ARRAY_ALIGNED,
    WAY_COUNT
};

constexpr std::align_val_t ALIGNMENT{64};
constexpr size_t SIZE_MAX_HERE = 700;
constexpr size_t SHELF_COUNT = 64;

struct Block {
    unsigned char *bytes = nullptr;
    size_t size = 0;
    Way way = MALLOC;
    unsigned char fill = 0;
};

std::atomic<bool> is_going_on{true};
std::atomic<long> operation_count{0}, lost_count{0};
// Blocks that one thread allocates and another releases.
std::atomic<Block *> shelf[SHELF_COUNT];

unsigned next(unsigned &state)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

Block allocate(unsigned &state)
{
    Block block;
    block.way = static_cast<Way>(next(state) % WAY_COUNT);
    block.size = 1 + next(state) % SIZE_MAX_HERE;
    block.fill = static_cast<unsigned char>(1 + next(state) % 255);
    void *got = nullptr;
    switch (block.way) {
    case MALLOC: got = std::malloc(block.size); break;
    case CALLOC: got = std::calloc(1, block.size); break;
    case REALLOC: got = std::realloc(std::malloc(block.size / 2 + 1), block.size); break;
    case MEMALIGN: got = posix_memalign(&got, 64, block.size) ? nullptr : got; break;
    case ALIGNED: block.size = (block.size + 63) / 64 * 64; got = aligned_alloc(64, block.size); break;
    case STRDUP: got = strdup(std::string(block.size - 1, 'x').c_str()); break;
    case NEW: got = ::operator new(block.size); break;
    case NEW_ARRAY: got = ::operator new[](block.size); break;
    case NEW_ALIGNED: got = ::operator new(block.size, ALIGNMENT); break;
    default: got = ::operator new[](block.size, ALIGNMENT); break;
    }
    block.bytes = static_cast<unsigned char *>(got);
    std::memset(block.bytes, block.fill, block.size);
    return block;
}

void release(const Block &block)
{
    for (size_t place = 0; place < block.size; place++)
        if (block.bytes[place] != block.fill) {
            lost_count++;
            break;
        }
    switch (block.way) {
    case NEW: ::operator delete(block.bytes); break;
    case NEW_ARRAY: ::operator delete[](block.bytes); break;
    case NEW_ALIGNED: ::operator delete(block.bytes, ALIGNMENT); break;
    case NEW_ARRAY_ALIGNED: ::operator delete[](block.bytes, ALIGNMENT); break;
    default: std::free(block.bytes);
    }
}

void work(unsigned state)
{
    std::vector<Block> held;
    while (is_going_on) {
        held.push_back(allocate(state));
        if (held.size() > 40) {
            size_t place = next(state) % held.size();
            std::swap(held[place], held.back());
            Block *given = new Block(held.back());
            held.pop_back();
            Block *found = shelf[next(state) % SHELF_COUNT].exchange(given);
            if (found) {
                release(*found);
                delete found;
            }
        }
        operation_count++;
    }
    for (const Block &block : held)
        release(block);
}

// A child has one thread; it allocates, stops and starts, and is told by its status how it fared.
bool child_ends_well(const char *options)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        unsigned state = static_cast<unsigned>(getpid());
        for (int round = 0; round < 50; round++)
            release(allocate(state));
        hl_stop();
        hl_status started = hl_start(options);
        for (int round = 0; round < 50; round++)
            release(allocate(state));
        uint64_t count = 1;
        bool is_well = started == HL_OK && hl_finding_count(&count) == HL_OK && count == 0;
        _exit(is_well && lost_count == 0 ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

} // namespace

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    const char *options = words[1];
    int start_count = std::atoi(words[2]), thread_count = std::atoi(words[3]);
    int fork_count = std::atoi(words[4]), ill_count = 0, refused_count = 0;
    std::vector<std::thread> threads;
    for (int number = 0; number < thread_count; number++)
        threads.emplace_back(work, 17u * static_cast<unsigned>(number) + 1);
    std::thread forking([&] {
        for (int number = 0; number < fork_count; number++)
            ill_count += !child_ends_well(options);
    });
    for (int number = 0; number < start_count; number++) {
        refused_count += hl_start(options) != HL_OK;
        // A session lasts for some thousand operations of the others, the time between for some.
        long until = operation_count + (number % 4 ? 300 : 3000);
        while (operation_count < until)
            std::this_thread::yield();
        refused_count += hl_stop() != HL_OK;
    }
    forking.join();
    is_going_on = false;
    for (std::thread &thread : threads)
        thread.join();
    for (std::atomic<Block *> &place : shelf)
        if (Block *left = place.exchange(nullptr)) {
            release(*left);
            delete left;
        }
    uint64_t finding_count = 0;
    hl_finding_count(&finding_count);
    std::printf("findings %llu, contents lost %ld, ill children %d, refused %d\n",
                static_cast<unsigned long long>(finding_count), lost_count.load(), ill_count,
                refused_count);
    std::fprintf(stderr, "%ld operations\n", operation_count.load());
    size_t length = 0;
    if (finding_count && hl_report_text(nullptr, 0, &length) == HL_BUFFER_TOO_SMALL) {
        std::vector<char> text(length + 1);
        hl_report_text(text.data(), text.size(), &length);
        std::fprintf(stderr, "%s\n", text.data());
    }
    return 0;
}
