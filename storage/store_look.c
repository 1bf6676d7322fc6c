/*
 * What lies in the folder, before SQLite opens anything: where vault.db is missing it makes a new
 * one, and throws away a log that may be all that is left.
 */
#include "storage/store_private.h"

#include <stdio.h>

static enum pv_err look_at(const struct pv_store *s, const char *name, struct pv_fs_stat *st)
{
    const struct pv_fs *fs = s->config.vault->fs;
    *st = (struct pv_fs_stat){.size_bytes = 0};
    enum pv_err err = fs->stat_at(fs->ctx, s->config.vault->dir, name, st);
    if (err == PV_OK && !st->is_regular)
        err = PV_E_CORRUPT;
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static bool is_blob_name(void *arg, const char *name)
{
    struct pv_id id;
    *(bool *)arg = pv_blob_path_parse(&id, name) == PV_OK;
    return !*(bool *)arg;
}

enum pv_err pv_store_look_for_blobs(const struct pv_store *s, bool *found)
{
    const struct pv_fs *fs = s->config.vault->fs;
    enum pv_err err = PV_OK;
    *found = false;
    for (unsigned i = 0; i < 256 && err == PV_OK && !*found; i++) {
        char path[sizeof "blobs/00"];
        snprintf(path, sizeof path, "blobs/%02x", i & 0xff);
        err = fs->list(fs->ctx, s->config.vault->dir, path, is_blob_name, found);
        if (err == PV_E_NOT_FOUND) /* some backups leave out empty folders */
            err = PV_OK;
    }
    return err;
}

enum pv_err pv_store_look(const struct pv_store *s)
{
    const struct pv_fs *fs = s->config.vault->fs;
    struct pv_fs_stat db, log;
    bool blobs = false;
    pv_fd fd;
    enum pv_err err = look_at(s, "vault.db", &db);
    if (err == PV_OK)
        err = look_at(s, "vault.db-wal", &log);
    if (err == PV_OK && db.is_regular) { /* SQLite would only say that it cannot */
        err = fs->open(fs->ctx, s->config.vault->dir, "vault.db", PV_FS_WRITE, &fd);
        if (err == PV_OK)
            (void)fs->close(fs->ctx, fd); /* nothing was written */
    }
    if (err != PV_OK || s->config.make_anew || db.size_bytes > 0)
        return err;
    err = pv_store_look_for_blobs(s, &blobs);
    return err == PV_OK && (blobs || log.size_bytes > 0) ? PV_E_CORRUPT : err;
}
