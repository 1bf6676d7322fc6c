/*
 * Where the blobs of a file are, by what the stores of all running nodes say, byte for byte. The
 * only place that knows what placement promises.
 */
#include "tests/sim/sim.h"
#include "internal/file/open_record.h"

#include <stdlib.h>
#include <string.h>

/* Reads and checks a blob; to be freed. NULL: it is not here, or not good. */
static uint8_t *load(struct sim_node *n, const struct pv_id *id, size_t *len)
{
    struct pv_blob_info info;
    uint32_t size;
    if (!n->up || pv_store_blob(n->store, id, &info) != PV_OK)
        return NULL;
    uint8_t *blob = malloc(info.size + 1);
    PV_ASSERT(blob != NULL);
    if (pv_store_read(n->store, id, 0, blob, info.size, len, &size) == PV_OK &&
        pv_blob_check(blob, *len, id) == PV_OK)
        return blob;
    free(blob);
    return NULL;
}

bool sim_has_good(struct sim_node *n, const struct pv_id *id)
{
    size_t len;
    uint8_t *blob = load(n, id, &len);
    free(blob);
    return blob != NULL;
}

/* Depth first with a stack of entries. */
static bool walk(struct sim_node *n, const struct pv_entry *root,
                 struct pv_id ids[static SIM_BLOBS_MAX], size_t *count)
{
    struct pv_entry stack[SIM_BLOBS_MAX];
    size_t depth = 0;
    stack[depth++] = *root;
    *count = 0;
    while (depth > 0) {
        struct pv_entry e = stack[--depth];
        PV_ASSERT(*count < SIM_BLOBS_MAX);
        ids[(*count)++] = e.id;
        if (e.kind != PV_BLOB_NODE)
            continue;
        size_t len, payload_len, children;
        const uint8_t *payload;
        uint8_t *blob = load(n, &e.id, &len);
        bool good = blob != NULL &&
                    pv_blob_open(blob, len, e.dk, PV_BLOB_NODE, &payload, &payload_len) == PV_OK &&
                    pv_node_check(payload, payload_len, &e, &children) == PV_OK &&
                    depth + children <= SIM_BLOBS_MAX;
        for (size_t i = 0; good && i < children; i++)
            good = pv_entry_decode(&stack[depth++], payload + i * PV_ENTRY_LEN) == PV_OK;
        free(blob);
        if (!good)
            return false;
    }
    return true;
}

static bool blobs_at(struct sim_node *n, unsigned content, struct pv_id ids[static SIM_BLOBS_MAX],
                     size_t *count)
{
    static uint8_t plain[PV_RECORD_BODY_MAX];
    struct pv_file_body body;
    struct pv_record rec;
    struct pv_id rid;
    bool pending;
    pv_rid_file(&rid, pv_keyring_active(&n->keyring), &n->w->contents[content].sha256);
    if (pv_open_live(plain, &rec, &pending, &rid, &n->jobs) != PV_OK ||
        pv_file_body_decode(&body, plain, rec.body_len, true) != PV_OK)
        return false;
    *count = 0;
    return body.is_inline || walk(n, &body.root, ids, count);
}

bool sim_blobs_of(struct sim_world *w, unsigned content, struct pv_id ids[static SIM_BLOBS_MAX],
                  size_t *count)
{
    for (unsigned i = 0; i < w->plan->nodes; i++)
        if (w->nodes[i].up && w->nodes[i].core != NULL &&
            blobs_at(&w->nodes[i], content, ids, count))
            return true;
    return false;
}

bool sim_copies_ok(struct sim_world *w, char why[static SIM_CAUSE_LEN])
{
    struct pv_id ids[SIM_BLOBS_MAX];
    unsigned wanted = w->plan->nodes < 3 ? w->plan->nodes : 3;
    size_t count;
    for (unsigned i = 0; i < w->plan->nodes; i++) /* others take its place hours later */
        wanted -= w->nodes[i].dead_for_good;
    /* After days without its record a blob may have been collected at one node, while the others
     * go on thinking that it is there: until they have asked, within 30 days. */
    if (w->leap_us > 0 && wanted > 1)
        wanted--;
    for (unsigned c = 0; c < SIM_CONTENTS; c++) {
        if (!sim_must_live(w, c))
            continue;
        if (!sim_blobs_of(w, c, ids, &count)) {
            (void)snprintf(why, SIM_CAUSE_LEN, "no node knows the tree of content %u", c);
            return false;
        }
        for (size_t k = 0; k < count; k++) {
            unsigned copies = 0;
            for (unsigned i = 0; i < w->plan->nodes; i++)
                copies += sim_has_good(&w->nodes[i], &ids[k]);
            if (copies < wanted) {
                (void)snprintf(why, SIM_CAUSE_LEN, "a blob of content %u has %u good copies", c,
                               copies);
                return false;
            }
        }
    }
    return true;
}

static bool knows_as_much(struct sim_node *n, struct sim_node *other)
{
    static struct pv_store_bucket mine[PV_STORE_BUCKETS], theirs[PV_STORE_BUCKETS];
    if (other == n || !other->up || other->core == NULL)
        return false;
    pv_store_digest(n->store, mine);
    pv_store_digest(other->store, theirs);
    for (size_t i = 0; i < PV_STORE_BUCKETS; i++)
        if (mine[i].count != theirs[i].count ||
            memcmp(mine[i].sum, theirs[i].sum, sizeof mine[i].sum) != 0)
            return false;
    return true;
}

bool sim_can_spare(struct sim_world *w, const struct sim_node *spared)
{
    struct sim_node *n = &w->nodes[spared->index];
    struct pv_store_counts counts;
    struct pv_id ids[SIM_BLOBS_MAX];
    size_t count;
    bool known = false;
    if (!n->up || n->core == NULL || pv_store_counts(n->store, &counts) != PV_OK ||
        counts.pending > 0)
        return false;
    for (unsigned i = 0; i < w->plan->nodes; i++)
        known = known || knows_as_much(n, &w->nodes[i]);
    for (unsigned c = 0; known && c < SIM_CONTENTS; c++) {
        if (w->contents[c].bytes == NULL || !blobs_at(n, c, ids, &count))
            continue;
        for (size_t k = 0; known && k < count; k++) {
            bool elsewhere = false;
            for (unsigned i = 0; i < w->plan->nodes && !elsewhere; i++)
                elsewhere = i != n->index && sim_has_good(&w->nodes[i], &ids[k]);
            known = elsewhere;
        }
    }
    for (unsigned i = 0; known && i < w->op_count; i++) /* what is being written is not there yet */
        known = w->ops[i].state != SIM_OP_OPEN || w->ops[i].node != n->index;
    return known;
}
