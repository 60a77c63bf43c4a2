// The same errors in other places: threads, static constructors, callbacks, destructors at exit.
#include "suite.h"

#include <algorithm>
#include <pthread.h>
#include <thread>
#include <vector>

namespace {
char *made_before_main = (char *)malloc(44);
char *made_for_exit = new char[12];

struct AtExit {
    ~AtExit() {
        free(made_before_main);
        delete[] made_for_exit;
    }
} at_exit;

void in_threads(void (*work)()) {
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; number++) threads.emplace_back(work);
    for (std::thread &thread : threads) thread.join();
}

void *release(void *block) {
    free(block);
    return nullptr;
}
}

BAD(static_twice, "double-free") {
    static char *block = (char *)malloc(20);
    free(block);
    free(HIDDEN(char, block));
}
GOOD(static_twice) {
    static char *block = (char *)malloc(20);
    free(block);
}

BAD(static_block_past_end, "heap-overflow") {
    HIDDEN(char, made_before_main)[44] = 1;
}
GOOD(static_block_past_end) {
    HIDDEN(char, made_before_main)[43] = 1;
}

BAD(two_threads, "double-free") {
    void *block = malloc(30);
    pthread_t thread;
    pthread_create(&thread, nullptr, release, block);
    pthread_join(thread, nullptr);
    free(HIDDEN(char, block));
}
GOOD(two_threads) {
    void *block = malloc(30);
    pthread_t thread;
    pthread_create(&thread, nullptr, release, block);
    pthread_join(thread, nullptr);
}

BAD(many_double_frees, "double-free") {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) {
            void *block = malloc(8 + turn % 100);
            free(block);
            free(HIDDEN(char, block));
        }
    });
}
GOOD(many_double_frees) {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) free(HIDDEN(char, malloc(8 + turn % 100)));
    });
}

BAD(many_overflows, "heap-overflow") {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) {
            char *block = (char *)malloc(8 + turn % 100);
            HIDDEN(char, block)[8 + turn % 100] = 1;
            free(block);
        }
    });
}
GOOD(many_overflows) {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) {
            char *block = (char *)malloc(8 + turn % 100);
            HIDDEN(char, block)[7 + turn % 100] = 1;
            free(block);
        }
    });
}

BAD(many_mismatches, "mismatched-free") {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) free(HIDDEN(char, new char[8]));
    });
}
GOOD(many_mismatches) {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) delete[] HIDDEN(char, new char[8]);
    });
}

BAD(many_stack_frees, "invalid-free") {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) {
            long local = turn;
            free(HIDDEN(long, &local));
        }
    });
}
GOOD(many_stack_frees) {
    in_threads([] {
        for (int turn = 0; turn < 1000; turn++) free(HIDDEN(long, malloc(8)));
    });
}

BAD(in_a_callback, "double-free") {
    int numbers[3] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, [](const void *one, const void *two) {
        void *block = malloc(16);
        free(block);
        free(HIDDEN(char, block));
        return *(const int *)one - *(const int *)two;
    });
}
GOOD(in_a_callback) {
    int numbers[3] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, [](const void *one, const void *two) {
        free(HIDDEN(char, malloc(16)));
        return *(const int *)one - *(const int *)two;
    });
}

BAD(thread_local_object, "double-free") {
    struct Holder {
        int *number = new int(1);
        ~Holder() {
            delete number;
            delete HIDDEN(int, number);
        }
    };
    std::thread([] {
        static thread_local Holder holder;
        suite_sink = *holder.number;
    }).join();
}
GOOD(thread_local_object) {
    struct Holder {
        int *number = new int(1);
        ~Holder() { delete number; }
    };
    std::thread([] {
        static thread_local Holder holder;
        suite_sink = *holder.number;
    }).join();
}
