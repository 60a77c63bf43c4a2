// Like xmalloc: one thread allocates, another releases. Argument: batches.

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

namespace {

constexpr int BATCH_LENGTH = 256;
constexpr size_t QUEUE_LENGTH_MAX = 16;
using Batch = std::vector<void *>;

std::mutex lock;
std::condition_variable changed;
std::queue<Batch> batches;

void allocate(long count)
{
    for (long number = 0; number < count; number++) {
        Batch batch;
        batch.reserve(BATCH_LENGTH);
        for (int block = 0; block < BATCH_LENGTH; block++)
            batch.push_back(malloc(16 + (block * 7 + number) % 240));
        std::unique_lock held(lock);
        changed.wait(held, [] { return batches.size() < QUEUE_LENGTH_MAX; });
        batches.push(std::move(batch));
        changed.notify_all();
    }
}

void release(long count)
{
    for (long number = 0; number < count; number++) {
        std::unique_lock held(lock);
        changed.wait(held, [] { return !batches.empty(); });
        Batch batch = std::move(batches.front());
        batches.pop();
        changed.notify_all();
        held.unlock();
        for (void *block : batch)
            free(block);
    }
}

} // namespace

int main(int argument_count, char **arguments)
{
    long count = argument_count > 1 ? atol(arguments[1]) : 100;
    std::thread allocating(allocate, count), releasing(release, count);
    allocating.join();
    releasing.join();
}
