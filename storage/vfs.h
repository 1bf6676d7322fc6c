/*
 * SQLite's files, through pv_fs: an sqlite3_vfs for the one database of one vault.
 *
 * - Every file lies in the vault folder and is opened by its base name; nameless temporary files
 *   lie in tmp/.
 * - The last 8 bytes of each page (reserved for us by SQLite) hold its XXH3-64, in vault.db and in
 *   the write-ahead log. A page that fails its sum is SQLITE_IOERR_DATA. SQLite itself always sees
 *   zeros there, which is what its own log checksums cover.
 * - One process has the vault, so file locks and the shared-memory index of the log are plain
 *   memory, shared by the connections of this vfs. No -shm file.
 * - A failed sync, and a failed write other than for want of space, calls fatal from inside.
 *
 * new -> open databases "vault.db" with vfs name pv_vfs_name -> close them all -> free.
 * Thread-safe as far as SQLite needs it: one thread a connection at a time.
 */
#ifndef PV_STORAGE_VFS_H
#define PV_STORAGE_VFS_H

#include "internal/base/env.h"
#include "internal/base/fs.h"

enum {
    PV_VFS_PAGE_LEN = 4096,
    PV_VFS_SUM_LEN = 8, /* what SQLITE_FCNTL_RESERVE_BYTES must be set to */
    PV_VFS_FRAME_HEADER_LEN = 24,
    PV_VFS_WAL_HEADER_LEN = 32,
};

struct pv_vfs_config {
    const struct pv_fs *fs; /* borrowed, with dir and env, until free */
    pv_fd dir;
    const struct pv_env *env;
    void (*fatal)(void *ctx, const char *what, enum pv_err err); /* any thread; may not return */
    void *fatal_ctx;
};

struct pv_vfs;
PV_MUST enum pv_err pv_vfs_new(struct pv_vfs **out, const struct pv_vfs_config *config);
void pv_vfs_free(struct pv_vfs *v);
const char *pv_vfs_name(const struct pv_vfs *v);

/* Whether a page of vault.db (numbers begin with 1) has the sum that it should have. */
bool pv_vfs_page_is_good(const uint8_t page[static PV_VFS_PAGE_LEN], uint64_t number);

#endif
