/*
 * Every file under way has a slot with two descriptors: its own, and that of its folder, through
 * which it was created and will be renamed, so that nobody can exchange the folder in between. The
 * slots are static, for the signal handler: a slot is filled before its temporary file exists, and
 * `exists` is what the handler looks at.
 *
 * A crash must not leave an empty file where an older one was: what replaces something is synced
 * first, one by one. What is new is not: ten thousand syncs take a minute on a busy disk, and until
 * the command has ended well nobody relies on a file that was not there before. Then one sync of
 * the file system makes all of them durable.
 */
#include "cmd/peervault/landing.h"
#include "cmd/peervault/cleanup.h"
#include "cmd/peervault/folder.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/sink.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 32, GATHER_BYTES = 32 * 1024 * 1024, RANDOM_LEN = 8 };

static struct slot {
    int fd, dir;
    char temp[sizeof ".peervault-.tmp" + 2 * RANDOM_LEN];
    char *name;       /* whole */
    const char *base; /* its last component */
    void *tag;
    int sync_error;
    volatile sig_atomic_t exists;
} slots[SLOTS];

struct pv_landing {
    const struct pv_cli *cli;
    struct pv_landing_handler handler;
    int root;
    dev_t dev;    /* of root */
    size_t ended; /* slots in use, but for the one being written behind them */
    bool writing, hopeless;
    uint64_t bytes, gathered; /* of the one being written; of those that ended */
    char why[160];
};

static void clean(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].exists)
            (void)unlinkat(slots[i].dir, slots[i].temp, 0);
}

static void slot_release(struct slot *s)
{
    if (s->exists)
        (void)unlinkat(s->dir, s->temp, 0);
    s->exists = 0;
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->dir >= 0)
        (void)close(s->dir);
    s->fd = s->dir = -1;
    pv_free(s->name);
    s->name = NULL;
}

enum pv_exit pv_landing_open(struct pv_landing **out, const char *folder, const struct pv_cli *cli,
                             const struct pv_landing_handler *handler)
{
    struct stat st;
    bool made = mkdir(folder, 0777) == 0;
    int root = made || errno == EEXIST ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root < 0)
        return pv_out_fail(PV_EXIT_FAILED, "%s: cannot be used as a folder: %s", folder,
                           strerror(errno));
    struct pv_landing *l = fstat(root, &st) == 0 ? pv_calloc(1, sizeof *l) : NULL;
    if (l == NULL) {
        (void)close(root);
        return pv_out_no_memory();
    }
    l->cli = cli;
    l->handler = *handler;
    l->root = root;
    l->dev = st.st_dev;
    for (size_t i = 0; i < SLOTS; i++)
        slots[i].fd = slots[i].dir = -1;
    pv_cleanup_on_signal(clean);
    *out = l;
    return PV_EXIT_OK;
}

const char *pv_landing_refusal(const char *name, size_t len)
{
    const char *end = name + len;
    if (len == 0 || name[0] == '/')
        return "is no relative path";
    for (;;) {
        const char *slash = memchr(name, '/', (size_t)(end - name));
        size_t part = (size_t)((slash != NULL ? slash : end) - name);
        if (part == 0 || memchr(name, '\0', part) != NULL)
            return "has an empty component, or a NUL byte";
        if ((part == 1 && name[0] == '.') || (part == 2 && memcmp(name, "..", 2) == 0))
            return "has . or .. in it";
        if (slash == NULL)
            return NULL;
        name = slash + 1;
    }
}

static bool fail(struct pv_landing *l, const char *what, const char **why)
{
    l->hopeless = l->hopeless || errno == ENOSPC || errno == EDQUOT || errno == EROFS;
    if (errno == ELOOP || errno == ENOTDIR)
        (void)snprintf(l->why, sizeof l->why, "%s: what should be a folder is a file or a link",
                       what);
    else
        (void)snprintf(l->why, sizeof l->why, "%s: %s", what, strerror(errno));
    *why = l->why;
    pv_landing_abort(l);
    return false;
}

