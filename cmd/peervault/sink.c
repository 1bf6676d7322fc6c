/*
 * The temporary file's path is kept in static memory for the signal handler, which may only unlink
 * it and let the signal take its course.
 */
#include "cmd/peervault/sink.h"
#include "cmd/peervault/cleanup.h"
#include "cmd/peervault/output.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char temporary[PATH_MAX];               /* written before the handlers are set */
static volatile sig_atomic_t temporary_exists; /* for the handler */

static void clean(void)
{
    if (temporary_exists)
        (void)unlink(temporary);
}

static enum pv_exit fail(const struct pv_sink *s, const char *what)
{
    /* Also when its disk is full: exit code 7 is the vault's. */
    return pv_out_fail(PV_EXIT_FAILED, "%s: %s: %s", s->shown, what, strerror(errno));
}

/* A temporary file beside the target. */
static enum pv_exit open_temporary(struct pv_sink *s, const struct pv_cli *cli)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    const char *slash = strrchr(s->target, '/');
    int folder = slash != NULL ? (int)(slash - s->target) + 1 : 0;
    pv_env_random(&cli->env, random, sizeof random);
    pv_hex_encode(hex, random, sizeof random);
    int n = snprintf(temporary, sizeof temporary, "%.*s.peervault-%s.tmp", folder, s->target, hex);
    if (n < 0 || (size_t)n >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return fail(s, "cannot be written");
    }
    s->fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s->fd < 0)
        return fail(s, "cannot be created");
    temporary_exists = 1;
    pv_cleanup_on_signal(clean);
    return PV_EXIT_OK;
}

/* Decides between replacing the target (s->target is set) and writing into it. */
static enum pv_exit open_file(struct pv_sink *s, const char *path, const struct pv_cli *cli)
{
    struct stat st;
    char resolved[PATH_MAX];
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        s->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return s->fd < 0 ? fail(s, "cannot be written") : PV_EXIT_OK;
    }
    /* Through a symbolic link: its target is replaced, the link stays. */
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        if (realpath(path, resolved) == NULL)
            return fail(s, "is a symbolic link that leads nowhere");
        path = resolved;
    }
    s->target = pv_strdup(path);
    return s->target == NULL ? pv_out_no_memory() : open_temporary(s, cli);
}

enum pv_exit pv_sink_open(struct pv_sink *s, const char *path, const struct pv_cli *cli)
{
    *s = (struct pv_sink){.fd = -1};
    if (path == NULL || strcmp(path, "-") == 0) {
        s->shown = "standard output";
        s->fd = STDOUT_FILENO;
        s->terminal = cli->stdout_terminal;
        return PV_EXIT_OK;
    }
    s->shown = path;
    enum pv_exit exit = open_file(s, path, cli);
    if (exit != PV_EXIT_OK)
        pv_sink_abort(s);
    return exit;
}

bool pv_is_text(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((bytes[i] < 0x20 && bytes[i] != '\t' && bytes[i] != '\n' && bytes[i] != '\r') ||
            bytes[i] == 0x7f)
            return false;
    return true;
}

enum pv_exit pv_sink_write(struct pv_sink *s, const uint8_t *bytes, size_t len)
{
    if (s->terminal && !pv_is_text(bytes, len))
        return pv_out_fail(PV_EXIT_USAGE, "this is binary data, not shown on a terminal: use "
                                          "-o FILE, or send it to another command");
    while (len > 0) {
        ssize_t n = write(s->fd, bytes, len);
        if (n < 0 && errno == EAGAIN) { /* someone made our stdout non-blocking */
            struct pollfd out = {.fd = s->fd, .events = POLLOUT};
            (void)poll(&out, 1, -1);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(s, "cannot be written");
        bytes += n;
        len -= (size_t)n;
    }
    return PV_EXIT_OK;
}

void pv_file_set_mtime(int fd, uint64_t mtime_ms)
{
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)(mtime_ms / 1000), .tv_nsec = (long)(mtime_ms % 1000) * 1000000},
    };
    (void)futimens(fd, times); /* a file system without such times: the bytes are what counts */
}

enum pv_exit pv_sink_commit(struct pv_sink *s)
{
    enum pv_exit exit = PV_EXIT_OK;
    if (s->target != NULL) {
        if (s->mtime_ms > 0)
            pv_file_set_mtime(s->fd, s->mtime_ms);
        /* Before the rename: a crash must not leave an empty file where an older one was. */
        if (fsync(s->fd) != 0 || rename(temporary, s->target) != 0)
            exit = fail(s, "cannot be written");
        else
            temporary_exists = 0;
    }
    if (s->fd != STDOUT_FILENO && close(s->fd) != 0 && exit == PV_EXIT_OK && s->target == NULL)
        exit = fail(s, "cannot be written");
    s->fd = -1;
    pv_sink_abort(s);
    return exit;
}

void pv_sink_abort(struct pv_sink *s)
{
    if (s->fd >= 0 && s->fd != STDOUT_FILENO)
        (void)close(s->fd);
    s->fd = -1;
    if (s->target != NULL && temporary_exists) {
        (void)unlink(temporary);
        temporary_exists = 0;
    }
    pv_free(s->target);
    s->target = NULL;
}
