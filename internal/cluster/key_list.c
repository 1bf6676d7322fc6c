/* key list: one walk over all records counts what is sealed under which key. */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/rotation.h"

#include <string.h>

struct counting {
    struct pv_cluster *cluster;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    uint64_t seq;
    bool end;
    struct pv_kid kids[PV_KEYRING_KEYS_MAX];
    size_t kid_count;
    struct under {
        uint64_t files, names, tombstones;
    } under[PV_KEYRING_KEYS_MAX + 1]; /* the last: under keys that we have not got */
};

static bool count(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct counting *c = arg;
    struct pv_record rec;
    size_t at = 0;
    (void)pending;
    if (pv_record_parse(&rec, env, len) != PV_OK ||
        (rec.type != PV_RECORD_FILE && rec.type != PV_RECORD_NAME))
        return true;
    while (at < c->kid_count && memcmp(c->kids[at].b, rec.kid.b, PV_KID_LEN) != 0)
        at++;
    struct under *u = &c->under[at];
    bool is_dead = (rec.flags & PV_RECORD_TOMBSTONE) != 0;
    *(is_dead ? &u->tombstones : rec.type == PV_RECORD_FILE ? &u->files : &u->names) += 1;
    return true;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct counting *c = PV_CONTAINER_OF(job, struct counting, job);
    job->err = pv_store_records_since(ctx->store, 0, &c->seq, PV_SCAN_ROWS_MAX, count, c, &c->end);
}

static json_t *describe(const struct counting *c, size_t at)
{
    const struct pv_keyring *k = c->cluster->config.keyring;
    const struct pv_keyring_key *key = pv_keyring_entry(k, &c->kids[at]);
    const struct under *u = &c->under[at];
    char kid[2 * PV_KID_LEN + 1];
    pv_hex_encode(kid, c->kids[at].b, PV_KID_LEN);
    if (key == NULL)
        return NULL; /* dropped meanwhile */
    uint64_t retires_s = pv_rotation_retires_s(c->cluster->rotation, &c->kids[at]);
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:b, s:I, s:I, s:I}", "key", kid, "state", pv_key_state_name(key->state),
        "created_ms", (json_int_t)key->created_s * 1000, "dedup",
        memcmp(k->dedup_kid.b, c->kids[at].b, PV_KID_LEN) == 0, "files", (json_int_t)u->files,
        "names", (json_int_t)u->names, "tombstones", (json_int_t)u->tombstones);
    if (o != NULL && retires_s != 0)
        json_object_set_new(o, "retires_ms", json_integer((json_int_t)retires_s * 1000));
    return o;
}

static void answer(struct counting *c)
{
    struct pv_rotation_progress p;
    const struct under *u = &c->under[c->kid_count];
    json_t *keys = json_array();
    pv_rotation_progress(c->cluster->rotation, &p);
    for (size_t i = 0; i < c->kid_count; i++) {
        json_t *o = describe(c, i);
        if (o != NULL)
            json_array_append_new(keys, o);
    }
    pv_request_ok(c->rq, json_pack("{s:o, s:s, s:I, s:I}", "keys", keys, "phase", p.phase, "left",
                                   (json_int_t)p.left, "unknown",
                                   (json_int_t)(u->files + u->names + u->tombstones)));
}

static void counted(struct pv_job *job)
{
    struct counting *c = PV_CONTAINER_OF(job, struct counting, job);
    struct pv_node *n = pv_cluster_node(c->cluster);
    if (c->rq != NULL && job->err == PV_OK && !c->end && !pv_node_closing(n)) {
        c->job = (struct pv_job){.run = run, .done = counted};
        pv_node_submit(n, &c->job);
        return;
    }
    if (c->rq != NULL && job->err != PV_OK)
        pv_request_fail(c->rq, pv_exit_of(job->err), "cannot read the records: %s",
                        pv_err_text(job->err));
    else if (c->rq != NULL)
        answer(c);
    pv_free(c);
}

static void on_cancel(struct pv_request *rq)
{
    ((struct counting *)rq->op)->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

void pv_query_key_list(struct pv_cluster *c, struct pv_request *rq)
{
    const struct pv_keyring *k = c->config.keyring;
    if (pv_keyring_active(k) == NULL) {
        pv_request_fail(rq, PV_EXIT_DENIED, "a blind node has no cluster key: ask a keyed one");
        return;
    }
    struct counting *counting = pv_calloc(1, sizeof *counting);
    if (counting == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    counting->cluster = c;
    counting->rq = rq;
    counting->kid_count = k->key_count;
    for (size_t i = 0; i < k->key_count; i++)
        counting->kids[i] = k->keys[i].keys.kid;
    rq->op = counting;
    rq->ops = &ops;
    counting->job = (struct pv_job){.run = run, .done = counted};
    pv_node_submit(pv_cluster_node(c), &counting->job);
}
