/* What tests of nodes put into stores, and how they look at them. */
#include "tests/support/node/nodes.h"

#include <stdlib.h>
#include <string.h>

#define MUST(call)                     \
    do {                               \
        enum pv_err must_err_ = call;  \
        PV_ASSERT(must_err_ == PV_OK); \
    } while (0)

static void no_done(struct pv_commit *c)
{
    (void)c;
}

void pvt_commit(struct pvt_node *n, struct pv_commit_op *ops, size_t count)
{
    struct pv_commit commit = {.ops = ops, .count = count, .done = no_done};
    pv_commit_batch(n->store, &commit);
    PV_ASSERT(commit.err == PV_OK);
}

pv_hlc pvt_hlc(struct pvt_node *n)
{
    pv_hlc hlc;
    MUST(pv_node_next_hlc(n->node, &hlc));
    return hlc;
}

static void seal(struct pvt_record *out, struct pvt_node *n, struct pv_record_draft *draft)
{
    uint8_t salt[32];
    struct pv_record rec;
    bool clear = (draft->flags & PV_RECORD_CLEAR) != 0;
    draft->epoch = clear ? 0 : pv_epoch_of(n->env.wall_ms);
    pv_env_random(&n->env.env, salt, sizeof salt);
    MUST(pv_record_seal(out->env, &out->len, draft, pv_keyring_active(&n->keyring),
                        n->identity.seed, salt));
    MUST(pv_record_parse(&rec, out->env, out->len));
    out->rid = rec.rid;
    out->hash = rec.hash;
}

static void seal_file(struct pvt_record *out, struct pvt_node *n, struct pv_file_body *body,
                      pv_hlc hlc)
{
    uint8_t *bytes = malloc(PV_RECORD_BODY_MAX);
    PV_ASSERT(bytes != NULL);
    struct pv_record_draft draft = {.type = PV_RECORD_FILE, .hlc = hlc, .body = bytes};
    body->author.hlc = hlc;
    pv_rid_file(&draft.rid, pv_keyring_active(&n->keyring), &body->sha256);
    MUST(pv_file_body_encode(bytes, &draft.body_len, body, n->identity.seed));
    seal(out, n, &draft);
    free(bytes);
}

void pvt_seal_file(struct pvt_record *out, struct pvt_node *n, const char *text, pv_hlc hlc)
{
    struct pv_file_body body = {
        .size = strlen(text), .is_inline = true, .data = (const uint8_t *)text};
    pv_sha256(body.sha256.b, text, strlen(text));
    seal_file(out, n, &body, hlc);
}

void pvt_seal_file_root(struct pvt_record *out, struct pvt_node *n, const struct pv_entry *root,
                        pv_hlc hlc)
{
    struct pv_file_body body = {.size = root->length, .root = *root};
    pv_sha256(body.sha256.b, root->id.b, PV_ID_LEN); /* any key will do here */
    seal_file(out, n, &body, hlc);
}

void pvt_seal_name(struct pvt_record *out, struct pvt_node *n, const char *name,
                   const struct pv_id *file_rid, pv_hlc hlc)
{
    uint8_t *bytes = malloc(PV_RECORD_BODY_MAX);
    PV_ASSERT(bytes != NULL);
    struct pv_record_draft draft = {.type = PV_RECORD_NAME, .hlc = hlc, .body = bytes};
    struct pv_name_body body = {.name = name, .name_len = strlen(name), .file_rid = *file_rid};
    body.author.hlc = hlc;
    pv_rid_name(&draft.rid, pv_keyring_active(&n->keyring), name, strlen(name));
    MUST(pv_name_body_encode(bytes, &draft.body_len, &body, n->identity.seed));
    seal(out, n, &draft);
    free(bytes);
}

void pvt_seal_value(struct pvt_record *out, struct pvt_node *n, const char *name, const char *value,
                    pv_hlc hlc)
{
    uint8_t *bytes = malloc(PV_RECORD_BODY_MAX);
    PV_ASSERT(bytes != NULL);
    struct pv_record_draft draft = {.type = PV_RECORD_NAME, .hlc = hlc, .body = bytes};
    struct pv_name_body body = {.name = name,
                                .name_len = strlen(name),
                                .is_value = true,
                                .value = (const uint8_t *)value,
                                .value_len = strlen(value)};
    body.author.hlc = hlc;
    pv_rid_name(&draft.rid, pv_keyring_active(&n->keyring), name, strlen(name));
    MUST(pv_name_body_encode(bytes, &draft.body_len, &body, n->identity.seed));
    seal(out, n, &draft);
    free(bytes);
}

