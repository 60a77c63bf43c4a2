// The library behind the workloads that call C and C++: pairs, single blocks, many small objects.

#include <cstdlib>
#include <ctime>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr long RING_LENGTH = 512;

double thread_seconds()
{
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Node {
    std::string name;
    std::vector<int> values;
    std::unique_ptr<Node> next;
};

} // namespace

extern "C" {

void *make(size_t size)
{
    return malloc(size);
}

void drop(void *block)
{
    free(block);
}

// Returns the nanoseconds of processor time that a pair took on this thread.
double pairs(long count, size_t size)
{
    std::vector<char *> ring(RING_LENGTH, nullptr);
    double began = thread_seconds();
    for (long pair = 0; pair < count; pair++) {
        char *&place = ring[pair % RING_LENGTH];
        free(place);
        place = static_cast<char *>(malloc(size));
        place[0] = 1;
    }
    double took = thread_seconds() - began;
    for (char *block : ring)
        free(block);
    return took * 1e9 / static_cast<double>(count);
}

// Builds lists of nodes of random sizes until `count` blocks live, and releases them.
long objects(long count)
{
    std::mt19937 random(1);
    std::map<unsigned, std::unique_ptr<Node>> lists;
    for (long made = 0; made < count; made += 3) {
        auto node = std::make_unique<Node>();
        node->name.assign(20 + random() % 60, 'x');
        node->values.resize(1 + random() % 40);
        auto &head = lists[random() % 4096];
        node->next = std::move(head);
        head = std::move(node);
    }
    long length = 0;
    for (auto &[key, head] : lists)
        while (head) {
            auto next = std::move(head->next);
            head = std::move(next);
            length++;
        }
    return length;
}
}
