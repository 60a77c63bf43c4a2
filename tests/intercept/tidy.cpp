// Clean code of every kind that keeps memory until its end: none of it is a leak. A library for
// ctypes, and with MAIN a program.
#include <clocale>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <exception>
#include <fstream>
#include <functional>
#include <future>
#include <iconv.h>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <memory>
#include <mutex>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {
struct Singleton {
    std::string text = std::string(1000, 'z');
    std::unordered_map<int, std::string> names = {{3, std::string(99, 'q')}};
};

std::unique_ptr<std::vector<std::string>> owner;
std::map<std::string, std::vector<int>> numbers;
std::shared_ptr<int> shared;
Singleton *singleton;
thread_local std::vector<std::string> texts_of_thread;
thread_local std::unique_ptr<int> owner_of_thread;
pthread_key_t key;
pthread_once_t once = PTHREAD_ONCE_INIT;

void thrower(int depth) {
    std::string guard(100, 'g');
    if (depth == 0)
        throw std::runtime_error("a message that is long enough to be allocated on the heap");
    thrower(depth - 1);
}

class Pool {
  public:
    Pool() {
        for (int i = 0; i < 3; i++)
            workers.emplace_back([this] { work(); });
    }
    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex);
            stopping = true;
        }
        changed.notify_all();
        for (auto &worker : workers)
            worker.join();
    }
    void give(std::function<void()> job) {
        std::lock_guard<std::mutex> lock(mutex);
        jobs.push_back(std::move(job));
        changed.notify_one();
    }

  private:
    void work() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            changed.wait(lock, [this] { return stopping || !jobs.empty(); });
            if (jobs.empty())
                return;
            auto job = std::move(jobs.back());
            jobs.pop_back();
            lock.unlock();
            job();
            lock.lock();
        }
    }
    std::vector<std::thread> workers;
    std::vector<std::function<void()>> jobs;
    std::mutex mutex;
    std::condition_variable changed;
    bool stopping = false;
};
}  // namespace

extern "C" {
void function_statics() {
    static std::vector<int> values;
    static std::map<std::string, std::string> words;
    static const auto text = std::make_unique<std::string>(100, 'x');
    static auto array = std::make_shared<std::vector<double>>(100);
    for (int i = 0; i < 100; i++) {
        values.push_back(i);
        words[std::to_string(i)] = std::string(50, 'a') + *text;
    }
}
void globals() {
    owner = std::make_unique<std::vector<std::string>>(10, std::string(100, 'y'));
    for (int i = 0; i < 50; i++)
        numbers[std::to_string(i)].assign(20, i);
    shared = std::make_shared<int>(3);
}
void freed_at_exit() {
    if (singleton != nullptr)
        return;
    singleton = new Singleton;
    std::atexit([] { delete singleton; });
}
void streams() {
    std::cout << "cout " << 1.5 << " " << std::hex << 255 << std::endl;
    std::wcout << L"" << std::flush;
    std::ostringstream out;
    const std::time_t start = 0;
    out << std::setw(40) << 3.25 << std::put_time(std::gmtime(&start), "%c");
    std::istringstream in("1 2.5 three");
    int one;
    double two;
    std::string three;
    in >> one >> two >> three;
    std::ofstream("/dev/null") << out.str();
    std::ifstream maps("/proc/self/maps");
    std::string line;
    while (std::getline(maps, line)) {
    }
}
void locales() {
    try {
        std::ostringstream out;
        out.imbue(std::locale("C.UTF-8"));
        out << 12345.678;
        std::locale::global(std::locale("C.UTF-8"));
    } catch (const std::exception &) {
    }
    std::locale::global(std::locale::classic());
    setlocale(LC_ALL, "C.UTF-8");
    localeconv();
    if (locale_t mine = newlocale(LC_ALL_MASK, "C.UTF-8", nullptr)) {
        uselocale(uselocale(mine));
        freelocale(mine);
    }
}
void regexes() {
    const std::regex pattern("(a|b)+c?[0-9]{2,3}", std::regex::icase);
    std::smatch found;
    const std::string text = "xxababC123";
    std::regex_search(text, found, pattern);
    std::regex_replace(text, pattern, "z");
}
void exceptions() {
    for (int i = 0; i < 5; i++)
        try {
            thrower(5);
        } catch (const std::exception &) {
        }
    std::exception_ptr kept;
    try {
        try {
            thrower(1);
        } catch (...) {
            kept = std::current_exception();
            std::throw_with_nested(std::logic_error("outer"));
        }
    } catch (...) {
    }
    try {
        std::rethrow_exception(kept);
    } catch (...) {
    }
}
void threads() {
    texts_of_thread.emplace_back(100, 't');
    owner_of_thread = std::make_unique<int>(3);
    std::vector<std::thread> all;
    for (int i = 0; i < 4; i++)
        all.emplace_back([i] {
            texts_of_thread.emplace_back(100, 'u');
            owner_of_thread = std::make_unique<int>(i);
            try {
                thrower(3);
            } catch (...) {
            }
        });
    for (auto &thread : all)
        thread.join();
    std::async(std::launch::async, [] { return std::string(100, 'f'); }).get();
}
void keys() {
    pthread_once(&once, [] { pthread_key_create(&key, std::free); });
    std::thread([] { pthread_setspecific(key, std::malloc(77)); }).join();
}
void thread_pool() {
    static Pool pool;
    std::promise<void> done;
    for (int i = 0; i < 10; i++)
        pool.give([text = std::string(100, 'j')] { std::vector<int> values(100); });
    pool.give([&done] { done.set_value(); });
    done.get_future().wait();
}
void c_library() {
    std::printf("printf %d %.3f\n", 7, 1.5);
    std::fflush(stdout);
    char *buffer = nullptr;
    size_t size = 0;
    FILE *file = open_memstream(&buffer, &size);
    std::fprintf(file, "%1000d", 1);
    std::fclose(file);
    std::free(buffer);
    for (const char *zone : {"Europe/Paris", "Asia/Tokyo", "UTC"}) {
        setenv("TZ", zone, 1);
        tzset();
        const std::time_t now = 1000000000;
        std::localtime(&now);
    }
    setenv("A_NAME", "a value", 1);
    setenv("A_NAME", "a longer value than before", 1);
    for (int i = 0; i < 50; i++)
        std::atexit([] {});
}
void databases() {
    addrinfo *found = nullptr;
    if (getaddrinfo("localhost", "80", nullptr, &found) == 0)
        freeaddrinfo(found);
    getpwuid(0);
    getpwnam("root");
    getservbyname("http", "tcp");
    iconv_t conversion = iconv_open("UTF-16", "ISO-8859-1");
    if (conversion != reinterpret_cast<iconv_t>(-1))
        iconv_close(conversion);
    if (void *library = dlopen("libm.so.6", RTLD_NOW))
        dlclose(library);
    dlopen("no-such-library.so", RTLD_NOW);
    dlerror();
    std::mt19937 generator{std::random_device{}()};
}
}

#ifdef MAIN
int main() {
    for (auto call : {function_statics, globals, freed_at_exit, streams, locales, regexes, exceptions,
                      threads, keys, thread_pool, c_library, databases})
        call();
}
#endif