/* What stands at the target may be replaced. */
static bool is_replaceable(const struct slot *s)
{
    struct stat st;
    return fstatat(s->dir, s->base, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(st.st_mode);
}

bool pv_landing_begin(struct pv_landing *l, const char *name, size_t len, const char **why)
{
    struct slot *s = &slots[l->ended];
    uint8_t random[RANDOM_LEN];
    char hex[2 * RANDOM_LEN + 1];
    *why = pv_landing_refusal(name, len);
    if (*why != NULL)
        return false;
    l->writing = true;
    l->bytes = 0;
    s->name = pv_memdup(name, len + 1);
    if (s->name == NULL) {
        errno = ENOMEM;
        return fail(l, "cannot be created", why);
    }
    const char *slash = strrchr(s->name, '/');
    s->base = slash != NULL ? slash + 1 : s->name;
    s->dir = pv_open_below(l->root, s->name, (size_t)(s->base - s->name), O_PATH, true);
    if (s->dir < 0)
        return fail(l, "its folder cannot be made", why);
    if (strlen(s->base) > NAME_MAX) {
        errno = ENAMETOOLONG;
        return fail(l, "cannot be created", why);
    }
    if (!is_replaceable(s)) {
        pv_landing_abort(l);
        *why = "something that is no regular file has this name: left as it is";
        return false;
    }
    pv_env_random(&l->cli->env, random, sizeof random);
    pv_hex_encode(hex, random, sizeof random);
    (void)snprintf(s->temp, sizeof s->temp, ".peervault-%s.tmp", hex);
    s->exists = 1; /* before it does: a signal in between must find it */
    s->fd = openat(s->dir, s->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    return s->fd >= 0 ? true : fail(l, "cannot be created", why);
}

bool pv_landing_write(struct pv_landing *l, const uint8_t *bytes, size_t len, const char **why)
{
    struct slot *s = &slots[l->ended];
    l->bytes += len;
    while (len > 0) {
        ssize_t n = write(s->fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(l, "cannot be written", why);
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void pv_landing_abort(struct pv_landing *l)
{
    if (l->writing)
        slot_release(&slots[l->ended]);
    l->writing = false;
}

void pv_landing_end(struct pv_landing *l, uint64_t mtime_ms, void *tag)
{
    struct slot *s = &slots[l->ended];
    if (mtime_ms > 0)
        pv_file_set_mtime(s->fd, mtime_ms);
    (void)sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint; the sync decides */
    s->tag = tag;
    l->writing = false;
    l->ended++;
    l->gathered += l->bytes;
    if (l->ended == SLOTS || l->gathered >= GATHER_BYTES)
        pv_landing_settle(l);
}

/* NULL, or what went wrong. */
static const char *failure(struct pv_landing *l, bool ok)
{
    if (ok)
        return NULL;
    (void)snprintf(l->why, sizeof l->why, "cannot be written: %s", strerror(errno));
    return l->why;
}

/* It replaces something, or is on a file system that is not synced at the end. */
static bool needs_sync(const struct pv_landing *l, const struct slot *s)
{
    struct stat st;
    return fstatat(s->dir, s->base, &st, AT_SYMLINK_NOFOLLOW) == 0 || fstat(s->fd, &st) != 0 ||
           st.st_dev != l->dev;
}

void pv_landing_settle(struct pv_landing *l)
{
    PV_ASSERT(!l->writing);
    for (size_t i = 0; i < l->ended; i++)
        slots[i].sync_error = needs_sync(l, &slots[i]) && fsync(slots[i].fd) != 0 ? errno : 0;
    for (size_t i = 0; i < l->ended; i++) {
        struct slot *s = &slots[i];
        errno = s->sync_error;
        bool ok = errno == 0 && renameat(s->dir, s->temp, s->dir, s->base) == 0;
        if (ok)
            s->exists = 0;
        l->handler.settled(l->handler.ctx, s->name, s->tag, failure(l, ok));
        slot_release(s);
    }
    l->ended = 0;
    l->gathered = 0;
}

enum pv_exit pv_landing_sync(struct pv_landing *l)
{
    int fd = pv_open_below(l->root, "", 0, O_RDONLY, false);
    enum pv_exit exit = PV_EXIT_OK;
    if (fd < 0 || syncfs(fd) != 0)
        exit = pv_out_fail(PV_EXIT_FAILED, "what was written may not be on the disk: %s",
                           strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return exit;
}

bool pv_landing_is_hopeless(const struct pv_landing *l)
{
    return l->hopeless;
}

void pv_landing_close(struct pv_landing *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        slot_release(&slots[i]);
    (void)close(l->root);
    pv_free(l);
}
