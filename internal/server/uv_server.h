/*
 * The server: loop, threads, store, node, file server and sockets of one vault, put together.
 *
 * The same server runs as the daemon (listens, dials, binds control.sock) and inside a command's
 * own process when no daemon runs (one client over a socketpair, no network). run blocks until
 * SIGTERM or SIGINT (daemon), or the embedded client's end; then it finishes or
 * rolls back commits, says GOODBYE to peers, and returns.
 */
#ifndef PV_SERVER_UV_SERVER_H
#define PV_SERVER_UV_SERVER_H

#include "internal/confine/confine.h"
#include "internal/file/files.h"
#include "internal/setup.h"
#include "transport/bandwidth.h"

/* What applies without a restart. */
struct pv_server_reload {
    const char *const *peers; /* kept connected besides those known */
    size_t peer_count;
    uint64_t disk_limit_bytes;
    struct pv_bandwidth bandwidth;
    bool allowlist;
};

struct pv_server_config {
    struct pv_setup *setup; /* opened and locked; borrowed */
    const char *vault_path; /* for the control socket's address, and status */
    const struct pv_env *env;
    bool daemon;
    int client_fd; /* embedded: our end of the socketpair, taken over; else -1 */

    const char *listen; /* "addr:port"; daemon only */
    const char *const *peers;
    size_t peer_count;
    const char (*advertise)[PV_ADDRESS_MAX + 1]; /* as in config.h */
    size_t advertise_count;
    uint8_t role; /* enum pv_role */
    bool allowlist;
    unsigned replicas;
    uint64_t max_skew_ms, gc_grace_ms, key_grace_ms, repair_after_ms;
    uint64_t mem_limit_bytes, disk_limit_bytes;
    struct pv_bandwidth bandwidth;
    enum pv_convergence convergence;
    bool no_scrub;
    const struct pv_confined *confined; /* what status says of it; daemon only */

    /* From the loop thread, once everything is up. listening: NULL when embedded. */
    void (*ready)(void *arg, const char *listening);
    /* Likewise, when the end begins, and on SIGHUP (daemon, once ready): reload reads the settings
     * again; false: they are wrong, nothing changes. Either may be NULL. */
    void (*stopping)(void *arg);
    bool (*reload)(void *arg, struct pv_server_reload *out);
    void *arg;
};

/* why: as in setup.h. BUSY: the listen address is in use. AUTH (6): this identity runs twice.
 * NOMEM: also of open files (descriptors.h), and of threads. */
PV_MUST enum pv_err pv_server_run(const struct pv_server_config *config, char *why);

#endif
