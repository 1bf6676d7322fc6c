/*
 * The calls of simfs: paths, handles, faults. The header has the model, simfs_disk.c the disk.
 *
 * Each call is numbered and asked for its fault, then the hook runs, then the call takes effect
 * under the mutex, so that a hook may do anything but wait for another thread's call.
 */
#include "tests/support/simfs_private.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_HANDLE = 100, BLOCK_LEN = 4096 };

struct handle {
    struct sim_inode *inode; /* NULL: free */
    bool write, locked;
    char path[PVT_SIMFS_PATH_MAX + 1];
};

struct pvt_simfs {
    struct pv_fs fs;
    pthread_mutex_t mutex; /* guards the rest */
    struct sim_inode *root;
    struct sim_name_ops pending;
    struct handle **handles; /* by number; never moved while open */
    size_t handle_count, handle_cap;
    uint64_t calls, changes, wall_ms;
    pvt_simfs_hook hook;
    void *hook_ctx;
    struct pvt_simfs_fault fault; /* err PV_OK: none */
    bool fired;
    struct pvt_simfs_call victim;
    char victim_path[PVT_SIMFS_PATH_MAX + 1];
    const char *ignore;
    uint64_t ignored;
    uint64_t capacity_bytes;
    size_t handles_max;
};

/* ---- handles ---- */

static struct handle *handle_of(struct pvt_simfs *s, pv_fd fd)
{
    PV_ASSERT(fd >= FIRST_HANDLE && (size_t)(fd - FIRST_HANDLE) < s->handle_count);
    struct handle *h = s->handles[fd - FIRST_HANDLE];
    PV_ASSERT(h->inode != NULL); /* closed twice, or used after */
    return h;
}

static size_t count_handles(const struct pvt_simfs *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->handle_count; i++)
        count += s->handles[i]->inode != NULL;
    return count;
}

static pv_fd handle_new(struct pvt_simfs *s, struct sim_inode *inode, bool write, const char *path)
{
    size_t i = 0;
    while (i < s->handle_count && s->handles[i]->inode != NULL)
        i++;
    if (i == s->handle_count) {
        if (i == s->handle_cap)
            s->handles = sim_grow(s->handles, &s->handle_cap, sizeof(struct handle *));
        s->handles[i] = malloc(sizeof *s->handles[i]);
        PV_ASSERT(s->handles[i] != NULL);
        s->handle_count++;
    }
    *s->handles[i] = (struct handle){.inode = inode, .write = write};
    sim_inode_hold(inode);
    memcpy(s->handles[i]->path, path, strlen(path) + 1);
    return (pv_fd)i + FIRST_HANDLE;
}

static void handle_close(struct handle *h)
{
    if (h->locked)
        h->inode->locked = false;
    sim_inode_drop(h->inode);
    h->inode = NULL;
}

/* ---- paths ---- */

struct place {
    struct sim_inode *dir, *inode; /* inode NULL: no such name in dir */
    char name[PVT_SIMFS_NAME_MAX + 1];
    char path[PVT_SIMFS_PATH_MAX + 1];
};

static enum pv_err step(struct place *at, const char *name, size_t len)
{
    if (len == 0 || (len == 1 && name[0] == '.'))
        return PV_OK;
    if (at->inode == NULL || !at->inode->is_dir)
        return PV_E_NOT_FOUND;
    size_t path_len = strlen(at->path);
    if (len > PVT_SIMFS_NAME_MAX || path_len + 1 + len > PVT_SIMFS_PATH_MAX)
        return PV_E_INVALID;
    PV_ASSERT(len != 2 || memcmp(name, "..", 2) != 0);
    memcpy(at->name, name, len);
    at->name[len] = '\0';
    if (path_len > 0)
        at->path[path_len++] = '/';
    memcpy(at->path + path_len, at->name, len + 1);
    at->dir = at->inode;
    at->inode = sim_names_find(&at->dir->names, at->name);
    return PV_OK;
}

static enum pv_err walk(struct pvt_simfs *s, struct place *out, pv_fd dir, const char *path)
{
    bool from_root = dir == PV_FD_NONE || path[0] == '/';
    *out = (struct place){.inode = from_root ? s->root : handle_of(s, dir)->inode};
    if (!from_root)
        memcpy(out->path, handle_of(s, dir)->path, sizeof out->path);
    enum pv_err err = PV_OK;
    while (err == PV_OK && *path != '\0') {
        size_t len = strcspn(path, "/");
        err = step(out, path, len);
        path += len + (path[len] == '/');
    }
    return err;
}

