#include "internal/record_index.h"

#include "crypto/body.h"

#include <string.h>

/* Whoever made a counterpart says nothing but what the author did, who signed it. */
static bool states(const struct pv_body_author *author, const struct pv_record *rec)
{
    return author->hlc == rec->hlc && author->flags == (rec->flags & PV_RECORD_TOMBSTONE);
}

static enum pv_err index_file(struct pv_record_index *out, const struct pv_record *rec,
                              const uint8_t *plain, const struct pv_cluster_keys *keys)
{
    struct pv_file_body body;
    struct pv_id rid;
    enum pv_err err = pv_file_body_decode(&body, plain, rec->body_len, false);
    if (err == PV_OK && memcmp(body.author.pub, rec->author, PV_PUB_LEN) != 0) {
        err = pv_file_body_decode(&body, plain, rec->body_len, true);
        if (err != PV_OK || !states(&body.author, rec))
            return PV_E_CORRUPT;
    }
    if (err != PV_OK) /* of a later version: kept for those who can read it */
        return err == PV_E_UNSUPPORTED ? PV_OK : PV_E_CORRUPT;
    if (body.is_private)
        pv_rid_private(&rid, keys, body.private_salt);
    else
        pv_rid_file(&rid, keys, &body.sha256);
    out->has_prefix = (rec->flags & PV_RECORD_TOMBSTONE) == 0;
    out->prefix_tag = pv_key_prefix_tag(keys, body.sha256.b);
    return pv_id_equal(&rid, &rec->rid) ? PV_OK : PV_E_CORRUPT;
}

static enum pv_err index_name(struct pv_record_index *out, const struct pv_record *rec,
                              const uint8_t *plain, const struct pv_cluster_keys *keys)
{
    struct pv_name_body body;
    struct pv_id rid;
    enum pv_err err = pv_name_body_decode(&body, plain, rec->body_len, false);
    if (err == PV_OK && memcmp(body.author.pub, rec->author, PV_PUB_LEN) != 0) {
        err = pv_name_body_decode(&body, plain, rec->body_len, true);
        if (err != PV_OK || !states(&body.author, rec))
            return PV_E_CORRUPT;
    }
    if (err != PV_OK)
        return err == PV_E_UNSUPPORTED ? PV_OK : PV_E_CORRUPT;
    pv_rid_name(&rid, keys, body.name, body.name_len);
    out->has_link = !body.is_value && (rec->flags & PV_RECORD_TOMBSTONE) == 0;
    out->link_file_rid = body.file_rid;
    return pv_id_equal(&rid, &rec->rid) ? PV_OK : PV_E_CORRUPT;
}

enum pv_err pv_record_index(struct pv_record_index *out, const struct pv_record *rec,
                            const uint8_t *env, size_t len, const struct pv_keyring *keyring,
                            uint64_t wall_ms, uint8_t *plain)
{
    *out = (struct pv_record_index){.has_link = false};
    if (rec->type != PV_RECORD_FILE && rec->type != PV_RECORD_NAME)
        return PV_OK;
    const struct pv_cluster_keys *keys = pv_keyring_find(keyring, &rec->kid);
    if (keys == NULL)
        return PV_E_UNSUPPORTED;
    if (!pv_epoch_plausible(rec->epoch, wall_ms))
        return PV_E_CORRUPT;
    enum pv_err err = pv_record_open(plain, env, len, rec, keys);
    if (err != PV_OK)
        return err == PV_E_NOMEM ? err : PV_E_CORRUPT;
    return rec->type == PV_RECORD_FILE ? index_file(out, rec, plain, keys)
                                       : index_name(out, rec, plain, keys);
}

struct pv_commit_op pv_record_index_op(const struct pv_record_index *index, const uint8_t *env,
                                       size_t len)
{
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    op.u.record.env = env;
    op.u.record.len = len;
    op.u.record.has_link = index->has_link;
    op.u.record.link_file_rid = index->link_file_rid;
    op.u.record.has_prefix = index->has_prefix;
    op.u.record.prefix_tag = index->prefix_tag;
    return op;
}
