/*
 * What a confined process can and cannot do. Confinement is for ever, so each test confines a child
 * of its own, which reports through its exit status; a child killed for a call has none.
 */
#include "internal/base/err.h"
#include "internal/confine/confine.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(confine, .timeout = 60);

#ifdef PV_INSTRUMENTED
#define NEEDS_FILTERS .disabled = true /* and `what_is_in_force` says that they are missing */
#else
#define NEEDS_FILTERS .disabled = false
#endif

struct place {
    struct pvt_tmpdir vault, other;
    struct pv_confine_config config;
    struct pv_confined in_force; /* in the child */
};

static void place_init(struct place *p)
{
    memset(p, 0, sizeof *p);
    pvt_tmpdir_init(&p->vault);
    pvt_tmpdir_init(&p->other);
    p->config = (struct pv_confine_config){.vault = p->vault.fd, .vault_path = p->vault.path};
    cr_assert_eq(mkdirat(p->vault.fd, "tmp", 0700), 0);
    cr_assert_eq(mkdirat(p->vault.fd, "blobs", 0700), 0);
}

static void place_release(struct place *p)
{
    pvt_tmpdir_release(&p->vault);
    pvt_tmpdir_release(&p->other);
}

/* In the child: says where it failed and leaves. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)dprintf(STDERR_FILENO, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, \
                          errno);                                                                  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define MUST_FAIL(call, error) MUST((errno = 0, (call) == -1 && errno == (error)))

/* The wait status of a confined child that ran body. */
static int confined(struct place *p, void (*body)(struct place *p, long arg), long arg)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        pv_confine_no_dumps();
        pv_confine(&p->in_force, &p->config);
        body(p, arg);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

static void run(void (*body)(struct place *p, long arg))
{
    struct place p;
    place_init(&p);
    cr_assert_eq(confined(&p, body, 0), 0, "see the line above");
    place_release(&p);
}

/* ---- what is said ---- */

static void is_all_in_force(struct place *p, long arg)
{
    char text[PV_CONFINED_TEXT_MAX];
    (void)arg;
    pv_confined_text(text, &p->in_force);
    MUST(pv_confined_fully(&p->in_force));
    MUST(p->in_force.no_new_privs && p->in_force.capabilities == 0);
#ifdef PV_INSTRUMENTED
    MUST(strstr(text, "no landlock (an instrumented build), no seccomp (an instrumented build)"));
#else
    MUST(p->in_force.seccomp && p->in_force.landlock >= 2);
#endif
    MUST(strstr(text, "no new privileges, no capabilities") != NULL);
}

Test(confine, what_is_in_force)
{
    run(is_all_in_force);
}

Test(confine, in_words, NEEDS_FILTERS)
{
    static const struct {
        struct pv_confined c;
        const char *text;
        bool fully;
    } cases[] = {
        {{.wanted = false}, "no (confine = off)", true},
        {{.wanted = true, .landlock = 4, .seccomp = true, .no_new_privs = true},
         "landlock 4, seccomp, no new privileges, no capabilities",
         true},
        {{.wanted = true,
          .seccomp = true,
          .no_new_privs = true,
          .landlock_errno = ENOSYS,
          .capabilities = 1 << CAP_NET_BIND_SERVICE},
         "no landlock (not in this kernel), seccomp, no new privileges, CAP_NET_BIND_SERVICE",
         false},
        {{.wanted = true, .landlock = 2, .seccomp_errno = EPERM, .capabilities = UINT64_C(1) << 40},
         "landlock 2, no seccomp (Operation not permitted), new privileges possible, "
         "capabilities 0x10000000000",
         false},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        char text[PV_CONFINED_TEXT_MAX];
        pv_confined_text(text, &cases[i].c);
        cr_assert_str_eq(text, cases[i].text);
        cr_assert_eq(pv_confined_fully(&cases[i].c), cases[i].fully);
    }
}

