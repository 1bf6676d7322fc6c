/*
 * Where the files of a `store` come from: the words of the command line, the folders among them
 * (-r), or a list (--files-from). One at a time, so that a million of them need no more memory than
 * one; only of the names in a list eight bytes each are kept, to refuse the second of two equal
 * ones.
 */
#ifndef PV_CMD_STORE_SOURCE_H
#define PV_CMD_STORE_SOURCE_H

#include "cmd/peervault/cli.h"

enum pv_store_kind {
    PV_STORE_FILE,
    PV_STORE_STDIN,
    PV_STORE_SKIPPED, /* not regular, below a folder: why says what it is */
    PV_STORE_REFUSED, /* why and exit say what is wrong with it */
};

/* Valid until the next one. */
struct pv_store_entry {
    enum pv_store_kind kind;
    const char *path; /* for messages and lines */
    const char *name; /* to bind; NULL: none */
    int dir;          /* FILE: open base in it (perhaps AT_FDCWD) */
    const char *base;
    bool no_links; /* base must not be a symbolic link */
    const char *why;
    enum pv_exit exit;
};

enum pv_store_step {
    PV_STORE_ENTRY,
    PV_STORE_QUIET, /* a list that has nothing to give yet: see the descriptor */
    PV_STORE_END,
};

struct pv_store_source;

/* Looks at no file's content. USAGE: options that contradict each other, equal names. FAILED. Said.
 */
enum pv_exit pv_store_source_open(struct pv_store_source **out, const struct pv_cli *cli,
                                  const struct pv_args *args);
enum pv_store_step pv_store_source_next(struct pv_store_source *s, struct pv_store_entry *entry);
/* To be polled for reading after QUIET. */
int pv_store_source_fd(const struct pv_store_source *s);
/* Bytes of all files; 0: not known before they are read. */
uint64_t pv_store_source_bytes(const struct pv_store_source *s);
/* Whether there may be very many of them. */
bool pv_store_source_is_bulk(const struct pv_store_source *s);
void pv_store_source_close(struct pv_store_source *s);

/* The last component of a path. */
const char *pv_base_name(const char *path);

/*
 * The name for a path of a list: without leading slashes, empty and . components. len: of path;
 * out has room for len + 1 bytes. INVALID: .. in it, or nothing left.
 */
PV_MUST enum pv_err pv_list_name(char *out, const char *path, size_t len);

#endif
