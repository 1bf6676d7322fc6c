/*
 * The filter of system calls, made by libseccomp for the machine's own architecture: a program of
 * another one, as x86-64 runs those of i386, is killed at its first call.
 *
 * The list is what program, libuv, SQLite, libcrypto and the C library (threads, memory, host
 * names) are seen to use, and the twins of those calls on other architectures and in later
 * libraries: a name that the machine does not have is passed over. Calls whose arguments matter
 * have rules of their own.
 *
 * clone3 hides its flags from the filter. It fails as if the kernel did not have it, and the C
 * library takes clone, whose flags say thread or process.
 */
#include "internal/confine/confine_private.h"

#include "internal/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* memory and threads */
    "brk", "munmap", "mremap", "madvise", "futex", "futex_time64", "set_robust_list", "rseq",
    "membarrier", "sched_yield", "sched_getaffinity", "getcpu", "exit", "exit_group",
    /* signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    /* who and what we are */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo",
    "getrusage", "getrlimit", "umask",
    /* time */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    /* files: Landlock says which */
    "openat", "open", "close", "close_range", "read", "pread64", "readv", "preadv", "write",
    "pwrite64", "writev", "pwritev", "lseek", "fsync", "fdatasync", "sync_file_range", "ftruncate",
    "fallocate", "fadvise64", "flock", "fcntl", "fstat", "newfstatat", "stat", "lstat", "statx",
    "statfs", "fstatfs", "access", "faccessat", "faccessat2", "getdents64", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "readlink", "readlinkat",
    "fchmod", "utimensat", "dup", "dup2", "dup3",
    /* network, but for making sockets */
    "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
    "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    "select", "pselect6", "pipe2", "eventfd2",
    /* chance */
    "getrandom"};

static const char *const killers[] = {
    /* other programs, and other processes */
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
    /* ways into the kernel */
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module", "iopl", "ioperm",
    /* another view of the machine */
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr",
    "pivot_root", "chroot", "setns", "unshare", "open_by_handle_at", "reboot", "swapon", "swapoff"};

static int rules(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        int rc = call < 0 ? 0 : seccomp_rule_add(ctx, action, call, 0);
        if (rc != 0)
            return -rc;
    }
    return 0;
}

/* Allows a call where one argument is as said. */
static int where(scmp_filter_ctx ctx, int call, struct scmp_arg_cmp argument)
{
    return -seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &argument);
}

static int limited(scmp_filter_ctx ctx)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    static const unsigned long ioctls[] = {FIONBIO, FIONREAD, FIOCLEX};
    enum {
        NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                         CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
    };
    int e = 0;
    for (size_t i = 0; i < PV_COUNT(families) && e == 0; i++)
        e = where(ctx, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    for (size_t i = 0; i < PV_COUNT(ioctls) && e == 0; i++)
        e = where(ctx, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
    e = e != 0 ? e : where(ctx, SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    /* abort() is the one who signals; a limit is that of this process. */
    e = e != 0 ? e : where(ctx, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    e = e != 0 ? e : where(ctx, SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_EQ, 0));
    e = e != 0 ? e : where(ctx, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    /* Never both; never afterwards. */
    e = e != 0 ? e : where(ctx, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    e = e != 0 ? e : where(ctx, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
    e = e != 0 ? e : where(ctx, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    const uint64_t kind = (uint32_t)(CLONE_THREAD | NEW_NAMESPACES);
    e = e != 0 ? e : where(ctx, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, kind, CLONE_THREAD));
    return e != 0 ? e : -seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

int pv_confine_calls(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (ctx == NULL)
        return ENOMEM;
    int e = -seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A tree instead of a row: the cost of a call does not depend on its place above. */
    e = e != 0 ? e : -seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    e = e != 0 ? e : rules(ctx, SCMP_ACT_ALLOW, allowed, PV_COUNT(allowed));
    e = e != 0 ? e : rules(ctx, SCMP_ACT_KILL_PROCESS, killers, PV_COUNT(killers));
    e = e != 0 ? e : limited(ctx);
    e = e != 0 ? e : -seccomp_load(ctx);
    seccomp_release(ctx);
    return e;
}
