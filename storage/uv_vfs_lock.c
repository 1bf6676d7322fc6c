/*
 * Locks and shared memory among the connections of one process. SQLite's rules, without the file:
 * many SHARED; one of them may go on to RESERVED, PENDING (no new SHARED) and, when it is alone,
 * EXCLUSIVE. The log index has SQLITE_SHM_NLOCK locks, each shared or exclusive. Nothing ever
 * waits for one: what cannot be had is SQLITE_BUSY, and SQLite decides whether to come again. It
 * backs off before, longer each time, and gives up after 100 attempts; so its waits have to last as
 * long as it says (ended early, by whatever lock was given back, they let readers fail that had
 * only met a busy writer).
 */
#include "storage/vfs_private.h"
#include "internal/base/mem.h"

#include <uv.h>

struct pv_vfs_locks {
    uv_mutex_t mutex;           /* guards the rest, and the lock fields of all files */
    uv_cond_t never;            /* signalled */
    unsigned readers;           /* file locks: connections with SHARED or more */
    struct pv_vfs_file *writer; /* the one with RESERVED or more */
    void **regions;             /* shared memory */
    int region_count;
    unsigned shm_users;
    unsigned shm_readers[SQLITE_SHM_NLOCK];
    bool shm_writer[SQLITE_SHM_NLOCK];
};

enum pv_err pv_vfs_locks_new(struct pv_vfs_locks **out)
{
    struct pv_vfs_locks *l = pv_calloc(1, sizeof *l);
    if (l == NULL)
        return PV_E_NOMEM;
    if (uv_mutex_init(&l->mutex) != 0 || uv_cond_init(&l->never) != 0) {
        pv_free(l); /* neither allocates on Linux */
        return PV_E_NOMEM;
    }
    *out = l;
    return PV_OK;
}

void pv_vfs_locks_free(struct pv_vfs_locks *l)
{
    if (l == NULL)
        return;
    PV_ASSERT(l->shm_users == 0 && l->readers == 0);
    uv_cond_destroy(&l->never);
    uv_mutex_destroy(&l->mutex);
    pv_free(l);
}

void pv_vfs_wait(struct pv_vfs_locks *l, unsigned us)
{
    uint64_t now = uv_hrtime(), until = now + (uint64_t)us * 1000;
    uv_mutex_lock(&l->mutex);
    for (; now < until; now = uv_hrtime())
        (void)uv_cond_timedwait(&l->never, &l->mutex, until - now);
    uv_mutex_unlock(&l->mutex);
}

int pv_vfs_lock(sqlite3_file *file, int level)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs_locks *l = f->vfs->locks;
    int rc = SQLITE_OK;
    uv_mutex_lock(&l->mutex);
    if (f->lock >= level) {
        /* has it */
    } else if (level == SQLITE_LOCK_SHARED) {
        if (l->writer != NULL && l->writer->lock >= SQLITE_LOCK_PENDING) {
            rc = SQLITE_BUSY;
        } else {
            l->readers++;
            f->lock = SQLITE_LOCK_SHARED;
        }
    } else if (l->writer != NULL && l->writer != f) {
        rc = SQLITE_BUSY;
    } else {
        bool wait = level == SQLITE_LOCK_EXCLUSIVE && l->readers > 1;
        l->writer = f;
        f->lock = wait ? SQLITE_LOCK_PENDING : level;
        rc = wait ? SQLITE_BUSY : SQLITE_OK;
    }
    uv_mutex_unlock(&l->mutex);
    return rc;
}

int pv_vfs_unlock(sqlite3_file *file, int level)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs_locks *l = f->vfs->locks;
    uv_mutex_lock(&l->mutex);
    if (f->lock > level) {
        if (l->writer == f)
            l->writer = NULL;
        if (level == SQLITE_LOCK_NONE)
            l->readers--;
        f->lock = level;
    }
    uv_mutex_unlock(&l->mutex);
    return SQLITE_OK;
}

