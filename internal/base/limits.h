/*
 * Every limit of the program that is not part of a format, in one place. Format limits stand with
 * their format (crypto/blob.h, crypto/record.h, transport/frame.h, transport/msg.h).
 */
#ifndef PV_BASE_LIMITS_H
#define PV_BASE_LIMITS_H

enum {
    /* ---- network ---- */
    PV_HALF_OPEN_MAX = 256,      /* handshakes in progress, all addresses */
    PV_CONNECTIONS_MAX = 512,    /* sockets of any state */
    PV_SESSIONS_MAX = 320,       /* authenticated */
    PV_HANDSHAKE_MS = 5000,      /* from accept or connect to HELLO */
    PV_PING_IDLE_MS = 15000,     /* quiet for so long: send PING */
    PV_PEER_DEAD_MS = 45000,     /* nothing received for so long: close */
    PV_SKEW_MS_DEFAULT = 300000, /* handshake clock difference, config max_skew */
    PV_REPLAY_ENTRIES_MAX = 65536,
    PV_DIAL_MS_MIN = 1000, /* back-off with full jitter */
    PV_DIAL_MS_MAX = 300000,
    PV_CONNECT_MS = 10000,
    PV_SESSION_OUT_HIGH = 128 * 1024,      /* queued sealed bytes: above, not writable */
    PV_SESSION_OUT_MAX = 512 * 1024,       /* above, the session is closed */
    PV_STREAMS_MAX = 64,                   /* open transfers a session and direction */
    PV_STREAM_BYTES_MAX = 8 * 1024 * 1024, /* reserved for inbound bodies a session */
    PV_STATIC_PEERS_MAX = 64,
    PV_MEMBERS_MAX = 64,
    PV_SIMULTANEOUS_DIAL_MS = 10000,
    PV_HALF_OPEN_PER_HOST_MAX = 8, /* of one IPv4 address or IPv6 /64; loopback is exempt */
    PV_LINGER_MS = 2000,           /* longest wait for GOODBYE to leave */
    PV_TWICE_MS = 5000,            /* an older session must answer so fast to prove it lives */
    PV_SESSION_LIFE_MS = 24 * 3600 * 1000, /* then a new handshake gives fresh keys */
    PV_DIAL_STABLE_MS = 30000, /* up for so long: the next back-off starts from the beginning */

    /* ---- memory shares at mem_limit = 64 MiB; they scale with it ---- */
    PV_MEM_LIMIT_MIB = 64,
    PV_MEM_SHARE_CONNECTIONS_MIB = 24,
    PV_MEM_SHARE_INBOUND_MIB = 16,
    PV_MEM_SHARE_FILES_MIB = 12, /* ingest and retrieve */
    PV_MEM_SHARE_OUTBOUND_MIB = 4,
    PV_MEM_SHARE_SQLITE_MIB = 8,

    /* ---- committer ---- */
    PV_COMMIT_BLOBS_MAX = 64,
    PV_COMMIT_BYTES_MAX = 32 * 1024 * 1024,
    PV_WAL_CHECKPOINT_BYTES = 64 * 1024 * 1024,
    PV_SCAN_ROWS_MAX = 1000, /* rows a reading job looks at before it ends */

    /* ---- what stays free of a disk: a 20th, at most ---- */
    PV_RESERVE_MIB = 1024,
    PV_RESERVE_FILES = 1024,

    /* ---- files ---- */
    PV_BLOB_FILE_MIN = 65536,  /* blobs of at least so many bytes are files, smaller ones rows */
    PV_INGEST_WINDOW = 4,      /* chunks of one file being sealed or committed at once */
    PV_RETRIEVE_WINDOW = 4,    /* chunks of one file being read or fetched at once */
    PV_BLOB_SILENCE_MS = 5000, /* a fetch without bytes for so long goes to the next holder */
    PV_LEASE_HOURS = 72,
    PV_LEASE_FRESH_HOURS = 48, /* one that runs so long yet is not renewed */

    /* ---- control socket ---- */
    PV_CONTROL_JSON_MAX = 65536,
    PV_CONTROL_DATA_MAX = 65535,
    PV_CONTROL_CLIENTS_MAX = 64,
    PV_DESCRIPTORS_MIN = 64,         /* open files: with fewer nothing is started */
    PV_STORE_WAIT_MS = 5000,         /* store without --copies: longest wait without progress */
    PV_STORE_COPIES_WAIT_MS = 30000, /* and with them */
};

#endif
