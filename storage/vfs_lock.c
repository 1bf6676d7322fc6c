/*
 * Locks and shared memory among the connections of one process. SQLite's rules, without the file:
 * many SHARED; one of them may go on to RESERVED, PENDING (no new SHARED) and, when it is alone,
 * EXCLUSIVE. The log index has SQLITE_SHM_NLOCK locks, each shared or exclusive. Nothing ever
 * waits here: what cannot be had is SQLITE_BUSY.
 */
#include "storage/vfs_private.h"
#include "internal/base/mem.h"

#include <stdatomic.h>

int pv_vfs_lock(sqlite3_file *file, int level)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs *v = f->vfs;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&v->mutex);
    if (f->lock >= level) {
        /* has it */
    } else if (level == SQLITE_LOCK_SHARED) {
        if (v->writer != NULL && v->writer->lock >= SQLITE_LOCK_PENDING) {
            rc = SQLITE_BUSY;
        } else {
            v->readers++;
            f->lock = SQLITE_LOCK_SHARED;
        }
    } else if (v->writer != NULL && v->writer != f) {
        rc = SQLITE_BUSY;
    } else {
        bool wait = level == SQLITE_LOCK_EXCLUSIVE && v->readers > 1;
        v->writer = f;
        f->lock = wait ? SQLITE_LOCK_PENDING : level;
        rc = wait ? SQLITE_BUSY : SQLITE_OK;
    }
    pthread_mutex_unlock(&v->mutex);
    return rc;
}

int pv_vfs_unlock(sqlite3_file *file, int level)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs *v = f->vfs;
    pthread_mutex_lock(&v->mutex);
    if (f->lock > level) {
        if (v->writer == f)
            v->writer = NULL;
        if (level == SQLITE_LOCK_NONE)
            v->readers--;
        f->lock = level;
    }
    pthread_mutex_unlock(&v->mutex);
    return SQLITE_OK;
}

int pv_vfs_check_reserved(sqlite3_file *file, int *out)
{
    struct pv_vfs *v = pv_vfs_file(file)->vfs;
    pthread_mutex_lock(&v->mutex);
    *out = v->writer != NULL;
    pthread_mutex_unlock(&v->mutex);
    return SQLITE_OK;
}

/* Regions are never moved: SQLite keeps pointers into them. */
static int add_regions(struct pv_vfs *v, int count, size_t len)
{
    void **grown = pv_realloc(v->regions, (size_t)count * sizeof *grown);
    if (grown == NULL)
        return SQLITE_IOERR_NOMEM;
    v->regions = grown;
    while (v->region_count < count) {
        void *region = pv_calloc(1, len);
        if (region == NULL)
            return SQLITE_IOERR_NOMEM;
        v->regions[v->region_count++] = region;
    }
    return SQLITE_OK;
}

int pv_vfs_shm_map(sqlite3_file *file, int region, int len, int extend, void volatile **out)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs *v = f->vfs;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&v->mutex);
    if (!f->shm_mapped) {
        f->shm_mapped = true;
        v->shm_users++;
    }
    if (region >= v->region_count && extend)
        rc = add_regions(v, region + 1, (size_t)len);
    *out = rc == SQLITE_OK && region < v->region_count ? v->regions[region] : NULL;
    pthread_mutex_unlock(&v->mutex);
    return rc;
}

static int take_shm(struct pv_vfs_file *f, int slot, bool exclusive)
{
    struct pv_vfs *v = f->vfs;
    unsigned bit = 1U << slot;
    unsigned own = (f->shm_shared & bit) != 0;
    if (v->shm_writer[slot] && !(f->shm_exclusive & bit))
        return SQLITE_BUSY;
    if (exclusive) {
        if (v->shm_readers[slot] > own)
            return SQLITE_BUSY;
        v->shm_writer[slot] = true;
        f->shm_exclusive |= bit;
    } else if (!own) {
        v->shm_readers[slot]++;
        f->shm_shared |= bit;
    }
    return SQLITE_OK;
}

static void give_shm(struct pv_vfs_file *f, int slot)
{
    unsigned bit = 1U << slot;
    if (f->shm_exclusive & bit)
        f->vfs->shm_writer[slot] = false;
    if (f->shm_shared & bit)
        f->vfs->shm_readers[slot]--;
    f->shm_exclusive &= ~bit;
    f->shm_shared &= ~bit;
}

int pv_vfs_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    int rc = SQLITE_OK;
    PV_ASSERT(first >= 0 && count > 0 && first + count <= SQLITE_SHM_NLOCK);
    pthread_mutex_lock(&f->vfs->mutex);
    for (int i = first; i < first + count; i++) {
        if (flags & SQLITE_SHM_UNLOCK) {
            give_shm(f, i);
            continue;
        }
        rc = take_shm(f, i, flags & SQLITE_SHM_EXCLUSIVE);
        if (rc != SQLITE_OK) {
            while (i-- > first) /* all or none; SQLite never asks for what it has */
                give_shm(f, i);
            break;
        }
    }
    pthread_mutex_unlock(&f->vfs->mutex);
    return rc;
}

void pv_vfs_shm_barrier(sqlite3_file *file)
{
    struct pv_vfs *v = pv_vfs_file(file)->vfs;
    atomic_thread_fence(memory_order_seq_cst);
    pthread_mutex_lock(&v->mutex); /* as SQLite's own vfs does: orders what a fence alone may not */
    pthread_mutex_unlock(&v->mutex);
}

int pv_vfs_shm_unmap(sqlite3_file *file, int remove)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs *v = f->vfs;
    (void)remove; /* memory goes with its last user in any case */
    pthread_mutex_lock(&v->mutex);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++)
        give_shm(f, i);
    if (f->shm_mapped && --v->shm_users == 0) {
        for (int i = 0; i < v->region_count; i++)
            pv_free(v->regions[i]);
        pv_free(v->regions);
        v->regions = NULL;
        v->region_count = 0;
    }
    f->shm_mapped = false;
    pthread_mutex_unlock(&v->mutex);
    return SQLITE_OK;
}