int pv_vfs_check_reserved(sqlite3_file *file, int *out)
{
    struct pv_vfs_locks *l = pv_vfs_file(file)->vfs->locks;
    uv_mutex_lock(&l->mutex);
    *out = l->writer != NULL;
    uv_mutex_unlock(&l->mutex);
    return SQLITE_OK;
}

/* Regions are never moved: SQLite keeps pointers into them. */
static int add_regions(struct pv_vfs_locks *l, int count, size_t len)
{
    void **grown = pv_realloc(l->regions, (size_t)count * sizeof *grown);
    if (grown == NULL)
        return SQLITE_IOERR_NOMEM;
    l->regions = grown;
    while (l->region_count < count) {
        void *region = pv_calloc(1, len);
        if (region == NULL)
            return SQLITE_IOERR_NOMEM;
        l->regions[l->region_count++] = region;
    }
    return SQLITE_OK;
}

int pv_vfs_shm_map(sqlite3_file *file, int region, int len, int extend, void volatile **out)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs_locks *l = f->vfs->locks;
    int rc = SQLITE_OK;
    uv_mutex_lock(&l->mutex);
    if (!f->shm_mapped) {
        f->shm_mapped = true;
        l->shm_users++;
    }
    if (region >= l->region_count && extend)
        rc = add_regions(l, region + 1, (size_t)len);
    *out = rc == SQLITE_OK && region < l->region_count ? l->regions[region] : NULL;
    uv_mutex_unlock(&l->mutex);
    return rc;
}

static int take_shm(struct pv_vfs_file *f, int slot, bool exclusive)
{
    struct pv_vfs_locks *l = f->vfs->locks;
    unsigned bit = 1U << slot;
    unsigned own = (f->shm_shared & bit) != 0;
    if (l->shm_writer[slot] && !(f->shm_exclusive & bit))
        return SQLITE_BUSY;
    if (exclusive) {
        if (l->shm_readers[slot] > own)
            return SQLITE_BUSY;
        l->shm_writer[slot] = true;
        f->shm_exclusive |= bit;
    } else if (!own) {
        l->shm_readers[slot]++;
        f->shm_shared |= bit;
    }
    return SQLITE_OK;
}

static void give_shm(struct pv_vfs_file *f, int slot)
{
    struct pv_vfs_locks *l = f->vfs->locks;
    unsigned bit = 1U << slot;
    if (f->shm_exclusive & bit)
        l->shm_writer[slot] = false;
    if (f->shm_shared & bit)
        l->shm_readers[slot]--;
    f->shm_exclusive &= ~bit;
    f->shm_shared &= ~bit;
}

int pv_vfs_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs_locks *l = f->vfs->locks;
    int rc = SQLITE_OK;
    PV_ASSERT(first >= 0 && count > 0 && first + count <= SQLITE_SHM_NLOCK);
    uv_mutex_lock(&l->mutex);
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
    uv_mutex_unlock(&l->mutex);
    return rc;
}

void pv_vfs_shm_barrier(sqlite3_file *file)
{
    struct pv_vfs_locks *l = pv_vfs_file(file)->vfs->locks;
    atomic_thread_fence(memory_order_seq_cst);
    uv_mutex_lock(&l->mutex); /* as SQLite's own vfs does: orders what a fence alone may not */
    uv_mutex_unlock(&l->mutex);
}

int pv_vfs_shm_unmap(sqlite3_file *file, int remove)
{
    struct pv_vfs_file *f = pv_vfs_file(file);
    struct pv_vfs_locks *l = f->vfs->locks;
    (void)remove; /* memory goes with its last user in any case */
    uv_mutex_lock(&l->mutex);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++)
        give_shm(f, i);
    if (f->shm_mapped && --l->shm_users == 0) {
        for (int i = 0; i < l->region_count; i++)
            pv_free(l->regions[i]);
        pv_free(l->regions);
        l->regions = NULL;
        l->region_count = 0;
    }
    f->shm_mapped = false;
    uv_mutex_unlock(&l->mutex);
    return SQLITE_OK;
}
