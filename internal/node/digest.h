/*
 * The digest exchange of one session: finds the records that only one side has, and sends ours.
 *
 *   A: ROOT ->                      on attach, hourly, and when records have settled
 *                  <- ROOT          equal: both agree, the end
 *                  <- BUCKETS       different: all 4 096, in two messages (the members first)
 *   A: HASHES of a bucket ->        for each that differs, at most PV_DIGEST_WINDOW unanswered
 *                  <- RECORD        what A lacks
 *                  <- HASHES        of the same bucket, always
 *   A: RECORD ->                    what B lacks
 *   A: ROOT ->                      when all are answered and sent: again, until equal
 *
 * When two ROOTs cross, the smaller node id sends its buckets. A list of hashes is ascending and
 * may span messages, which are consecutive. A list that comes while ours of the same bucket is not
 * answered is the answer to it (so when two lists cross, both are done); any other is answered, but
 * no more of them than the BUCKETS we sent allow. A list is not sent again before it was answered.
 * Who has said ROOT or BUCKETS and does not agree a little later says ROOT again, at growing
 * intervals: two ROOTs that come close together are judged as one, and the other side may take them
 * for its answer. An equal ROOT that comes behind our answer to the same is taken for one, too, or
 * a ROOT too many would go back and forth for ever. Rounds that follow one another without gain are
 * limited, and so are BUCKETS an hour: a peer that never agrees, or does so now and then, costs
 * little. Reading is never paused for want of room to send: two nodes doing that would wait for
 * each other.
 */
#ifndef PV_NODE_DIGEST_H
#define PV_NODE_DIGEST_H

#include "internal/node/node_private.h"

enum {
    PV_DIGEST_ROUNDS_MAX = 8,
    PV_DIGEST_ROUND_MS = 250,        /* between a round and the next, doubled each time */
    PV_DIGEST_SETTLE_MAX_MS = 60000, /* however long records keep coming in */
    PV_DIGEST_BUCKETS_MAX = 32,      /* times an hour that ours are sent, without gain */
    PV_DIGEST_RETRIES_MAX = 6,       /* after 2, 4, 8 ... 64 s */
    PV_DIGEST_ANSWER_MS = 30000,     /* what has not been answered by then will not be */
};

struct pv_bucket_set {
    uint64_t bits[PV_DIGEST_BUCKETS / 64];
    unsigned count;
};

enum pv_list_role {                   /* of a list that came */
                    PV_LIST_QUESTION, /* is to be answered with ours */
                    PV_LIST_ANSWER,   /* to ours */
                    PV_LIST_STRAY, /* is not to be answered: nothing allowed it, or not any more */
};

struct pv_digest {
    bool agrees;
    uint64_t compare_at_ms, hourly_at_ms; /* mono */
    bool settling;                        /* records came in since the last comparison */
    uint64_t settling_since_ms;
    uint64_t retry_at_ms; /* not agreed by then: the other side thinks that we do */
    unsigned rounds, buckets_sent, retries; /* without gain */

    bool root_running, send_root, have_theirs;
    bool root_sent; /* and not answered yet */
    uint64_t root_sent_ms;
    uint8_t theirs[PV_HASH_LEN];
    bool echoed; /* we answered the equal root before this one */
    uint8_t echo[PV_HASH_LEN];
    uint8_t buckets_root[PV_HASH_LEN]; /* of the buckets that were sent last */
    bool members_sent;

    uint64_t active_ms;           /* last step of the round */
    bool in_round;                /* we got their buckets, and send lists */
    struct pv_bucket_set to_list; /* buckets that differ: our list is to be sent */
    unsigned lists_open;          /* of this round: sent, not answered */
    struct pv_bucket_set listed;  /* sent, not answered, in whatever round */
    uint64_t listed_ms;           /* when the last of them began to be sent */
    struct pv_bucket_set to_answer;
    unsigned answers_left;

    bool list_running, list_open, list_is_answer; /* the list being sent */
    uint16_t list_bucket;
    struct pv_id list_after;
    bool list_began;

    bool in_open; /* the list being received */
    enum pv_list_role in_role;
    uint16_t in_bucket;
    struct pv_id in_after;
    struct pv_list diffs; /* struct diff, the first may be running */
    unsigned diff_count;
    bool diff_running;
};

struct pv_batch; /* sync.c: records that came in and are verified together */

struct pv_sync_peer {
    struct pv_digest digest;
    struct pv_batch *open; /* not yet submitted */
    unsigned jobs;         /* at PV_SYNC_JOBS_MAX the peer is not read */
};
/* Jobs for a message just read, which need nothing but our disk to end. */
void pv_sync_job_began(struct pv_peer *p);
void pv_sync_job_ended(struct pv_peer *p);

void pv_digest_attach(struct pv_peer *p);
/* m: decoded into by pv_digest_on_message; large, shared by all peers. */
void pv_digest_on_message(struct pv_peer *p, struct pv_rd *r, struct pv_msg_digest *m);
void pv_digest_pump(struct pv_peer *p); /* goes on sending when the link is writable */
/* Records came in, or p missed a broadcast: compare again when it has been quiet for a while, or
 * after a longer one. */
void pv_digest_settle(struct pv_peer *p);
void pv_digest_gained(struct pv_peer *p); /* it gave us something: count rounds anew */
uint64_t pv_digest_deadline_ms(const struct pv_peer *p);
void pv_digest_tick(struct pv_peer *p);
void pv_digest_free(struct pv_peer *p);

/* diff.c: lists in. Takes part of a list; pv_digest_list_done is called when it was the last. */
void pv_diff_add(struct pv_peer *p, const struct pv_msg_digest *m);
void pv_diff_pump(struct pv_peer *p);
void pv_diff_free_all(struct pv_peer *p);
void pv_digest_list_done(struct pv_peer *p, uint16_t bucket, enum pv_list_role role);

static inline void pv_bucket_set_add(struct pv_bucket_set *s, unsigned bucket)
{
    uint64_t bit = UINT64_C(1) << bucket % 64;
    s->count += (s->bits[bucket / 64] & bit) == 0;
    s->bits[bucket / 64] |= bit;
}

static inline bool pv_bucket_set_has(const struct pv_bucket_set *s, unsigned bucket)
{
    return (s->bits[bucket / 64] >> bucket % 64 & 1) != 0;
}

static inline bool pv_bucket_set_remove(struct pv_bucket_set *s, unsigned bucket)
{
    uint64_t bit = UINT64_C(1) << bucket % 64;
    bool was = (s->bits[bucket / 64] & bit) != 0;
    s->count -= was;
    s->bits[bucket / 64] &= ~bit;
    return was;
}

#endif
