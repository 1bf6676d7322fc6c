/*
 * The vault folder. Everything is relative to the one directory handle; only create and open see a
 * path of the outside world. Directories are synced from the bottom up: a folder is durable when
 * its parent is, and nothing is put into one before that. Creating syncs the parents of those that
 * are there, too: whoever made them may not have, an earlier call that was killed for one.
 */
#include "storage/vault.h"
#include "internal/base/mem.h"

#include <stdio.h>

static const char *const sub_folders[] = {"blobs", "tmp", "quarantine"};

void pv_blob_path(char out[static PV_BLOB_PATH_LEN + 1], const struct pv_id *id)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, id);
    memcpy(out, "blobs/", 6);
    memcpy(out + 6, hex, 2);
    out[8] = '/';
    memcpy(out + 9, hex, sizeof hex);
}

enum pv_err pv_blob_path_parse(struct pv_id *id, const char *file_name)
{
    for (const char *p = file_name; *p != '\0'; p++)
        if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
            return PV_E_INVALID; /* an upper-case name is another file */
    return pv_id_parse(id, file_name);
}

static enum pv_err sync_folder(const struct pv_fs *fs, pv_fd dir, const char *path)
{
    pv_fd fd;
    enum pv_err err = fs->open(fs->ctx, dir, path, PV_FS_READ | PV_FS_DIRECTORY, &fd);
    if (err != PV_OK)
        return err;
    err = fs->sync(fs->ctx, fd);
    enum pv_err closed = fs->close(fs->ctx, fd);
    return err != PV_OK ? err : closed;
}

/* PV_OK also when it exists; *made when it did not. */
static enum pv_err make_folder(const struct pv_fs *fs, pv_fd dir, const char *path, bool *made)
{
    enum pv_err err = fs->mkdir(fs->ctx, dir, path);
    *made |= err == PV_OK;
    return err == PV_E_EXISTS ? PV_OK : err;
}

static enum pv_err sync_parent(const struct pv_fs *fs, char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return sync_folder(fs, PV_FD_NONE, ".");
    char kept = slash[1]; /* "/" stays when the parent is the root */
    slash[1] = '\0';
    enum pv_err err = sync_folder(fs, PV_FD_NONE, path);
    slash[1] = kept;
    return err;
}

/* The folder itself and what is missing above it. */
static enum pv_err make_path(const struct pv_fs *fs, char *path)
{
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool made = false;
        char end = *p;
        *p = '\0';
        enum pv_err err = make_folder(fs, PV_FD_NONE, path, &made);
        if (err == PV_OK) {
            err = sync_parent(fs, path);
            if (err == PV_E_AUTH && !made) /* a parent that we may pass through and not read */
                err = PV_OK;
        }
        *p = end;
        if (err != PV_OK || end == '\0')
            return err;
    }
}

/* The one folder that the user named, and that may therefore be a symbolic link. */
static enum pv_err open_root(const struct pv_fs *fs, const char *path, pv_fd *out)
{
    return fs->open(fs->ctx, PV_FD_NONE, path, PV_FS_READ | PV_FS_DIRECTORY | PV_FS_FOLLOW, out);
}

static enum pv_err make_sub_folders(const struct pv_fs *fs, pv_fd root, bool *made)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; i < PV_COUNT(sub_folders) && err == PV_OK; i++)
        err = make_folder(fs, root, sub_folders[i], made);
    for (unsigned i = 0; i < 256 && err == PV_OK; i++) {
        char path[sizeof "blobs/00"];
        snprintf(path, sizeof path, "blobs/%02x", i & 0xff);
        err = make_folder(fs, root, path, made);
    }
    return err;
}

static enum pv_err sync_sub_folders(const struct pv_fs *fs, pv_fd root)
{
    enum pv_err err = sync_folder(fs, root, "blobs");
    return err == PV_OK ? fs->sync(fs->ctx, root) : err;
}

enum pv_err pv_vault_complete(const struct pv_vault *v)
{
    bool made = false;
    enum pv_err err = make_sub_folders(v->fs, v->dir, &made);
    if (err == PV_E_NOSPACE)
        err = PV_OK;
    return err == PV_OK && made ? sync_sub_folders(v->fs, v->dir) : err;
}

enum pv_err pv_vault_create(const char *path, const struct pv_fs *fs)
{
    if (path[0] == '\0')
        return PV_E_INVALID;
    PV_AUTO_FREE char *copy = pv_strdup(path);
    if (copy == NULL)
        return PV_E_NOMEM;
    for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
        copy[len - 1] = '\0';

    pv_fd root;
    enum pv_err err = make_path(fs, copy);
    if (err == PV_OK)
        err = open_root(fs, copy, &root);
    if (err != PV_OK)
        return err;
    bool made = false;
    err = make_sub_folders(fs, root, &made);
    if (err == PV_OK)
        err = sync_sub_folders(fs, root);
    enum pv_err closed = fs->close(fs->ctx, root);
    return err != PV_OK ? err : closed;
}

enum pv_err pv_vault_open(struct pv_vault *out, const char *path, const struct pv_fs *fs)
{
    struct pv_vault v = {fs, PV_FD_NONE, PV_FD_NONE};
    enum pv_err err = open_root(fs, path, &v.dir);
    if (err != PV_OK)
        return err;
    for (size_t i = 0; i < PV_COUNT(sub_folders) && err == PV_OK; i++) {
        struct pv_fs_stat st;
        err = fs->stat_at(fs->ctx, v.dir, sub_folders[i], &st);
        if (err == PV_OK && !st.is_directory)
            err = PV_E_NOT_FOUND;
    }
    if (err != PV_OK) {
        pv_vault_close(&v);
        return err;
    }
    *out = v;
    return PV_OK;
}

/* Nothing is written through these handles but the pid: a failed close loses nothing. */
void pv_vault_close(struct pv_vault *v)
{
    if (v->lock != PV_FD_NONE)
        (void)v->fs->close(v->fs->ctx, v->lock);
    if (v->dir != PV_FD_NONE)
        (void)v->fs->close(v->fs->ctx, v->dir);
    v->lock = v->dir = PV_FD_NONE;
}

/* ---- blob folders ---- */

struct listing {
    struct pv_id *ids;
    size_t count, cap;
    unsigned folder;
    bool no_memory;
};

static bool collect_id(void *arg, const char *name)
{
    struct listing *l = arg;
    struct pv_id id;
    if (pv_blob_path_parse(&id, name) != PV_OK || id.b[0] != l->folder)
        return true; /* not a blob's name: not ours to judge */
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 256 : l->cap * 2;
        struct pv_id *grown = pv_realloc(l->ids, cap * sizeof *grown);
        l->no_memory = grown == NULL;
        if (grown == NULL)
            return false;
        l->ids = grown;
        l->cap = cap;
    }
    l->ids[l->count++] = id;
    return true;
}

enum pv_err pv_vault_list_blobs(const struct pv_vault *v, unsigned folder, struct pv_id **ids,
                                size_t *count)
{
    struct listing l = {.folder = folder};
    char path[sizeof "blobs/00"];
    PV_ASSERT(folder < 256);
    (void)snprintf(path, sizeof path, "blobs/%02x", folder & 0xff);
    enum pv_err err = v->fs->list(v->fs->ctx, v->dir, path, collect_id, &l);
    if (err == PV_OK && l.no_memory)
        err = PV_E_NOMEM;
    if (err != PV_OK) {
        pv_free(l.ids);
        return err;
    }
    *ids = l.ids;
    *count = l.count;
    return PV_OK;
}
