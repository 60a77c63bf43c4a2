// Runs a program and writes what it used: a small process, for what a program uses at least is what
// the process it was started from had used.
//
// FILE COMMAND ARGUMENTS...: the file gets status, microseconds of processor time, peak KiB.

#include <cstdio>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argument_count, char **arguments)
{
    if (argument_count < 3)
        return 2;
    pid_t child = fork();
    if (child < 0)
        return 2;
    if (child == 0) {
        execvp(arguments[2], arguments + 2);
        _exit(127);
    }
    int status = 0;
    rusage used{};
    if (wait4(child, &status, 0, &used) != child)
        return 2;
    long long microseconds = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000LL
        + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    FILE *file = std::fopen(arguments[1], "w");
    if (file == nullptr)
        return 2;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    std::fprintf(file, "%d %lld %ld\n", code, microseconds, used.ru_maxrss);
    return std::fclose(file) == 0 ? 0 : 2;
}
