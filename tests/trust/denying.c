/* Runs a program without something of the kernel's: denying HOW PROGRAM ARGUMENTS.... Ends with 99
 * where the machine does not allow the attempt. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Answers EPERM to a system call, of which an argument has a value if one is named. */
static int deny(unsigned number, int argument, unsigned value)
{
    unsigned place = argument < 0 ? offsetof(struct seccomp_data, nr)
                                  : offsetof(struct seccomp_data, args) + 8 * argument;
    unsigned wanted = argument < 0 ? number : value;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, place),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wanted, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program);
}

/* A namespace in which an empty folder lies over /proc. */
static int hide_proc(void)
{
    return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)
        || mount("none", "/proc", "tmpfs", 0, NULL);
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 98;
    const char *how = arguments[1];
    int refused = 0;
    if (!strcmp(how, "process_vm_readv"))
        refused = deny(SYS_process_vm_readv, -1, 0);
    else if (!strcmp(how, "madvise"))
        refused = deny(SYS_madvise, -1, 0);
    else if (!strcmp(how, "mprotect"))
        /* ld.so itself needs the others: only what makes pages writable again is denied. */
        refused = deny(SYS_mprotect, 2, 3);
    else if (!strcmp(how, "undumpable"))
        refused = prctl(PR_SET_DUMPABLE, 0);
    else if (!strcmp(how, "no_proc"))
        refused = hide_proc();
    else
        return 98;
    if (refused)
        return 99;
    execv(arguments[2], arguments + 2);
    return 97;
}