/* The path alone, for a call that is not to be made yet. */
static void tell_path(struct pvt_simfs *s, char out[static PVT_SIMFS_PATH_MAX + 1], pv_fd dir,
                      const char *path)
{
    bool from_root = dir == PV_FD_NONE || path[0] == '/';
    const char *start = from_root ? "" : handle_of(s, dir)->path;
    while (*path == '/')
        path++;
    if (strcmp(path, ".") == 0)
        path = "";
    int len = snprintf(out, PVT_SIMFS_PATH_MAX + 1, "%s%s%s", start,
                       *start != '\0' && *path != '\0' ? "/" : "", path);
    PV_ASSERT(len >= 0 && len <= PVT_SIMFS_PATH_MAX);
    while (len > 0 && out[len - 1] == '/')
        out[--len] = '\0';
}

/* ---- the beginning of every call ---- */

static bool matches(const char *pattern, const char *path)
{
    return fnmatch(pattern, path, FNM_PATHNAME) == 0;
}

static enum pv_err fault_of(struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    struct pvt_simfs_fault *f = &s->fault;
    if (f->err == PV_OK || (f->call != PVT_FS_ANY_CALL && f->call != (unsigned)call->kind) ||
        (f->pattern != NULL && !matches(f->pattern, call->path)))
        return PV_OK;
    if (f->n > 1) {
        f->n--;
        return PV_OK;
    }
    enum pv_err err = f->err;
    if (!s->fired) {
        s->victim = *call;
        s->victim.path = s->victim_path;
        snprintf(s->victim_path, sizeof s->victim_path, "%s", call->path);
    }
    s->fired = true;
    if (!f->sticky)
        f->err = PV_OK;
    return err;
}

/* Returns with the mutex locked. dir is a handle when path is NULL. */
static enum pv_err enter(struct pvt_simfs *s, enum pvt_fs_call kind, pv_fd dir, const char *path)
{
    char full[PVT_SIMFS_PATH_MAX + 1];
    pthread_mutex_lock(&s->mutex);
    if (path == NULL)
        memcpy(full, handle_of(s, dir)->path, sizeof full);
    else
        tell_path(s, full, dir, path);
    struct pvt_simfs_call call = {kind, ++s->calls, full};
    enum pv_err err = fault_of(s, &call);
    if (err == PV_OK && s->hook != NULL) {
        pvt_simfs_hook hook = s->hook;
        void *ctx = s->hook_ctx;
        pthread_mutex_unlock(&s->mutex);
        hook(ctx, s, &call);
        pthread_mutex_lock(&s->mutex);
    }
    return err;
}

static enum pv_err leave(struct pvt_simfs *s, enum pv_err err)
{
    pthread_mutex_unlock(&s->mutex);
    return err;
}

/* ---- open and close ---- */

static enum pv_err open_place(struct pvt_simfs *s, const struct place *at, int flags, pv_fd *out)
{
    struct sim_inode *inode = at->inode;
    if (s->handles_max != 0 && count_handles(s) >= s->handles_max)
        return PV_E_LIMIT;
    if (inode != NULL && (flags & PV_FS_CREATE) && (flags & PV_FS_EXCLUSIVE))
        return PV_E_EXISTS;
    if (inode != NULL && inode->is_dir && (flags & PV_FS_WRITE))
        return PV_E_INVALID; /* EISDIR */
    if (inode != NULL && !inode->is_dir && (flags & PV_FS_DIRECTORY))
        return PV_E_NOT_FOUND; /* ENOTDIR */
    if (inode == NULL && !(flags & PV_FS_CREATE))
        return PV_E_NOT_FOUND;
    if (inode == NULL) {
        inode = sim_inode_new(false);
        inode->mtime_ms = s->wall_ms;
        sim_dir_set(&s->pending, at->dir, at->name, inode);
        s->changes++;
        *out = handle_new(s, inode, flags & PV_FS_WRITE, at->path);
        sim_inode_drop(inode);
        return PV_OK;
    }
    if ((flags & PV_FS_TRUNCATE) && inode->content.size > 0) {
        sim_file_set_size(inode, 0);
        s->changes++;
    }
    *out = handle_new(s, inode, flags & PV_FS_WRITE, at->path);
    return PV_OK;
}