void pvt_seal_member(struct pvt_record *out, struct pvt_node *author, const struct pvt_node *of,
                     uint32_t generation, bool expelled, pv_hlc hlc)
{
    uint8_t *bytes = malloc(PV_RECORD_BODY_MAX);
    PV_ASSERT(bytes != NULL);
    struct pv_record_draft draft = {
        .type = PV_RECORD_MEMBER, .flags = PV_RECORD_CLEAR, .hlc = hlc, .body = bytes};
    struct pv_member_body body = {
        .generation = generation, .expelled = expelled, .role = PV_ROLE_KEYED, .weight = 1};
    memcpy(body.subject, of->identity.pub, PV_PUB_LEN);
    pv_rid_clear(&draft.rid, PV_RECORD_MEMBER, of->identity.node_id.b, PV_ID_LEN);
    MUST(pv_member_body_encode(bytes, &draft.body_len, &body));
    seal(out, author, &draft);
    free(bytes);
}

void pvt_put(struct pvt_node *n, const struct pvt_record *rec, bool pending)
{
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = rec->env;
    op.u.record.len = rec->len;
    op.u.record.pending = pending;
    pvt_commit(n, &op, 1);
}

void pvt_put_blob(struct pvt_node *n, const char *text, struct pv_entry *out)
{
    size_t len = strlen(text);
    struct pv_blob_sealed sealed;
    uint8_t *buf = malloc(pv_blob_len(len));
    PV_ASSERT(buf != NULL);
    memcpy(buf + PV_BLOB_PAYLOAD_OFFSET, text, len);
    MUST(pv_blob_seal(&sealed, pv_keyring_active(&n->keyring), 0, PV_BLOB_CHUNK, buf, len, NULL));
    *out = (struct pv_entry){.id = sealed.id, .length = len, .kind = PV_BLOB_CHUNK};
    memcpy(out->dk, sealed.dk, PV_KEY_LEN);
    struct pv_commit_op op = {.type = PV_COMMIT_BLOB};
    op.u.blob.id = sealed.id;
    op.u.blob.kind = PV_BLOB_CHUNK;
    op.u.blob.bytes = buf;
    op.u.blob.len = sealed.blob_len;
    pvt_commit(n, &op, 1);
    free(buf);
}

bool pvt_has_record(struct pvt_node *n, const struct pvt_record *rec)
{
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    size_t len;
    PV_ASSERT(env != NULL);
    enum pv_err err = pv_store_record_by_hash(n->store, &rec->hash, env, &len);
    PV_ASSERT(err == PV_OK || err == PV_E_NOT_FOUND);
    free(env);
    return err == PV_OK;
}

bool pvt_is_pending(struct pvt_node *n, const struct pv_id *rid)
{
    uint8_t *env = malloc(PV_RECORD_LEN_MAX);
    size_t len;
    bool pending;
    PV_ASSERT(env != NULL);
    MUST(pv_store_record(n->store, rid, env, &len, &pending));
    free(env);
    return pending;
}

bool pvt_same_digest(struct pvt_node *a, struct pvt_node *b)
{
    size_t size = PV_STORE_BUCKETS * sizeof(struct pv_store_bucket);
    struct pv_store_bucket *x = malloc(size), *y = malloc(size);
    PV_ASSERT(x != NULL && y != NULL);
    pv_store_digest(a->store, x);
    pv_store_digest(b->store, y);
    bool same = memcmp(x, y, size) == 0;
    free(x);
    free(y);
    return same;
}

bool pvt_all_agree(struct pvt_nodes *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        for (unsigned k = 0; k < net->count; k++)
            if (i != k && net->nodes[i].up && net->nodes[k].up &&
                !pvt_same_digest(&net->nodes[i], &net->nodes[k]))
                return false;
        if (net->nodes[i].up && pv_members_unheard(net->nodes[i].node) != 0)
            return false;
    }
    return true;
}
