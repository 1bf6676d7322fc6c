#include "internal/file/meaning.h"

#include "internal/file/open_record.h"

enum pv_err pv_meaning_read(struct pv_meaning *m, uint8_t *plain, const char *name, size_t len,
                            const struct pv_job_context *ctx)
{
    struct pv_record rec;
    bool pending;
    *m = (struct pv_meaning){.what = PV_MEANS_NOTHING};
    enum pv_err err = pv_lookup_name_rid(&m->rid, name, len, ctx);
    if (err == PV_OK)
        err = pv_open_current(plain, &rec, &pending, &m->rid, ctx);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err == PV_OK && rec.type != PV_RECORD_NAME)
        err = PV_E_CORRUPT;
    if (err == PV_OK)
        err = pv_name_body_decode(&m->body, plain, rec.body_len, false);
    if (err != PV_OK)
        return err;
    m->hlc = rec.hlc;
    m->hash = rec.hash;
    if ((rec.flags & PV_RECORD_TOMBSTONE) != 0)
        m->was_value = m->body.is_value;
    else
        m->what = m->body.is_value ? PV_MEANS_VALUE : PV_MEANS_FILE;
    return PV_OK;
}

enum pv_err pv_meaning_is_value(bool *is, const char *name, size_t len,
                                const struct pv_job_context *ctx)
{
    struct pv_meaning m;
    uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    if (plain == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_meaning_read(&m, plain, name, len, ctx);
    *is = err == PV_OK && m.what == PV_MEANS_VALUE;
    pv_wipe(plain, PV_RECORD_BODY_MAX);
    pv_free(plain);
    return err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT ? PV_OK : err;
}

json_t *pv_meaning_describe(const struct pv_name_body *body, json_t *event)
{
    char hex[PV_ID_HEX_LEN + 1], author[PV_NODE_TEXT_LEN];
    struct pv_id sha256, node;
    pv_sha256(sha256.b, body->value, body->value_len);
    pv_id_hex(hex, &sha256);
    pv_node_id_of(&node, body->author.pub);
    pv_node_id_format(author, &node);
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:s}", "sha256", hex, "size", (json_int_t)body->value_len,
                  "written_ms", (json_int_t)pv_hlc_ms(body->author.hlc), "author", author);
    if (event == NULL || more == NULL || json_object_update(event, more) != 0) {
        json_decref(event);
        event = NULL;
    }
    json_decref(more);
    return event;
}