static enum pv_err sim_open(void *ctx, pv_fd dir, const char *path, int flags, pv_fd *out)
{
    struct pvt_simfs *s = ctx;
    struct place at;
    enum pv_err err = enter(s, PVT_FS_OPEN, dir, path);
    if (err == PV_OK)
        err = walk(s, &at, dir, path);
    return leave(s, err == PV_OK ? open_place(s, &at, flags, out) : err);
}

static enum pv_err sim_close(void *ctx, pv_fd fd)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_CLOSE, fd, NULL);
    handle_close(handle_of(s, fd));
    return leave(s, err);
}

/* ---- files ---- */

static enum pv_err sim_read(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset,
                            size_t *got)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_READ, fd, NULL);
    const struct sim_inode *inode = handle_of(s, fd)->inode;
    if (err == PV_OK && inode->is_dir)
        err = PV_E_INVALID;
    if (err == PV_OK) {
        uint64_t left = offset < inode->content.size ? inode->content.size - offset : 0;
        *got = len < left ? len : (size_t)left;
        sim_file_read(inode, dst, *got, offset);
    }
    return leave(s, err);
}

/* How much of a write fits. */
static size_t room_for(const struct pvt_simfs *s, const struct sim_inode *inode, size_t len,
                       uint64_t offset)
{
    uint64_t has = (inode->content.size + BLOCK_LEN - 1) / BLOCK_LEN * BLOCK_LEN;
    if (s->capacity_bytes == 0 || offset + len <= has)
        return len;
    uint64_t used = sim_dir_used_bytes(s->root);
    uint64_t room = used < s->capacity_bytes ? s->capacity_bytes - used : 0;
    uint64_t end = has + room / BLOCK_LEN * BLOCK_LEN;
    return offset + len <= end ? len : offset < end ? (size_t)(end - offset) : 0;
}

static enum pv_err sim_write(void *ctx, pv_fd fd, const void *src, size_t len, uint64_t offset)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_WRITE, fd, NULL);
    const struct handle *h = handle_of(s, fd);
    if (!h->write)
        return leave(s, PV_E_INVALID); /* EBADF would be our own mistake */
    size_t fits = room_for(s, h->inode, err == PV_OK ? len : len / 2, offset);
    if (err == PV_OK && fits < len)
        err = PV_E_NOSPACE;
    if (fits > 0) {
        sim_file_write(h->inode, src, fits, offset);
        h->inode->mtime_ms = s->wall_ms;
        s->changes++;
    }
    return leave(s, err);
}

static enum pv_err sim_truncate(void *ctx, pv_fd fd, uint64_t size_bytes)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_TRUNCATE, fd, NULL);
    const struct handle *h = handle_of(s, fd);
    if (err == PV_OK && !h->write)
        err = PV_E_INVALID;
    if (err == PV_OK && size_bytes != h->inode->content.size) {
        sim_file_set_size(h->inode, size_bytes);
        h->inode->mtime_ms = s->wall_ms;
        s->changes++;
    }
    return leave(s, err);
}

static enum pv_err sim_start_writeback(void *ctx, pv_fd fd)
{
    struct pvt_simfs *s = ctx;
    return leave(s, enter(s, PVT_FS_WRITEBACK, fd, NULL)); /* a crash may show anything already */
}

static enum pv_err sim_sync(void *ctx, pv_fd fd)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_SYNC, fd, NULL);
    const struct handle *h = handle_of(s, fd);
    if (err == PV_OK && s->ignore != NULL && matches(s->ignore, h->path)) {
        s->ignored++;
        return leave(s, PV_OK);
    }
    if (err == PV_OK)
        s->changes +=
            h->inode->is_dir ? sim_dir_sync(&s->pending, h->inode) : sim_file_sync(h->inode);
    else if (!h->inode->is_dir)
        sim_file_lose(h->inode);
    return leave(s, err);
}

static enum pv_err sim_lock(void *ctx, pv_fd fd)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_LOCK, fd, NULL);
    struct handle *h = handle_of(s, fd);
    if (err == PV_OK && h->inode->locked && !h->locked)
        err = PV_E_BUSY;
    if (err == PV_OK)
        h->locked = h->inode->locked = true;
    return leave(s, err);
}

/* ---- stat ---- */

static void tell_stat(const struct sim_inode *inode, struct pv_fs_stat *out)
{
    *out = (struct pv_fs_stat){
        .size_bytes = inode->is_dir ? BLOCK_LEN : inode->content.size,
        .mtime_ms = inode->mtime_ms,
        .mode = inode->is_dir ? S_IFDIR | 0700 : S_IFREG | 0600,
        .uid = getuid(),
        .is_regular = !inode->is_dir,
        .is_directory = inode->is_dir,
    };
}

