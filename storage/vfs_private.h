/* What vfs.c (files) and vfs_lock.c (locks and shared memory) share. */
#ifndef PV_STORAGE_VFS_PRIVATE_H
#define PV_STORAGE_VFS_PRIVATE_H

#include "storage/vfs.h"

#include <pthread.h>
#include <sqlite3.h>

enum pv_vfs_kind { PV_VFS_MAIN, PV_VFS_WAL, PV_VFS_OTHER };

struct pv_vfs_file {
    sqlite3_file base; /* first: SQLite sees only this */
    struct pv_vfs *vfs;
    pv_fd fd;
    enum pv_vfs_kind kind;
    bool sync_dir; /* new: its first sync is the folder's, too */
    bool is_temp;  /* removed on close */
    uint64_t temp_no;
    int lock; /* SQLITE_LOCK_*; under the mutex, like the next three */
    bool shm_mapped;
    unsigned shm_shared, shm_exclusive; /* one bit a lock held */
};

struct pv_vfs {
    sqlite3_vfs base;
    struct pv_vfs_config config;
    char name[32];
    pthread_mutex_t mutex; /* guards the rest */
    uint64_t temp_count;
    unsigned readers;           /* file locks: connections with SHARED or more */
    struct pv_vfs_file *writer; /* the one with RESERVED or more */
    void **regions;             /* shared memory */
    int region_count;
    unsigned shm_users;
    unsigned shm_readers[SQLITE_SHM_NLOCK];
    bool shm_writer[SQLITE_SHM_NLOCK];
};

static inline struct pv_vfs_file *pv_vfs_file(sqlite3_file *file)
{
    return (struct pv_vfs_file *)(void *)file;
}

int pv_vfs_lock(sqlite3_file *file, int level);
int pv_vfs_unlock(sqlite3_file *file, int level);
int pv_vfs_check_reserved(sqlite3_file *file, int *out);
int pv_vfs_shm_map(sqlite3_file *file, int region, int len, int extend, void volatile **out);
int pv_vfs_shm_lock(sqlite3_file *file, int first, int count, int flags);
void pv_vfs_shm_barrier(sqlite3_file *file);
int pv_vfs_shm_unmap(sqlite3_file *file, int remove);

#endif
