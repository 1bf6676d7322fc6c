/* What vfs.c (files) and uv_vfs_lock.c (locks, shared memory, waiting) share. */
#ifndef PV_STORAGE_VFS_PRIVATE_H
#define PV_STORAGE_VFS_PRIVATE_H

#include "storage/vfs.h"

#include <sqlite3.h>
#include <stdatomic.h>

enum pv_vfs_kind { PV_VFS_MAIN, PV_VFS_WAL, PV_VFS_OTHER };

struct pv_vfs_file {
    sqlite3_file base; /* first: SQLite sees only this */
    struct pv_vfs *vfs;
    pv_fd fd;
    enum pv_vfs_kind kind;
    /* The first sync is the folder's, too: a file that is there already may have been made by a
     * process that died before it got so far. */
    bool sync_dir;
    bool is_temp; /* removed on close */
    uint64_t temp_no;
    int lock; /* SQLITE_LOCK_*; this and the next three are uv_vfs_lock.c's */
    bool shm_mapped;
    unsigned shm_shared, shm_exclusive; /* one bit a lock held */
};

struct pv_vfs_locks;

struct pv_vfs {
    sqlite3_vfs base;
    struct pv_vfs_config config;
    char name[32];
    atomic_uint_fast64_t temp_count;
    struct pv_vfs_locks *locks;
};

static inline struct pv_vfs_file *pv_vfs_file(sqlite3_file *file)
{
    return (struct pv_vfs_file *)(void *)file;
}

PV_MUST enum pv_err pv_vfs_locks_new(struct pv_vfs_locks **out);
void pv_vfs_locks_free(struct pv_vfs_locks *l); /* every file is closed */
/* Returns after us microseconds. */
void pv_vfs_wait(struct pv_vfs_locks *l, unsigned us);

int pv_vfs_lock(sqlite3_file *file, int level);
int pv_vfs_unlock(sqlite3_file *file, int level);
int pv_vfs_check_reserved(sqlite3_file *file, int *out);
int pv_vfs_shm_map(sqlite3_file *file, int region, int len, int extend, void volatile **out);
int pv_vfs_shm_lock(sqlite3_file *file, int first, int count, int flags);
void pv_vfs_shm_barrier(sqlite3_file *file);
int pv_vfs_shm_unmap(sqlite3_file *file, int remove);

#endif
