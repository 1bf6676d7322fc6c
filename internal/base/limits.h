/*
 * Every limit of the program that is not part of a format, in one place. Format limits stand with
 * their format (crypto/blob.h, crypto/record.h, transport/frame.h, transport/msg.h).
 *
 * The list says of each: name, value (the default, where a setting or the system may change it),
 * unit, what happens at the limit, and the file that enforces it. PV_<name> is the value.
 *
 * mem_limit is about buffers. Besides them 128 MiB must do, and most of them are never touched:
 * program and libraries (about 8), stretching a token that is a passphrase (32, once at the start),
 * what waits for clients that do not read (about 1 for each), and what the allocator keeps.
 * Measured with 64 stores, gets and checks at once and two peers: 34 MiB resident in all.
 */
#ifndef PV_BASE_LIMITS_H
#define PV_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* clang-format off */
/* X(name, value, unit, at the limit, enforced by) */
#define PV_LIMIT_LIST(X) \
    /* network */ \
    X(CONNECTIONS_MAX, 512, "sockets", \
      "closed before a byte is read; fewer with few open files", "transport/uv_tcp.c") \
    X(HALF_OPEN_MAX, 256, "unfinished handshakes", \
      "closed before a byte is read; configured peers are exempt", "transport/uv_tcp.c") \
    X(HALF_OPEN_PER_HOST_MAX, 8, "handshakes of an IPv4 address or IPv6 /64", \
      "closed; loopback and configured peers are exempt", "transport/uv_tcp.c") \
    X(HANDSHAKES_PER_S, 5, "handshakes a second of an IPv4 address or IPv6 /64", \
      "closed; loopback and configured peers are exempt", "transport/hosts.c") \
    X(HANDSHAKES_BURST, 20, "handshakes at once of an IPv4 address or IPv6 /64", \
      "closed; loopback and configured peers are exempt", "transport/hosts.c") \
    X(HOSTS_KNOWN_MAX, 4096, "hosts whose handshakes are counted", \
      "the one that came longest ago is forgotten", "transport/hosts.c") \
    X(SESSIONS_MAX, 320, "authenticated connections", \
      "closed with GOODBYE 7", "transport/uv_link.c") \
    X(SESSIONS_PER_NODE_MAX, 2, "connections of a node id: in use, and in doubt", \
      "closed with GOODBYE 2", "transport/uv_pair.c") \
    X(REPLAY_ENTRIES_MAX, 65536, "handshakes remembered", \
      "the oldest is forgotten", "transport/replay.c") \
    X(SESSION_OUT_HIGH, 131072, "bytes queued to a peer", \
      "no body is sent until it reads", "transport/session.c") \
    X(SESSION_OUT_MAX, 524288, "bytes queued to a peer", \
      "the session is closed", "transport/outbox.c") \
    X(HANDSHAKE_MS, 5000, "ms from accept or connect to HELLO", \
      "closed; bytes do not extend it", "transport/session.c") \
    X(SKEW_MS_DEFAULT, 300000, "ms between the clocks of two nodes", \
      "max_skew: the handshake is refused, both clocks are logged", "internal/config.c") \
    X(PEER_DEAD_MS, 45000, "ms without a byte of a peer", \
      "closed", "transport/session.c") \
    X(RATE_MIN, 4096, "bytes a second that a peer must take or bring in a frame", \
      "closed when slower for RATE_WINDOW_MS", "transport/progress.c") \
    X(RATE_WINDOW_MS, 30000, "ms that are looked at for RATE_MIN", \
      "closed; our own limits of bandwidth do not count", "transport/progress.c") \
    X(SESSION_LIFE_MS, 86400000, "ms of a session", \
      "closed with GOODBYE 10: a new one gives fresh keys", "transport/session.c") \
    X(CONNECT_MS, 10000, "ms until an address answers", \
      "the next address of the peer is dialled", "transport/uv_dial.c") \
    X(RESOLVED_MAX, 8, "addresses of a name", \
      "further ones are not dialled", "transport/uv_dial.c") \
    X(EARLY_BYTES_MAX, 262144, "bytes of messages before admission", \
      "closed with GOODBYE 7", "internal/node/node.c") \
    X(STREAMS_MAX, 64, "transfers of a session each way", \
      "our own wait; asking for more is a fault", "internal/node/push_out.c") \
    X(STREAM_BYTES_MAX, 8388608, "bytes of bodies asked of a peer", \
      "further ones wait", "internal/node/push_in.c") \
    X(PUSH_OFFERED_MAX, 1024, "offers of a peer without an answer", \
      "our own wait; offering more is a fault", "internal/node/push_in.c") \
    X(FETCH_GETS_MAX, 4, "GETs of a peer without an answer", \
      "our own wait; asking more is a fault", "internal/node/fetch_peer.c") \
    X(SYNC_JOBS_MAX, 4, "batches of records or digests of a peer at work", \
      "it is not read", "internal/node/sync.c") \
    X(DIGEST_WINDOW, 8, "lists of hashes without an answer", \
      "our own wait; more answers than lists are a fault", "internal/node/digest.c") \
    X(DIGEST_DIFFS_MAX, 64, "lists of hashes of a peer to be compared", \
      "more are a fault", "internal/node/diff.c") \
    X(PUSH_SILENCE_MS, 30000, "ms without a byte of an offered body", \
      "cancelled; another holder is asked", "internal/node/push_body.c") \
    X(PUSH_SLOW_MS, 300000, "ms of an offered body, while others could bring it, or wait", \
      "cancelled; another holder is asked", "internal/node/push_body.c") \
    X(PUSH_KEEP_MS, 60000, "ms that the beginning of a cut body is kept", \
      "the body is asked for from its start", "internal/node/push_body.c") \
    X(FETCH_STALL_MS, 30000, "ms without a byte of a fetched body", \
      "cancelled; another holder is asked", "internal/node/fetch_peer.c") \
    X(FETCH_SLOW_MS, 30000, "ms of a fetched body, while another holder could be asked", \
      "cancelled; that one is asked", "internal/node/fetch.c") \
    X(FETCH_TRIES_MAX, 3, "transfers of a body from one holder that came to nothing", \
      "it is not asked again", "internal/node/fetch.c") \
    X(HLC_AHEAD_MS, 120000, "ms that a record is ahead of our clock", \
      "held back: neither stored nor passed on until then", "internal/node/sync.c") \
    X(TOMBSTONE_DAYS, 90, "days that a removal is remembered", \
      "forgotten by all at the next midnight (UTC)", "crypto/record.c") \
    X(GUEST_MESSAGES_PER_S, 200, "messages a second of a peer that is not keyed", \
      "it is not read for a while", "internal/node/quota.c") \
    X(GUEST_MESSAGES_BURST, 1000, "messages at once of a peer that is not keyed", \
      "it is not read for a while", "internal/node/quota.c") \
    X(GUEST_RECORDS_PER_S, 50, "records a second of a peer that is not keyed", \
      "it is not read for a while", "internal/node/quota.c") \
    X(GUEST_RECORDS_BURST, 1000, "records at once of a peer that is not keyed", \
      "it is not read for a while", "internal/node/quota.c") \
    X(STRIKES_MAX, 3, "faults of an identity", \
      "it is banned", "internal/node/strikes.c") \
    X(BAD_BODIES_A_STRIKE, 8, "blobs with the wrong hash of an identity", \
      "they count as one fault", "internal/node/strikes.c") \
    X(BAN_MS_MIN, 600000, "ms of a first ban", \
      "sessions end with GOODBYE 11; the next ban is twice as long", "internal/node/strikes.c") \
    X(BAN_MS_MAX, 86400000, "ms of a ban", \
      "longer ones are as long", "internal/node/strikes.c") \
    X(STRIKES_FORGET_MS, 86400000, "ms without a fault", \
      "the next one is the first again, and so is the next ban", "internal/node/strikes.c") \
    X(STRIKES_KNOWN_MAX, 256, "identities with faults", \
      "one that is not banned is forgotten, or the ban that ends first", \
      "internal/node/strikes.c") \
    X(STATIC_PEERS_MAX, 64, "configured addresses", \
      "refused by the settings", "internal/config.c") \
    X(LEARNED_PEERS_MAX, 64, "members dialled at addresses of their own records", \
      "further ones are not dialled", "transport/uv_reach.c") \
    X(LEARNED_ADDRESSES_MAX, 8, "addresses of a member", \
      "further ones are not dialled", "transport/uv_reach.c") \
    X(LEARNED_PORT_MIN, 1024, "lowest port of a member that is dialled", \
      "lower ones are not dialled", "transport/uv_reach.c") \
    X(LEARNED_WAIT_MS, 10000, "ms before the first dial of a learned address", \
      "drawn from 0 to this", "transport/uv_reach.c") \
    X(MEMBERS_MAX, 64, "nodes of a cluster", \
      "a further one is refused with GOODBYE 7", "internal/node/recognise.c") \
    X(MEMBERS_KNOWN_MAX, 256, "member records, expelled ones with them", \
      "further ones are refused", "internal/node/members.c") \
    X(GUESTS_MAX, 8, "sessions that came by an invite", \
      "a further one is refused with GOODBYE 7", "internal/cluster/guest.c") \
    X(GUEST_MS, 30000, "ms that such a session has to ask", \
      "closed with GOODBYE 9", "internal/cluster/guest.c") \
    X(GUEST_CONFIRM_MS, 300000, "ms that the operator has to confirm a guest", \
      "closed with GOODBYE 9", "internal/cluster/guest.c") \
    X(INVITES_MAX, 32, "open invites", \
      "a further one is refused", "crypto/keyring.c") \
    X(TOKEN_AHEAD_S_MAX, 86400, "s that a member's new token is dated ahead of our clock", \
      "it is not taken", "internal/cluster/token.c") \
    X(POLICY_MAX, 256, "nodes allowed or blocked by this one", \
      "a further decision is refused", "internal/node/policy.c") \
    X(LOG_BURST, 50, "lines at once about what strangers and bad peers do", \
      "then one a second; further ones are counted", "internal/base/log.c") \
    X(WATCHERS_MAX, 32, "clients that watch", \
      "a further one is refused", "internal/file/watch.c") \
    X(WATCH_WAITING_MAX, 1048576, "bytes of changes to be told to those that watch", \
      "further ones are only counted", "internal/file/watch.c") \
    X(VALUE_MAX, 59392, "bytes of a value", \
      "a longer one is refused", "crypto/body.c") \
    /* memory: the shares are those of the default mem_limit, and scale with it */ \
    X(MEM_LIMIT_MIB, 64, "MiB of buffers", \
      "mem_limit: work waits for memory", "internal/server/uv_server.c") \
    X(MEM_SHARE_CONNECTIONS_MIB, 24, "MiB for sessions", \
      "as large as a frame for each of SESSIONS_MAX", "transport/session_input.c") \
    X(MEM_SHARE_INBOUND_MIB, 16, "MiB for bodies from peers", \
      "nothing more is asked of them", "internal/server/uv_server.c") \
    X(MEM_SHARE_FILES_MIB, 12, "MiB for stores, gets and checks", \
      "they take turns", "internal/server/uv_server.c") \
    X(MEM_SHARE_OUTBOUND_MIB, 4, "MiB for bodies to peers", \
      "nothing more is read", "internal/server/uv_server.c") \
    X(MEM_SHARE_SQLITE_MIB, 8, "MiB of database pages", \
      "pages are read again", "internal/server/uv_server.c") \
    /* disk */ \
    X(DISK_LIMIT_NONE, 0, "bytes of blobs and records (0: no limit)", \
      "disk_limit: new ones are refused, exit 7", "storage/commit_plan.c") \
    X(RESERVE_MIB, 1024, "MiB kept free, or a 20th of the disk", \
      "new blobs are refused, exit 7", "storage/commit_plan.c") \
    X(RESERVE_FILES, 1024, "inodes kept free, or a 20th", \
      "new blob files are refused, exit 7", "storage/commit_plan.c") \
    X(COMMIT_BLOBS_MAX, 64, "blobs in tmp/ at once", \
      "further ones wait in memory", "storage/uv_committer.c") \
    X(COMMIT_BYTES_MAX, 33554432, "bytes in tmp/ at once", \
      "further ones wait in memory", "storage/uv_committer.c") \
    X(WAL_CHECKPOINT_BYTES, 67108864, "bytes of log, or a 64th of the disk", \
      "it is moved into vault.db", "storage/store.c") \
    X(SCAN_ROWS_MAX, 1000, "rows a reading job looks at", \
      "the next job goes on", "storage/store_blob.c") \
    /* processes and files */ \
    X(DESCRIPTORS_MIN, 64, "open files", \
      "with fewer nothing is started", "internal/server/descriptors.c") \
    X(POOL_THREADS_MAX, 16, "threads for jobs, or cores + 2", \
      "jobs wait", "internal/server/pool.c") \
    /* control socket */ \
    X(CONTROL_CLIENTS_MAX, 64, "clients", \
      "a further one waits; fewer with few open files", "internal/server/descriptors.c") \
    X(CONTROL_REQUESTS_MAX, 64, "open requests of a client", \
      "further ones are not read", "internal/server/control.c") \
    X(CONTROL_OUT_HIGH, 262144, "bytes of replies to a client", \
      "no more are made until it reads", "internal/server/control.c") \
    X(CONTROL_OUT_STOP, 1048576, "bytes of replies to a client", \
      "its requests are not read", "internal/server/control.c") \
    X(CONTROL_JSON_MAX, 65536, "bytes of a JSON frame", \
      "the connection is closed", "internal/server/control.c") \
    X(CONTROL_DATA_MAX, 65535, "bytes of a data frame", \
      "the connection is closed", "internal/server/control.c")
