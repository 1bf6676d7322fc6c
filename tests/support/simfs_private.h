/* The disk below simfs.c, made in simfs_disk.c: contents, folders, what is pending on them. */
#ifndef PV_TESTS_SIMFS_PRIVATE_H
#define PV_TESTS_SIMFS_PRIVATE_H

#include "tests/support/simfs.h"

#include <stdatomic.h>

struct sim_sector { /* never changed once it is shared */
    atomic_uint refs;
    uint8_t bytes[PVT_SECTOR_LEN];
};

struct sim_content {
    uint64_t size;
    struct sim_sector **sectors; /* NULL: zeros */
    size_t count, cap;
};

/* What happened to a file since its last sync, in order. */
struct sim_change {
    struct sim_sector *data; /* NULL: the length was set */
    uint64_t at;             /* sector, or length */
    bool lost;               /* by a sync that failed */
};

struct sim_entry {
    char name[PVT_SIMFS_NAME_MAX + 1];
    struct sim_inode *inode;
};

struct sim_names { /* sorted */
    struct sim_entry *entries;
    size_t count, cap;
};

struct sim_inode {
    unsigned refs; /* entries, handles and pending operations */
    bool is_dir, locked;
    uint64_t mtime_ms;
    struct sim_content content, durable; /* of a file */
    struct sim_change *changes;
    size_t change_count, change_cap;
    struct sim_names names, durable_names; /* of a folder */
    struct sim_inode *twin;                /* while a crash copies the disk */
};

/* A change of a name that is not durable yet. */
struct sim_name_op {
    struct sim_inode *dir, *inode; /* inode NULL: the name goes */
    char name[PVT_SIMFS_NAME_MAX + 1];
    bool with_previous; /* the second half of a rename: only after the operation before it */
    bool done;
};

struct sim_name_ops {
    struct sim_name_op *ops;
    size_t count, cap;
};

struct sim_inode *sim_inode_new(bool is_dir);
void sim_inode_hold(struct sim_inode *inode);
void sim_inode_drop(struct sim_inode *inode); /* accepts NULL */

/* ---- files ---- */

void sim_file_read(const struct sim_inode *inode, void *dst, size_t len, uint64_t offset);
void sim_file_write(struct sim_inode *inode, const void *src, size_t len, uint64_t offset);
void sim_file_set_size(struct sim_inode *inode, uint64_t size);
bool sim_file_sync(struct sim_inode *inode); /* whether there was anything to do */
void sim_file_lose(struct sim_inode *inode); /* a sync that failed */

/* ---- folders ---- */

struct sim_inode *sim_names_find(const struct sim_names *names, const char *name);
/* What programs see, and the note that it is pending. inode NULL removes the name. */
void sim_dir_set(struct sim_name_ops *pending, struct sim_inode *dir, const char *name,
                 struct sim_inode *inode);
/* from -> to, as two operations of which the second needs the first. */
void sim_dir_rename(struct sim_name_ops *pending, struct sim_inode *from_dir, const char *from,
                    struct sim_inode *to_dir, const char *to);
bool sim_dir_sync(struct sim_name_ops *pending, const struct sim_inode *dir); /* likewise */
uint64_t sim_dir_used_bytes(const struct sim_inode *dir); /* of all files below */
void sim_name_ops_release(struct sim_name_ops *pending);

/* ---- crashes ---- */

uint64_t sim_random(uint64_t *state);
/* A copy of the disk below root, as a crash may leave it. */
struct sim_inode *sim_disk_crash(struct sim_inode *root, const struct sim_name_ops *pending,
                                 uint64_t seed);

void *sim_grow(void *items, size_t *cap, size_t item_len); /* aborts without memory */

#endif
