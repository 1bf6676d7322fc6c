/*
 * Pages are read beside SQLite, past its caches, while checkpoints may write them. So a sum that
 * does not fit proves nothing yet: a fresh connection looks, which reads what is on the disk.
 */
#include "internal/base/mem.h"
#include "storage/check.h"
#include "storage/store_private.h"

enum { SLICE_PAGES = 256, CACHE_LEN = 1 << 20 };

static enum pv_err look_closer(struct pv_store *s, bool *sound)
{
    struct pv_db *db = NULL;
    enum pv_err err = pv_db_open(&db, s->vfs, s->config.env->log);
    if (err == PV_OK)
        err = pv_db_set_up_reader(db, CACHE_LEN);
    if (err == PV_OK)
        err = pv_db_check(db, sound);
    pv_db_close(db, true);
    *sound = *sound && err == PV_OK;
    return err == PV_E_CORRUPT ? PV_OK : err;
}

/* count: of the pages that could be read, fewer than asked for at the end of the file. */
static enum pv_err read_pages(const struct pv_store *s, uint64_t first, uint8_t *bytes,
                              size_t *count)
{
    const struct pv_fs *fs = s->config.vault->fs;
    size_t got = 0;
    pv_fd fd;
    enum pv_err err = fs->open(fs->ctx, s->config.vault->dir, "vault.db", PV_FS_READ, &fd);
    if (err != PV_OK)
        return err;
    err = fs->read(fs->ctx, fd, bytes, (size_t)SLICE_PAGES * PV_VFS_PAGE_LEN,
                   first * PV_VFS_PAGE_LEN, &got);
    (void)fs->close(fs->ctx, fd); /* only read */
    *count = got / PV_VFS_PAGE_LEN;
    return err;
}

enum pv_err pv_store_check_pages(struct pv_store *s, struct pv_page_check *c)
{
    size_t count = 0, good = 0;
    bool sound = false;
    uint8_t *bytes = pv_calloc(SLICE_PAGES, PV_VFS_PAGE_LEN);
    if (bytes == NULL)
        return PV_E_NOMEM;
    enum pv_err err = read_pages(s, c->next, bytes, &count);
    while (good < count && pv_vfs_page_is_good(bytes + good * PV_VFS_PAGE_LEN, c->next + good + 1))
        good++;
    pv_free(bytes);
    if (err == PV_OK && good < count)
        err = look_closer(s, &sound);
    if (err != PV_OK)
        return err;
    c->bad = good < count && !sound;
    c->end = good < SLICE_PAGES;
    c->next += count;
    return PV_OK;
}