/* clang-format on */

enum {
#define X(name, value, unit, at_limit, enforced_by) PV_##name = (value),
    PV_LIMIT_LIST(X)
#undef X
};

struct pv_limit {
    const char *name; /* without PV_ */
    int64_t value;
    const char *unit, *at_limit, *enforced_by;
};
const struct pv_limit *pv_limits(size_t *count);

/* Times, sizes and windows at which nothing is refused. */
enum {
    /* ---- network ---- */
    PV_PING_IDLE_MS = 15000, /* quiet for so long: send PING */
    PV_SKEW_WARN_MS = 60000, /* a clock so far off is said in the log, and by doctor */
    PV_DIAL_MS_MIN = 1000,   /* back-off with full jitter */
    PV_DIAL_MS_MAX = 300000,
    PV_DIAL_CUT_MS_MAX = 16000, /* after a session that the network cut, */
    PV_DIAL_LATELY_MS = 600000, /* for so long */
    PV_SIMULTANEOUS_DIAL_MS = 10000,
    PV_CONNECT_STAGGER_MS = 300, /* without an answer: another address of the peer is asked, too */
    PV_LINGER_MS = 2000,         /* longest wait for GOODBYE to leave */
    PV_TWICE_MS = 5000,          /* an older session must answer so fast to prove it lives */
    PV_CLAIM_MS = 3600000,       /* what a peer claims of this node is shown for so long */
    PV_DIAL_STABLE_MS = 30000,   /* up for so long: the next back-off starts from the beginning */

    /* ---- files ---- */
    PV_BLOB_FILE_MIN = 65536,  /* blobs of at least so many bytes are files, smaller ones rows */
    PV_INGEST_WINDOW = 4,      /* chunks of one file being sealed or committed at once */
    PV_RETRIEVE_WINDOW = 4,    /* chunks of one file being read or fetched at once */
    PV_BLOB_SILENCE_MS = 5000, /* a fetch without bytes for so long goes to the next holder */
    PV_LEASE_HOURS = 72,
    PV_LEASE_FRESH_HOURS = 48, /* one that runs so long yet is not renewed */

    /* ---- control socket ---- */
    PV_STORE_WAIT_MS = 5000,         /* store without --copies: longest wait without progress */
    PV_STORE_COPIES_WAIT_MS = 30000, /* and with them */
};

#endif