Test(confine, secrets_leave_the_environment)
{
    char entry[] = "PVT_SECRET=correct horse", empty[sizeof entry] = {0};
    cr_assert_eq(putenv(entry), 0); /* the array itself becomes part of it */
    pv_confine_forget("PVT_SECRET");
    pv_confine_forget("PVT_NEVER_SET");
    cr_assert_null(getenv("PVT_SECRET"));
    size_t name_len = strlen("PVT_SECRET=");
    cr_assert_arr_eq(entry + name_len, empty, sizeof entry - name_len);
}

/* ---- files ---- */

static void works_in_vault(struct place *p, long arg)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int v = p->vault.fd;
    (void)arg;
    int fd = openat(v, "tmp/1", O_RDWR | O_CREAT | O_EXCL, 0666);
    MUST(fd >= 0 && pwrite(fd, "bytes", 5, 0) == 5 && ftruncate(fd, 3) == 0 && fsync(fd) == 0);
    struct stat st;
    MUST(fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0600); /* by the umask */
    MUST(mkdirat(v, "blobs/00", 0700) == 0);
    MUST(renameat(v, "tmp/1", v, "blobs/00/1") == 0);
    MUST((fd = openat(v, "blobs/00/1", O_RDWR | O_TRUNC)) >= 0);
    MUST((fd = openat(v, "blobs", O_RDONLY | O_DIRECTORY)) >= 0);
    MUST(unlinkat(v, "blobs/00/1", 0) == 0 && unlinkat(v, "blobs/00", AT_REMOVEDIR) == 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/s", v);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0);
    MUST(unlink(address.sun_path) == 0);
}

Test(confine, the_vault_is_all_there)
{
    run(works_in_vault);
}

static void moves_anything(struct place *p, long arg)
{
    static const char *const names[] = {"link", "pipe", "folder"};
    int v = p->vault.fd;
    (void)arg;
    for (size_t i = 0; i < PV_COUNT(names); i++) {
        char from[32], to[32];
        (void)snprintf(from, sizeof from, "blobs/%s", names[i]);
        (void)snprintf(to, sizeof to, "tmp/%s", names[i]);
        MUST(renameat(v, from, v, to) == 0);
    }
}

Test(confine, what_is_no_file_goes_to_quarantine)
{
    struct place p;
    place_init(&p);
    int v = p.vault.fd;
    cr_assert_eq(symlinkat("/etc", v, "blobs/link"), 0);
    cr_assert_eq(mknodat(v, "blobs/pipe", S_IFIFO | 0600, 0), 0);
    cr_assert_eq(mkdirat(v, "blobs/folder", 0700), 0);
    cr_assert_eq(confined(&p, moves_anything, 0), 0);
    place_release(&p);
}

