/*
 * Children get SIGKILL when this process dies however it dies, so that no daemon is left behind.
 * Between fork and exec only calls that are allowed there are made.
 */
#include "cmd/peervault/demo_nodes.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "crypto/token.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

extern char **environ;

enum { START_MS = 30000, JOIN_MS = 60000, STOP_MS = 12000, LOOK_MS = 50, TAIL_BYTES = 2000 };

static volatile sig_atomic_t interrupted;

static void on_signal(int signum)
{
    (void)signum;
    interrupted = 1;
}

bool pv_demo_interrupted(void)
{
    return interrupted != 0;
}

static enum pv_exit stop_asked(void)
{
    return pv_out_fail(PV_EXIT_FAILED, "demo: interrupted: everything is being removed");
}

/* ---- folder and environment ---- */

/* Ours, without any PEERVAULT_ setting that would reach the children, plus two secrets. */
static enum pv_exit make_environment(struct pv_demo_cluster *d)
{
    char token[PV_TOKEN_TEXT_LEN + 1], hex[2 * PV_KEY_LEN + 1];
    uint8_t key[PV_KEY_LEN];
    size_t n = 0, count = 0;
    while (environ[count] != NULL)
        count++;
    d->environment = pv_calloc(count + 3, sizeof *d->environment);
    if (d->environment == NULL)
        return pv_out_no_memory();
    pv_token_generate(token, &d->cli->env);
    pv_env_random(&d->cli->env, key, sizeof key);
    pv_hex_encode(hex, key, sizeof key);
    char *own[] = {pv_asprintf("PEERVAULT_AUTH_TOKEN=%s", token),
                   pv_asprintf("PEERVAULT_CLUSTER_KEY=%s", hex)};
    bool whole = own[0] != NULL && own[1] != NULL;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "PEERVAULT_", 10) == 0)
            continue;
        d->environment[n] = pv_strdup(environ[i]);
        whole = whole && d->environment[n] != NULL;
        n += d->environment[n] != NULL ? 1 : 0;
    }
    for (size_t i = 0; i < PV_COUNT(own); i++)
        if (own[i] != NULL)
            d->environment[n++] = own[i];
    return whole ? PV_EXIT_OK : pv_out_no_memory();
}

enum pv_exit pv_demo_init(struct pv_demo_cluster *d, const struct pv_cli *cli, unsigned count)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end */
    const char *tmp = getenv("TMPDIR");
    *d = (struct pv_demo_cluster){.cli = cli, .count = count};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    char *folder = pv_asprintf("%s/peervault-demo-XXXXXX", tmp != NULL && *tmp ? tmp : "/tmp");
    if (folder == NULL)
        return pv_out_no_memory();
    if (mkdtemp(folder) == NULL) {
        enum pv_exit exit = pv_out_fail(PV_EXIT_FAILED, "demo: cannot make a folder %s: %s", folder,
                                        strerror(errno));
        pv_free(folder);
        return exit;
    }
    d->folder = folder;
    for (unsigned i = 0; i < count; i++) {
        struct pv_demo_node *n = &d->nodes[i];
        n->number = i + 1;
        n->vault = pv_asprintf("%s/node-%u", d->folder, i + 1);
        n->log = pv_asprintf("%s/node-%u.log", d->folder, i + 1);
        if (n->vault == NULL || n->log == NULL)
            return pv_out_no_memory();
    }
    return make_environment(d);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path); /* what stays makes its folder stay, which is said */
    return 0;
}

/* Waits up to ms for a child; true: it has ended. */
static bool reaped(struct pv_demo_cluster *d, pid_t pid, uint64_t ms)
{
    uint64_t until = pv_env_mono_ms(&d->cli->env) + ms;
    for (;;) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);
        if (ended == pid || (ended < 0 && errno == ECHILD))
            return true;
        if (pv_env_mono_ms(&d->cli->env) >= until)
            return false;
        (void)poll(NULL, 0, LOOK_MS);
    }
}

void pv_demo_kill(struct pv_demo_cluster *d, unsigned i)
{
    struct pv_demo_node *n = &d->nodes[i];
    if (n->pid == 0)
        return;
    (void)kill(n->pid, SIGKILL);
    (void)reaped(d, n->pid, STOP_MS);
    n->pid = 0;
}