static enum pv_err sim_stat(void *ctx, pv_fd fd, struct pv_fs_stat *out)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_STAT, fd, NULL);
    if (err == PV_OK)
        tell_stat(handle_of(s, fd)->inode, out);
    return leave(s, err);
}

static enum pv_err sim_stat_at(void *ctx, pv_fd dir, const char *path, struct pv_fs_stat *out)
{
    struct pvt_simfs *s = ctx;
    struct place at;
    enum pv_err err = enter(s, PVT_FS_STAT, dir, path);
    if (err == PV_OK)
        err = walk(s, &at, dir, path);
    if (err == PV_OK && at.inode == NULL)
        err = PV_E_NOT_FOUND;
    if (err == PV_OK)
        tell_stat(at.inode, out);
    return leave(s, err);
}

static enum pv_err sim_space(void *ctx, pv_fd dir, struct pv_fs_space *out)
{
    struct pvt_simfs *s = ctx;
    enum pv_err err = enter(s, PVT_FS_SPACE, dir, NULL);
    if (err == PV_OK) {
        uint64_t total = s->capacity_bytes != 0 ? s->capacity_bytes : (uint64_t)1 << 40;
        uint64_t used = sim_dir_used_bytes(s->root);
        *out = (struct pv_fs_space){.total_bytes = total,
                                    .free_bytes = used < total ? total - used : 0};
    }
    return leave(s, err);
}

/* ---- names ---- */

static enum pv_err sim_rename(void *ctx, pv_fd from_dir, const char *from, pv_fd to_dir,
                              const char *to)
{
    struct pvt_simfs *s = ctx;
    struct place a, b;
    enum pv_err err = enter(s, PVT_FS_RENAME, from_dir, from);
    if (err == PV_OK)
        err = walk(s, &a, from_dir, from);
    if (err == PV_OK && (a.inode == NULL || a.dir == NULL))
        err = PV_E_NOT_FOUND;
    if (err == PV_OK)
        err = walk(s, &b, to_dir, to);
    if (err == PV_OK && (b.dir == NULL || (b.inode != NULL && b.inode->is_dir != a.inode->is_dir)))
        err = PV_E_INVALID;
    if (err == PV_OK && a.inode != b.inode) {
        sim_dir_rename(&s->pending, a.dir, a.name, b.dir, b.name);
        s->changes++;
    }
    return leave(s, err);
}

static enum pv_err sim_unlink(void *ctx, pv_fd dir, const char *path)
{
    struct pvt_simfs *s = ctx;
    struct place at;
    enum pv_err err = enter(s, PVT_FS_UNLINK, dir, path);
    if (err == PV_OK)
        err = walk(s, &at, dir, path);
    if (err == PV_OK && at.inode == NULL)
        err = PV_E_NOT_FOUND;
    if (err == PV_OK && at.inode->is_dir)
        err = PV_E_INVALID; /* EISDIR */
    if (err == PV_OK) {
        sim_dir_set(&s->pending, at.dir, at.name, NULL);
        s->changes++;
    }
    return leave(s, err);
}

static enum pv_err sim_mkdir(void *ctx, pv_fd dir, const char *path)
{
    struct pvt_simfs *s = ctx;
    struct place at;
    enum pv_err err = enter(s, PVT_FS_MKDIR, dir, path);
    if (err == PV_OK)
        err = walk(s, &at, dir, path);
    if (err == PV_OK && at.inode != NULL)
        err = PV_E_EXISTS;
    if (err == PV_OK) {
        struct sim_inode *inode = sim_inode_new(true);
        inode->mtime_ms = s->wall_ms;
        sim_dir_set(&s->pending, at.dir, at.name, inode);
        sim_inode_drop(inode);
        s->changes++;
    }
    return leave(s, err);
}

