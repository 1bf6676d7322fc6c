/*
 * Settings: where they come from and what they may be.
 *
 * A key is given by a flag, by the environment (PEERVAULT_ and the key in capitals), by
 * peervault.conf in the vault, or has its default; the first of these wins. Each value keeps its
 * origin for `config show`. The file has lines "key = value"; "#" or ";" begins a comment, there
 * are no sections. A line has at most 198 bytes; a list may be given in several lines, or go on in
 * indented ones. An environment variable that is empty counts as not set.
 *
 *   listen         ADDRESS:PORT, port 0 picks a free one     127.0.0.1:3000
 *   peers          list of ADDRESS:PORT, comma separated     (none)
 *   advertise      the same, or none                         what listen tells
 *   replicas       1 .. 64                                   3
 *   role           keyed | blind                             keyed
 *   membership     open | allowlist                          open
 *   repair_after   1s .. 90d                                 12h
 *   max_skew       1s .. 1h                                  300s
 *   gc_grace       0s .. 90d                                 7d
 *   key_grace      1s .. 3650d                               90d
 *   mem_limit      32MiB .. 64GiB                            64MiB
 *   disk_limit     0 (none), or from 1MiB                    0
 *   limit_up, limit_down, limit_peer_up, limit_peer_down
 *                  bytes a second: 0 (none), 64KiB .. 1TiB   0
 *   limit_lan      on | off                                  off
 *   convergence    cluster | epoch | off                     cluster
 *   scrub          on | off                                  on
 *   confine        on | off                                 on
 *   log_level      as pv_log_set_levels                      info
 *   log_format     logfmt | json                             logfmt
 *
 * Durations take ms, s, m, h, d (no unit: seconds). Sizes take K, M, G, T, also as KiB, MiB, GiB,
 * TiB, all powers of 1024 (no unit: bytes). Secrets are no settings: config_secrets.h.
 *
 * Nothing here reads the process's environment or files by itself: both come in through
 * struct pv_config_source. A loaded config is plain data without pointers: copy and drop it freely.
 */
#ifndef PV_INTERNAL_CONFIG_H
#define PV_INTERNAL_CONFIG_H

#include "crypto/body.h"
#include "internal/base/buf.h"
#include "internal/base/fs.h"
#include "internal/base/limits.h"
#include "transport/bandwidth.h"

enum {
    PV_CONFIG_LOG_LEVEL_MAX = 127,  /* bytes of log_level */
    PV_CONFIG_WHY_MAX = 400,        /* a message, NUL included; as in setup.h */
    PV_CONFIG_SHOW_MAX = 32 * 1024, /* a buffer for any value has this much room */
};

enum pv_config_key {
    PV_CONFIG_LISTEN,
    PV_CONFIG_PEERS,
    PV_CONFIG_ADVERTISE,
    PV_CONFIG_REPLICAS,
    PV_CONFIG_ROLE,
    PV_CONFIG_MEMBERSHIP,
    PV_CONFIG_REPAIR_AFTER,
    PV_CONFIG_MAX_SKEW,
    PV_CONFIG_GC_GRACE,
    PV_CONFIG_KEY_GRACE,
    PV_CONFIG_MEM_LIMIT,
    PV_CONFIG_DISK_LIMIT,
    PV_CONFIG_LIMIT_UP,
    PV_CONFIG_LIMIT_DOWN,
    PV_CONFIG_LIMIT_PEER_UP,
    PV_CONFIG_LIMIT_PEER_DOWN,
    PV_CONFIG_LIMIT_LAN,
    PV_CONFIG_CONVERGENCE,
    PV_CONFIG_SCRUB,
    PV_CONFIG_CONFINE,
    PV_CONFIG_LOG_LEVEL,
    PV_CONFIG_LOG_FORMAT,
    PV_CONFIG_KEY_COUNT
};

enum pv_config_origin { PV_FROM_DEFAULT, PV_FROM_FILE, PV_FROM_ENVIRONMENT, PV_FROM_FLAG };

struct pv_config {
    char listen[PV_ADDRESS_MAX + 1];
    char peers[PV_STATIC_PEERS_MAX][PV_ADDRESS_MAX + 1]; /* no two are equal */
    size_t peer_count;
    char advertise[PV_ADDRESSES_MAX][PV_ADDRESS_MAX + 1]; /* "none" alone: nothing; no two equal */
    size_t advertise_count;                               /* 0: what listen tells */
    uint64_t replicas;
    uint64_t role;      /* enum pv_role */
    uint64_t allowlist; /* 0 or 1: who has no member record yet must be allowed by name */
    uint64_t repair_after_ms, max_skew_ms, gc_grace_ms, key_grace_ms;
    uint64_t mem_limit_bytes;
    uint64_t disk_limit_bytes; /* 0: none */
    struct pv_bandwidth bandwidth;
    uint64_t convergence; /* enum pv_convergence */
    uint64_t scrub;       /* 0 or 1 */
    uint64_t confine;     /* 0 or 1 */
    char log_level[PV_CONFIG_LOG_LEVEL_MAX + 1];
    uint64_t log_json; /* 0 or 1 */

    uint8_t origin[PV_CONFIG_KEY_COUNT]; /* enum pv_config_origin */
    unsigned line[PV_CONFIG_KEY_COUNT];  /* of the file, if from there; else 0 */
};

struct pv_config_source {
    /* The environment; NULL when the variable is not set. The text is copied before returning. */
    const char *(*getenv)(void *ctx, const char *name);
    void *ctx;
    const struct pv_fs *fs;
    pv_fd vault; /* folder with peervault.conf; PV_FD_NONE: there is no vault yet */
};

struct pv_config_flag { /* as given on the command line; --peer is key PV_CONFIG_PEERS, repeated */
    enum pv_config_key key;
    const char *value;
};

void pv_config_default(struct pv_config *out);

/*
 * All of the settings. Every value is checked, also one that another overrides. *out is written on
 * success only. why (PV_CONFIG_WHY_MAX bytes) gets one line for a person on errors.
 * PV_E_INVALID: an unknown or repeated key, a malformed value; why names key, and file and line or
 * variable or flag. PV_E_AUTH, PV_E_IO: the file cannot be read (it
 * may be absent). PV_E_NOMEM.
 */
PV_MUST enum pv_err pv_config_load(struct pv_config *out, const struct pv_config_source *source,
                                   const struct pv_config_flag *flags, size_t flag_count,
                                   char *why);

/* ---- for `config show` and the documentation; static strings ---- */
const char *pv_config_key_name(enum pv_config_key key);   /* "repair_after" */
const char *pv_config_key_help(enum pv_config_key key);   /* what it does, in one line */
const char *pv_config_key_values(enum pv_config_key key); /* "1s .. 90d" */
bool pv_config_key_is_list(enum pv_config_key key);       /* may be given in several lines */
const char *pv_config_origin_name(enum pv_config_origin origin);
PV_MUST enum pv_err pv_config_key_find(enum pv_config_key *out, const char *name); /* NOT_FOUND */

/* Appends the value as it may stand in the file ("12h", "64MiB"), but for a list that is too long
 * for one line. PV_E_NOMEM, PV_E_LIMIT. */
PV_MUST enum pv_err pv_config_show(const struct pv_config *c, enum pv_config_key key,
                                   struct pv_buf *out);

#endif
