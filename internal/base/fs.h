/*
 * The second seam: every file call of the program goes through this table (the user's own files
 * are opened by the command line, never by the daemon, and do not).
 *
 * Paths are relative to a directory handle; no path that came from a peer ever reaches here,
 * only hex of fixed length. Handles are small integers given out by the table. Every call returns
 * enum pv_err: NOT_FOUND, EXISTS, NOSPACE, IO, AUTH (permission), NOMEM, LIMIT (descriptors).
 * EINTR and short reads and writes are handled inside: a call is whole or an error.
 * Thread-safe, as the system calls are.
 */
#ifndef PV_BASE_FS_H
#define PV_BASE_FS_H

#include "internal/base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int pv_fd;
#define PV_FD_NONE (-1)

enum pv_fs_open_flags {
    PV_FS_READ = 1,      /* read only unless PV_FS_WRITE is given */
    PV_FS_WRITE = 2,     /* read and write */
    PV_FS_CREATE = 4,    /* mode 0600 */
    PV_FS_EXCLUSIVE = 8, /* with CREATE: fail with EXISTS */
    PV_FS_TRUNCATE = 16,
    PV_FS_DIRECTORY = 32,
    /* The last component may be a symbolic link: for files that a user names. Without it that is
     * PV_E_AUTH. A FIFO never blocks. */
    PV_FS_FOLLOW = 64,
};

struct pv_fs_stat {
    uint64_t size_bytes;
    uint64_t mtime_ms;
    uint32_t mode; /* st_mode, for the permission checks of secret files */
    uint32_t uid;
    bool is_regular, is_directory;
};

struct pv_fs_space {
    uint64_t total_bytes, free_bytes; /* free to an unprivileged user */
    uint64_t total_files, free_files; /* inodes; 0 in all: as many as there is room for */
};

/* Called once for each entry but "." and ".."; return false to stop. */
typedef bool (*pv_fs_list_fn)(void *arg, const char *name);

struct pv_fs {
    void *ctx;
    enum pv_err (*open)(void *ctx, pv_fd dir, const char *path, int flags, pv_fd *out);
    enum pv_err (*close)(void *ctx, pv_fd fd);
    /* Up to len bytes from offset; *got < len only at the end of the file. */
    enum pv_err (*read)(void *ctx, pv_fd fd, void *dst, size_t len, uint64_t offset, size_t *got);
    enum pv_err (*write)(void *ctx, pv_fd fd, const void *src, size_t len, uint64_t offset);
    enum pv_err (*truncate)(void *ctx, pv_fd fd, uint64_t size_bytes);
    enum pv_err (*stat)(void *ctx, pv_fd fd, struct pv_fs_stat *out);
    enum pv_err (*stat_at)(void *ctx, pv_fd dir, const char *path, struct pv_fs_stat *out);
    /* Begins writing and does not wait. What it reports, a sync may not report again. */
    enum pv_err (*start_writeback)(void *ctx, pv_fd fd);
    enum pv_err (*sync)(void *ctx, pv_fd fd); /* fdatasync; of a directory: fsync */
    /* Syncs side by side, or NULL; see pv_fs_sync_all. */
    enum pv_err (*sync_all)(void *ctx, const pv_fd *fds, size_t count);
    enum pv_err (*rename)(void *ctx, pv_fd from_dir, const char *from, pv_fd to_dir,
                          const char *to);
    enum pv_err (*unlink)(void *ctx, pv_fd dir, const char *path);
    enum pv_err (*mkdir)(void *ctx, pv_fd dir, const char *path); /* mode 0700 */
    enum pv_err (*list)(void *ctx, pv_fd dir, const char *path, pv_fs_list_fn each, void *arg);
    enum pv_err (*space)(void *ctx, pv_fd dir, struct pv_fs_space *out);
    /* Exclusive whole-file lock of this process; BUSY when another has it. Ends with close. */
    enum pv_err (*lock)(void *ctx, pv_fd fd);
};

/* Syncs each of them, in any order; after an error nothing is known of the others. */
PV_MUST enum pv_err pv_fs_sync_all(const struct pv_fs *fs, const pv_fd *fds, size_t count);

const struct pv_fs *pv_fs_real(void);
/* A directory by absolute or working-directory path: where every other call starts. */
PV_MUST enum pv_err pv_fs_real_open_root(const char *path, pv_fd *out);

#endif