/* each may call back, so it gets a copy. */
static enum pv_err sim_list(void *ctx, pv_fd dir, const char *path, pv_fs_list_fn each, void *arg)
{
    struct pvt_simfs *s = ctx;
    struct place at;
    enum pv_err err = enter(s, PVT_FS_LIST, dir, path);
    if (err == PV_OK)
        err = walk(s, &at, dir, path);
    if (err == PV_OK && (at.inode == NULL || !at.inode->is_dir))
        err = PV_E_NOT_FOUND;
    if (err != PV_OK)
        return leave(s, err);
    size_t count = at.inode->names.count;
    struct sim_entry *copy = malloc((count + 1) * sizeof *copy);
    PV_ASSERT(copy != NULL);
    if (count > 0)
        memcpy(copy, at.inode->names.entries, count * sizeof *copy);
    (void)leave(s, PV_OK);
    for (size_t i = 0; i < count && each(arg, copy[i].name); i++)
        ;
    free(copy);
    return PV_OK;
}

/* ---- life ---- */

static struct pvt_simfs *simfs_of(struct sim_inode *root)
{
    struct pvt_simfs *s = calloc(1, sizeof *s);
    PV_ASSERT(s != NULL);
    pthread_mutex_init(&s->mutex, NULL);
    s->root = root;
    s->fs = (struct pv_fs){
        .ctx = s,
        .open = sim_open,
        .close = sim_close,
        .read = sim_read,
        .write = sim_write,
        .truncate = sim_truncate,
        .stat = sim_stat,
        .stat_at = sim_stat_at,
        .start_writeback = sim_start_writeback,
        .sync = sim_sync,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .list = sim_list,
        .space = sim_space,
        .lock = sim_lock,
    };
    return s;
}

struct pvt_simfs *pvt_simfs_new(void)
{
    return simfs_of(sim_inode_new(true));
}

void pvt_simfs_free(struct pvt_simfs *s)
{
    if (s == NULL)
        return;
    pvt_simfs_kill(s);
    for (size_t i = 0; i < s->handle_count; i++)
        free(s->handles[i]);
    free(s->handles);
    sim_name_ops_release(&s->pending);
    sim_inode_drop(s->root);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

const struct pv_fs *pvt_simfs_fs(struct pvt_simfs *s)
{
    return &s->fs;
}

struct pvt_simfs *pvt_simfs_crash(struct pvt_simfs *s, uint64_t seed)
{
    pthread_mutex_lock(&s->mutex);
    struct pvt_simfs *after = simfs_of(sim_disk_crash(s->root, &s->pending, seed));
    after->wall_ms = s->wall_ms;
    after->capacity_bytes = s->capacity_bytes;
    after->handles_max = s->handles_max;
    pthread_mutex_unlock(&s->mutex);
    return after;
}

void pvt_simfs_kill(struct pvt_simfs *s)
{
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->handle_count; i++)
        if (s->handles[i]->inode != NULL)
            handle_close(s->handles[i]);
    pthread_mutex_unlock(&s->mutex);
}

void pvt_simfs_set_hook(struct pvt_simfs *s, pvt_simfs_hook before, void *ctx)
{
    s->hook = before;
    s->hook_ctx = ctx;
}

uint64_t pvt_simfs_calls(const struct pvt_simfs *s)
{
    return s->calls;
}

uint64_t pvt_simfs_changes(const struct pvt_simfs *s)
{
    return s->changes;
}

size_t pvt_simfs_open_handles(const struct pvt_simfs *s)
{
    return count_handles(s);
}

void pvt_simfs_fail(struct pvt_simfs *s, const struct pvt_simfs_fault *fault)
{
    PV_ASSERT(fault->err != PV_OK && fault->n > 0);
    s->fault = *fault;
    s->fired = false;
}

void pvt_simfs_heal(struct pvt_simfs *s)
{
    s->fault.err = PV_OK;
}

bool pvt_simfs_fired(const struct pvt_simfs *s)
{
    return s->fired;
}

const struct pvt_simfs_call *pvt_simfs_victim(const struct pvt_simfs *s)
{
    return &s->victim;
}

void pvt_simfs_ignore_syncs(struct pvt_simfs *s, const char *pattern)
{
    s->ignore = pattern;
}

uint64_t pvt_simfs_ignored(const struct pvt_simfs *s)
{
    return s->ignored;
}

void pvt_simfs_limit(struct pvt_simfs *s, uint64_t capacity_bytes, size_t handles_max)
{
    s->capacity_bytes = capacity_bytes;
    s->handles_max = handles_max;
}

uint64_t pvt_simfs_used_bytes(const struct pvt_simfs *s)
{
    return sim_dir_used_bytes(s->root);
}

void pvt_simfs_set_time(struct pvt_simfs *s, uint64_t wall_ms)
{
    s->wall_ms = wall_ms;
}
