/*
 * The processes of `demo`: daemons and commands, all of them this same program, in one temporary
 * folder with one set of secrets. Errors are said by whoever returns them.
 */
#ifndef PV_CMD_DEMO_NODES_H
#define PV_CMD_DEMO_NODES_H

#include "cmd/peervault/cli.h"
#include "internal/base/buf.h"
#include <jansson.h>
#include <sys/types.h>

enum { PV_DEMO_NODES_MAX = 16 };

struct pv_demo_node {
    unsigned number; /* from 1 */
    char *vault, *log;
    char *address;                /* where it listens */
    pid_t pid;                    /* 0: not running */
    json_int_t blobs, blob_bytes; /* of the last status */
    uint64_t ms;                  /* what its part took */
};

struct pv_demo_cluster {
    const struct pv_cli *cli;
    char *folder;
    char **environment; /* of all children */
    struct pv_demo_node nodes[PV_DEMO_NODES_MAX];
    unsigned count;
};

/* The folder and the secrets. From now on SIGINT and SIGTERM only make the waits below fail. */
enum pv_exit pv_demo_init(struct pv_demo_cluster *d, const struct pv_cli *cli, unsigned count);
/* Stops all children, removes the folder. Works after a failed init, too. */
void pv_demo_release(struct pv_demo_cluster *d);
bool pv_demo_interrupted(void);

/* Starts node i (it dials the earlier ones) and waits until it answers. */
enum pv_exit pv_demo_start(struct pv_demo_cluster *d, unsigned i);
/* Waits until every node is in session with every other and has the same records. */
enum pv_exit pv_demo_join(struct pv_demo_cluster *d);
/* Asks for status, into blobs and blob_bytes. */
enum pv_exit pv_demo_count(struct pv_demo_cluster *d, unsigned i);
void pv_demo_kill(struct pv_demo_cluster *d, unsigned i); /* SIGKILL */

/*
 * Runs `peervault --vault <node i's> words...` (words end with NULL) to its end. Its stdout is
 * appended to out (may be NULL). Not OK: its exit code, after its own words on stderr.
 */
enum pv_exit pv_demo_run(struct pv_demo_cluster *d, unsigned i, const char *const *words,
                         struct pv_buf *out);
/* On stderr: the last lines of every daemon's log. */
void pv_demo_explain(const struct pv_demo_cluster *d);

#endif
