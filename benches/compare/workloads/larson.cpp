// After Larson and Krishnan: threads replace random blocks of arrays, and hand the arrays on.
// Argument: rounds for each of two threads.

#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr int THREAD_COUNT = 2;
constexpr int BLOCK_COUNT = 1'000;

void replace_blocks(std::vector<void *> &blocks, unsigned seed, long rounds)
{
    std::minstd_rand random(seed);
    for (long round = 0; round < rounds; round++) {
        void *&place = blocks[random() % BLOCK_COUNT];
        free(place);
        place = malloc(8 + random() % 500);
    }
}

} // namespace

int main(int argument_count, char **arguments)
{
    long rounds = argument_count > 1 ? atol(arguments[1]) : 1'000;
    std::vector<std::vector<void *>> arrays(THREAD_COUNT, std::vector<void *>(BLOCK_COUNT));
    for (int turn = 0; turn < 4; turn++) {
        std::vector<std::thread> threads;
        for (int thread = 0; thread < THREAD_COUNT; thread++) {
            // Another thread's array than in the turn before.
            auto &blocks = arrays[(thread + turn) % THREAD_COUNT];
            threads.emplace_back([&blocks, thread, rounds] { replace_blocks(blocks, thread + 1, rounds); });
        }
        for (auto &thread : threads)
            thread.join();
    }
    for (auto &blocks : arrays)
        for (void *block : blocks)
            free(block);
}