void pv_demo_release(struct pv_demo_cluster *d)
{
    for (unsigned i = 0; i < d->count; i++)
        if (d->nodes[i].pid != 0)
            (void)kill(d->nodes[i].pid, SIGTERM);
    for (unsigned i = 0; i < d->count; i++) {
        struct pv_demo_node *n = &d->nodes[i];
        if (n->pid != 0 && reaped(d, n->pid, STOP_MS))
            n->pid = 0;
        pv_demo_kill(d, i);
        pv_free(n->vault);
        pv_free(n->log);
        pv_free(n->address);
    }
    if (d->folder != NULL && (nftw(d->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 ||
                              access(d->folder, F_OK) == 0))
        pv_out_line("demo: %s could not be removed whole: remove it by hand", d->folder);
    for (char **e = d->environment; e != NULL && *e != NULL; e++) {
        pv_wipe(*e, strlen(*e));
        pv_free(*e);
    }
    pv_free(d->environment);
    pv_free(d->folder);
    *d = (struct pv_demo_cluster){0};
}

/* ---- children ---- */

/*
 * stdout_fd, stderr_fd: -1 inherits ours. A child with both replaced is a daemon and leaves our
 * process group: Ctrl-C is for us, who stop it in order. 0: could not fork, said.
 */
static pid_t spawn(const struct pv_demo_cluster *d, const char *const *argv, int stdout_fd,
                   int stderr_fd)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        pv_out_line("demo: cannot start a process: %s", strerror(errno));
        return 0;
    }
    if (pid > 0)
        return pid;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(PV_EXIT_INTERNAL);
    if (stdout_fd >= 0 && stderr_fd >= 0)
        (void)setpgid(0, 0);
    if ((stdout_fd >= 0 && dup2(stdout_fd, STDOUT_FILENO) < 0) ||
        (stderr_fd >= 0 && dup2(stderr_fd, STDERR_FILENO) < 0))
        _exit(PV_EXIT_INTERNAL);
    /* execve takes char *const *, for reasons of history; it changes nothing. */
    union {
        const char *const *in;
        char *const *out;
    } words = {argv};
    (void)execve(SELF, words.out, d->environment);
    _exit(PV_EXIT_INTERNAL);
}

/* Reads fd to its end into out. False: interrupted, or no memory. */
static bool drain(int fd, struct pv_buf *out)
{
    char text[4096];
    while (!interrupted) {
        ssize_t n = read(fd, text, sizeof text);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0 && out != NULL && pv_buf_append(out, text, (size_t)n) != PV_OK)
            return false;
    }
    return false;
}

static enum pv_exit finish_child(pid_t pid, const char *what)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        if (interrupted)
            (void)kill(pid, SIGTERM);
    if (interrupted)
        return stop_asked();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return PV_EXIT_OK;
    return pv_out_fail(WIFEXITED(status) ? (enum pv_exit)WEXITSTATUS(status) : PV_EXIT_FAILED,
                       "demo: `%s` failed with exit code %d", what,
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

enum pv_exit pv_demo_run(struct pv_demo_cluster *d, unsigned i, const char *const *words,
                         struct pv_buf *out)
{
    size_t count = 0;
    int ends[2];
    while (words[count] != NULL)
        count++;
    PV_AUTO_FREE const char **argv = pv_calloc(count + 5, sizeof *argv);
    if (argv == NULL)
        return pv_out_no_memory();
    argv[0] = "peervault";
    argv[1] = "--vault";
    argv[2] = d->nodes[i].vault;
    argv[3] = "--quiet";
    memcpy(argv + 4, words, count * sizeof *argv);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return pv_out_fail(PV_EXIT_FAILED, "demo: cannot make a pipe: %s", strerror(errno));
    pid_t pid = spawn(d, argv, ends[1], -1);
    (void)close(ends[1]);
    bool read_all = pid != 0 && drain(ends[0], out);
    (void)close(ends[0]);
    if (pid == 0)
        return PV_EXIT_FAILED;
    if (!read_all)
        (void)kill(pid, SIGTERM);
    enum pv_exit exit = finish_child(pid, words[0]);
    return exit == PV_EXIT_OK && !read_all ? pv_out_no_memory() : exit;
}

/* ---- daemons ---- */

/* Whether a daemon could listen there: what a person expects to see, if it is free. */
static bool port_free(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    bool is_free = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0;
    (void)close(fd);
    return is_free;
}

static enum pv_exit ask_status(const struct pv_demo_cluster *d, unsigned i, json_t **out)
{
    struct pv_cli cli = *d->cli;
    struct pv_client *client = NULL;
    cli.vault = d->nodes[i].vault;
    enum pv_exit exit = pv_client_open(&client, &cli, 0);
    if (exit != PV_EXIT_OK)
        return exit;
    exit = pv_client_call(client, json_pack("{s:s}", "op", "status"), NULL, NULL, out);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*out, NULL);
    return pv_client_close(client, exit);
}