static void names_are_looked_up(struct place *p, long arg)
{
    (void)p;
    (void)arg;
    static const char *const files[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"};
    for (size_t i = 0; i < PV_COUNT(files); i++)
        MUST(open(files[i], O_RDONLY) >= 0 || errno == ENOENT);
    MUST(open("/dev/null", O_RDWR) >= 0 && open("/dev/urandom", O_RDONLY) >= 0);
    MUST_FAIL(open("/etc/hosts", O_RDWR), EACCES);
}

Test(confine, names_can_be_looked_up, NEEDS_FILTERS)
{
    run(names_are_looked_up);
}

static void is_shut_off(struct place *p, long arg)
{
    (void)arg;
    int o = p->other.fd;
    MUST_FAIL(openat(o, "file", O_RDONLY), EACCES);
    MUST_FAIL(openat(o, "file", O_WRONLY), EACCES);
    MUST_FAIL(openat(o, "new", O_WRONLY | O_CREAT, 0600), EACCES);
    MUST_FAIL(mkdirat(o, "new", 0700), EACCES);
    MUST_FAIL(unlinkat(o, "file", 0), EACCES);
    MUST_FAIL(renameat(p->vault.fd, "tmp", o, "tmp"), p->in_force.landlock >= 2 ? EACCES : EXDEV);
    MUST_FAIL(open(p->other.path, O_RDONLY | O_DIRECTORY), EACCES);
    MUST_FAIL(open("/", O_RDONLY | O_DIRECTORY), EACCES);
    MUST_FAIL(open("/proc/self/environ", O_RDONLY), EACCES);
    MUST_FAIL(open("/proc/version", O_RDONLY), EACCES);
    if (geteuid() == 0)
        MUST_FAIL(open("/etc/shadow", O_RDONLY), EACCES);
    MUST_FAIL(openat(p->vault.fd, "link", O_RDONLY), EACCES); /* leads out */
    MUST_FAIL(symlinkat("/etc", p->vault.fd, "new"), EPERM);
    MUST_FAIL(mknodat(p->vault.fd, "new", S_IFIFO | 0600, 0), EPERM);
}

Test(confine, nothing_else_is, NEEDS_FILTERS)
{
    struct place p;
    place_init(&p);
    int fd = openat(p.other.fd, "file", O_WRONLY | O_CREAT, 0666);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    char target[300];
    (void)snprintf(target, sizeof target, "%s/file", p.other.path);
    cr_assert_eq(symlinkat(target, p.vault.fd, "link"), 0);
    cr_assert_eq(confined(&p, is_shut_off, 0), 0);
    place_release(&p);
}

/* ---- system calls ---- */

static void makes_call(struct place *p, long number)
{
    (void)p;
    MUST_FAIL(syscall(number, 0, 0, 0, 0, 0, 0), EPERM);
}

Test(confine, what_an_intruder_calls_kills, NEEDS_FILTERS)
{
    static const long numbers[] = {SYS_execve,        SYS_execveat,
                                   SYS_ptrace,        SYS_process_vm_readv,
                                   SYS_bpf,           SYS_process_vm_writev,
                                   SYS_mount,         SYS_kexec_load,
                                   SYS_init_module,   SYS_finit_module,
                                   SYS_keyctl,        SYS_perf_event_open,
                                   SYS_userfaultfd,   SYS_unshare,
                                   SYS_setns,         SYS_pivot_root,
                                   SYS_delete_module, SYS_umount2};
    struct place p;
    place_init(&p);
    for (size_t i = 0; i < PV_COUNT(numbers); i++) {
        int status = confined(&p, makes_call, numbers[i]);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "call %ld: status %#x",
                  numbers[i], (unsigned)status);
        cr_assert(!WCOREDUMP(status));
    }
    place_release(&p);
}

Test(confine, what_nobody_needs_fails, NEEDS_FILTERS)
{
    static const long numbers[] = {
        SYS_memfd_create, SYS_io_uring_setup, SYS_inotify_init1, SYS_setuid,           SYS_capset,
        SYS_kill,         SYS_linkat,         SYS_symlinkat,     SYS_mknodat,          SYS_shmget,
        SYS_msgget,       SYS_personality,    SYS_pkey_mprotect, SYS_remap_file_pages, SYS_seccomp,
        SYS_timer_create, SYS_fchownat};
    struct place p;
    place_init(&p);
    for (size_t i = 0; i < PV_COUNT(numbers); i++)
        cr_assert_eq(confined(&p, makes_call, numbers[i]), 0, "call %ld", numbers[i]);
    place_release(&p);
}

static void *thread(void *arg)
{
    *(bool *)arg = true;
    return NULL;
}

static void has_threads_only(struct place *p, long arg)
{
    pthread_t t;
    bool ran = false;
    (void)p;
    (void)arg;
    MUST(pthread_create(&t, NULL, thread, &ran) == 0 && pthread_join(t, NULL) == 0 && ran);
    MUST_FAIL(fork(), EPERM);
    MUST_FAIL(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
    MUST_FAIL(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWNS, 0, 0, 0, 0),
              EPERM);
    MUST_FAIL(syscall(SYS_clone3, NULL, 0), ENOSYS);
    MUST_FAIL((int)syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM);
}