/* Waits for the socket of a daemon that was just started. */
static enum pv_exit wait_reachable(struct pv_demo_cluster *d, struct pv_demo_node *n)
{
    uint64_t until = pv_env_mono_ms(&d->cli->env) + START_MS;
    while (!pv_client_reachable(n->vault)) {
        if (interrupted)
            return stop_asked();
        if (waitpid(n->pid, NULL, WNOHANG) == n->pid) {
            n->pid = 0;
            return pv_out_fail(PV_EXIT_FAILED, "demo: the daemon of node %u ended", n->number);
        }
        if (pv_env_mono_ms(&d->cli->env) >= until)
            return pv_out_fail(PV_EXIT_UNAVAILABLE, "demo: node %u did not start within %d s",
                               n->number, START_MS / 1000);
        (void)poll(NULL, 0, LOOK_MS);
    }
    return PV_EXIT_OK;
}

enum pv_exit pv_demo_start(struct pv_demo_cluster *d, unsigned i)
{
    static const uint16_t ports[] = {3000, 7000, 5000};
    struct pv_demo_node *n = &d->nodes[i];
    const char *argv[8 + 2 * PV_DEMO_NODES_MAX];
    char listen_at[32];
    size_t count = 0;
    json_t *status = NULL;
    bool known = i < PV_COUNT(ports) && port_free(ports[i]);
    (void)snprintf(listen_at, sizeof listen_at, "127.0.0.1:%u", known ? ports[i] : 0U);
    argv[count++] = "peervault";
    argv[count++] = "--vault";
    argv[count++] = n->vault;
    argv[count++] = "daemon";
    argv[count++] = "--listen";
    argv[count++] = listen_at;
    for (unsigned k = 0; k < i; k++) {
        argv[count++] = "--peer";
        argv[count++] = d->nodes[k].address;
    }
    argv[count] = NULL;
    int log = open(n->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return pv_out_fail(PV_EXIT_FAILED, "demo: %s: %s", n->log, strerror(errno));
    n->pid = spawn(d, argv, log, log);
    (void)close(log);
    if (n->pid == 0)
        return PV_EXIT_FAILED;
    enum pv_exit exit = wait_reachable(d, n);
    if (exit == PV_EXIT_OK)
        exit = ask_status(d, i, &status);
    if (exit == PV_EXIT_OK && (n->address = pv_strdup(pv_json_text(status, "listen"))) == NULL)
        exit = pv_out_no_memory();
    json_decref(status);
    return exit;
}

static enum pv_exit joined(struct pv_demo_cluster *d, bool *all)
{
    *all = true;
    for (unsigned i = 0; i < d->count && *all; i++) {
        json_t *status = NULL;
        enum pv_exit exit = ask_status(d, i, &status);
        *all = pv_json_int(status, "members") >= (json_int_t)d->count &&
               pv_json_int(status, "in_sync") >= (json_int_t)d->count - 1;
        json_decref(status);
        if (exit != PV_EXIT_OK)
            return exit;
    }
    return PV_EXIT_OK;
}

enum pv_exit pv_demo_join(struct pv_demo_cluster *d)
{
    uint64_t until = pv_env_mono_ms(&d->cli->env) + JOIN_MS;
    for (;;) {
        bool all = false;
        enum pv_exit exit = joined(d, &all);
        if (exit != PV_EXIT_OK || all)
            return exit;
        if (interrupted)
            return stop_asked();
        if (pv_env_mono_ms(&d->cli->env) >= until)
            return pv_out_fail(PV_EXIT_UNAVAILABLE, "demo: the nodes did not agree within %d s",
                               JOIN_MS / 1000);
        (void)poll(NULL, 0, LOOK_MS);
    }
}

enum pv_exit pv_demo_count(struct pv_demo_cluster *d, unsigned i)
{
    json_t *status = NULL;
    enum pv_exit exit = ask_status(d, i, &status);
    if (exit == PV_EXIT_OK) {
        d->nodes[i].blobs = pv_json_int(status, "blobs");
        d->nodes[i].blob_bytes = pv_json_int(status, "blob_bytes");
    }
    json_decref(status);
    return exit;
}

void pv_demo_explain(const struct pv_demo_cluster *d)
{
    char text[TAIL_BYTES + 1];
    for (unsigned i = 0; i < d->count; i++) {
        int fd = d->nodes[i].log != NULL ? open(d->nodes[i].log, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        off_t size = lseek(fd, 0, SEEK_END);
        ssize_t n = pread(fd, text, TAIL_BYTES, size > TAIL_BYTES ? size - TAIL_BYTES : 0);
        (void)close(fd);
        text[n > 0 ? n : 0] = '\0';
        (void)dprintf(STDERR_FILENO, "--- end of the log of node %u:\n%s", i + 1, text);
    }
}