Test(confine, threads_but_no_processes, NEEDS_FILTERS)
{
    run(has_threads_only);
}

static void keeps_code_and_data_apart(struct place *p, long arg)
{
    size_t len = 4096;
    (void)arg;
    char *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(data != MAP_FAILED);
    MUST_FAIL(mprotect(data, len, PROT_READ | PROT_EXEC), EPERM);
    MUST(mprotect(data, len, PROT_READ) == 0);
    int fd = openat(p->vault.fd, "code", O_RDWR | O_CREAT, 0700);
    MUST(fd >= 0 && ftruncate(fd, 4096) == 0);
    MUST(mmap(NULL, len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED &&
         errno == EPERM);
}

Test(confine, what_is_written_is_not_executed, NEEDS_FILTERS)
{
    run(keeps_code_and_data_apart);
}

static void has_few_families(struct place *p, long arg)
{
    (void)p;
    (void)arg;
    for (int family = 0; family < 64; family++) {
        int fd = socket(family, SOCK_DGRAM, 0);
        if (family == AF_UNIX || family == AF_INET || family == AF_NETLINK)
            MUST(fd >= 0);
        else if (family != AF_INET6) /* which may be switched off */
            MUST(fd == -1 && errno == EPERM);
    }
    int pair[2];
    MUST_FAIL(socketpair(AF_TIPC, SOCK_STREAM, 0, pair), EPERM);
}

Test(confine, four_families_of_sockets, NEEDS_FILTERS)
{
    run(has_few_families);
}

static int bind_port(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bind(fd, (struct sockaddr *)&a, sizeof a);
}

static void binds_one_port(struct place *p, long arg)
{
    (void)arg;
    MUST(bind_port(p->config.port) == 0 || errno == EADDRINUSE);
    if (p->in_force.landlock >= 4)
        MUST_FAIL(bind_port(p->config.port == 0 ? 20000 : 0), EACCES);
}

Test(confine, one_port, NEEDS_FILTERS)
{
    struct place p;
    place_init(&p);
    cr_assert_eq(confined(&p, binds_one_port, 0), 0);
    p.config.port = 30999;
    cr_assert_eq(confined(&p, binds_one_port, 0), 0);
    place_release(&p);
}

/* ---- privileges ---- */

static void keeps_nothing(struct place *p, long kept)
{
    struct rlimit limit;
    MUST(p->in_force.capabilities == (uint64_t)kept);
    MUST(getrlimit(RLIMIT_CORE, &limit) == 0);
#ifndef PV_INSTRUMENTED
    MUST(limit.rlim_cur == 0 && limit.rlim_max == 0);
#endif
    works_in_vault(p, 0);
}

Test(confine, capabilities_of_root)
{
    struct place p;
    if (geteuid() != 0)
        cr_skip_test("not root: there is nothing to drop");
    place_init(&p);
    cr_assert_eq(confined(&p, keeps_nothing, 0), 0);
    p.config.port = 443;
    cr_assert_eq(confined(&p, keeps_nothing, 1 << CAP_NET_BIND_SERVICE), 0);
    p.config.port = 0;

    /* A vault that root does not own, and one behind somebody's closed door. */
    const long dac = 1 << CAP_DAC_OVERRIDE;
    cr_assert_eq(fchown(p.vault.fd, 12345, 12345), 0);
    cr_assert_eq(confined(&p, keeps_nothing, dac), 0);
    cr_assert_eq(fchown(p.vault.fd, 0, 0), 0);
    cr_assert_eq(fchmod(p.other.fd, 0700), 0);
    cr_assert_eq(mkdirat(p.other.fd, "vault", 0700), 0);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/vault", p.other.path);
    p.config.vault_path = path;
    cr_assert_eq(confined(&p, keeps_nothing, 0), 0);
    cr_assert_eq(fchown(p.other.fd, 12345, 12345), 0);
    cr_assert_eq(confined(&p, keeps_nothing, dac), 0);
    place_release(&p);
}
