/*
 * Every decoder stands behind its encoder. A decoder reads the fields, takes a list only when all
 * of it is there (pv_rd_count), and ends with pv_rd_end, so that a body that is short, long or out
 * of range gives PV_E_PROTOCOL whatever the order of its faults. Lists are decoded into the
 * caller's array, which has room for the maximum of its message. DIGEST is in msg_digest.c.
 */
#include "transport/msg.h"
#include "crypto/record.h"
#include "internal/base/mem.h"

enum {
    OFFER_LEN = PV_ID_LEN + 1 + 4,
    WANT_LEN = PV_ID_LEN + 4 + 4,
    PROOF_LEN = PV_KID_LEN + 32,
};

const char *pv_msg_name(uint8_t type)
{
    static const char *const names[] = {
        [PV_MSG_HELLO] = "HELLO",     [PV_MSG_PING] = "PING",     [PV_MSG_PONG] = "PONG",
        [PV_MSG_STORE] = "STORE",     [PV_MSG_WANT] = "WANT",     [PV_MSG_STORED] = "STORED",
        [PV_MSG_GET] = "GET",         [PV_MSG_FOUND] = "FOUND",   [PV_MSG_NOT_FOUND] = "NOT_FOUND",
        [PV_MSG_FETCH] = "FETCH",     [PV_MSG_CANCEL] = "CANCEL", [PV_MSG_FULL] = "FULL",
        [PV_MSG_LOST] = "LOST",       [PV_MSG_DIGEST] = "DIGEST", [PV_MSG_RECORD] = "RECORD",
        [PV_MSG_TOKEN] = "TOKEN",     [PV_MSG_JOIN] = "JOIN",     [PV_MSG_ERROR] = "ERROR",
        [PV_MSG_GOODBYE] = "GOODBYE", [PV_MSG_KEY] = "KEY",
    };
    return type < PV_COUNT(names) && names[type] != NULL ? names[type] : "?";
}

const char *pv_goodbye_text(uint8_t reason)
{
    static const char *const texts[] = {
        [0] = "connection lost",
        [PV_BYE_SHUTDOWN] = "shutting down",
        [PV_BYE_DUPLICATE] = "another connection of the same two nodes is kept",
        [PV_BYE_SELF] = "connected to itself",
        [PV_BYE_CLUSTER_KEY] = "other cluster key",
        [PV_BYE_MEMBERSHIP] = "not a member",
        [PV_BYE_TWICE] = "this identity runs twice",
        [PV_BYE_LIMIT] = "too many connections",
        [PV_BYE_PROTOCOL] = "protocol error",
        [PV_BYE_IDLE] = "idle",
        [PV_BYE_RENEW] = "session reached its age",
        [PV_BYE_BANNED] = "banned for a while, because of faults before",
    };
    return reason < PV_COUNT(texts) ? texts[reason] : "unknown reason";
}

/* ---- shared pieces ---- */

static void put_ids(struct pv_wr *w, const struct pv_id *ids, size_t count)
{
    PV_ASSERT(count <= PV_MSG_IDS_MAX);
    pv_wr_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        pv_wr_bytes(w, ids[i].b, PV_ID_LEN);
}

static size_t get_ids(struct pv_rd *r, struct pv_id *ids)
{
    size_t count = pv_rd_count(r, pv_rd_u16(r), PV_ID_LEN, PV_MSG_IDS_MAX);
    for (size_t i = 0; i < count; i++)
        pv_rd_copy(r, ids[i].b, PV_ID_LEN);
    return count;
}

/* ---- HELLO ---- */

void pv_msg_put_hello(struct pv_wr *w, const struct pv_msg_hello *m)
{
    PV_ASSERT(m->proof_count <= PV_HELLO_PROOFS_MAX);
    pv_wr_u8(w, PV_MSG_HELLO);
    pv_wr_u16(w, m->version);
    pv_wr_u32(w, m->features);
    pv_wr_u8(w, m->role);
    pv_wr_bytes(w, m->store_uuid, sizeof m->store_uuid);
    pv_wr_u64(w, m->open_count);
    pv_wr_bytes(w, m->boot_random, sizeof m->boot_random);
    pv_wr_u16(w, m->listen_port);
    pv_wr_u8(w, m->proof_count);
    for (size_t i = 0; i < m->proof_count; i++) {
        pv_wr_bytes(w, m->proofs[i].kid.b, PV_KID_LEN);
        pv_wr_bytes(w, m->proofs[i].proof, sizeof m->proofs[i].proof);
    }
}

enum pv_err pv_msg_get_hello(struct pv_rd *r, struct pv_msg_hello *m)
{
    struct pv_msg_hello in = {.version = pv_rd_u16(r)};
    in.features = pv_rd_u32(r);
    in.role = pv_rd_u8(r);
    pv_rd_copy(r, in.store_uuid, sizeof in.store_uuid);
    in.open_count = pv_rd_u64(r);
    pv_rd_copy(r, in.boot_random, sizeof in.boot_random);
    in.listen_port = pv_rd_u16(r);
    in.proof_count = (uint8_t)pv_rd_count(r, pv_rd_u8(r), PROOF_LEN, PV_HELLO_PROOFS_MAX);
    for (size_t i = 0; i < in.proof_count; i++) {
        pv_rd_copy(r, in.proofs[i].kid.b, PV_KID_LEN);
        pv_rd_copy(r, in.proofs[i].proof, sizeof in.proofs[i].proof);
    }
    if (in.version == 0 || (in.role != PV_ROLE_KEYED && in.role != PV_ROLE_BLIND))
        return PV_E_PROTOCOL;
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK)
        *m = in;
    return err;
}

/* ---- PING, PONG ---- */

void pv_msg_put_ping(struct pv_wr *w, uint8_t type, const struct pv_msg_ping *m)
{
    PV_ASSERT(type == PV_MSG_PING || type == PV_MSG_PONG);
    pv_wr_u8(w, type);
    pv_wr_u64(w, m->cookie);
    pv_wr_u64(w, m->wall_ms);
}

enum pv_err pv_msg_get_ping(struct pv_rd *r, struct pv_msg_ping *m)
{
    struct pv_msg_ping in = {.cookie = pv_rd_u64(r)};
    in.wall_ms = pv_rd_u64(r);
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK)
        *m = in;
    return err;
}

/* ---- STORE ---- */

void pv_msg_put_store(struct pv_wr *w, const struct pv_offer *offers, size_t count)
{
    PV_ASSERT(count <= PV_MSG_IDS_MAX);
    pv_wr_u8(w, PV_MSG_STORE);
    pv_wr_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        pv_wr_bytes(w, offers[i].id.b, PV_ID_LEN);
        pv_wr_u8(w, offers[i].kind);
        pv_wr_u32(w, offers[i].size);
    }
}

enum pv_err pv_msg_get_store(struct pv_rd *r, struct pv_offer *offers, size_t *count)
{
    size_t n = pv_rd_count(r, pv_rd_u16(r), OFFER_LEN, PV_MSG_IDS_MAX);
    for (size_t i = 0; i < n; i++) {
        pv_rd_copy(r, offers[i].id.b, PV_ID_LEN);
        offers[i].kind = pv_rd_u8(r);
        offers[i].size = pv_rd_u32(r);
        if (offers[i].kind > PV_BLOB_NODE || offers[i].size < PV_BLOB_LEN_MIN ||
            offers[i].size > PV_BLOB_LEN_MAX)
            return PV_E_PROTOCOL;
    }
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK)
        *count = n;
    return err;
}

/* ---- WANT, FETCH ---- */

void pv_msg_put_wants(struct pv_wr *w, uint8_t type, const struct pv_want *wants, size_t count)
{
    PV_ASSERT((type == PV_MSG_WANT || type == PV_MSG_FETCH) && count <= PV_MSG_WANTS_MAX);
    pv_wr_u8(w, type);
    pv_wr_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        pv_wr_bytes(w, wants[i].id.b, PV_ID_LEN);
        pv_wr_u32(w, wants[i].offset);
        pv_wr_u32(w, wants[i].stream);
    }
}

enum pv_err pv_msg_get_wants(struct pv_rd *r, struct pv_want *wants, size_t *count)
{
    size_t n = pv_rd_count(r, pv_rd_u16(r), WANT_LEN, PV_MSG_WANTS_MAX);
    for (size_t i = 0; i < n; i++) {
        pv_rd_copy(r, wants[i].id.b, PV_ID_LEN);
        wants[i].offset = pv_rd_u32(r);
        wants[i].stream = pv_rd_u32(r);
        if (wants[i].offset >= PV_BLOB_LEN_MAX)
            return PV_E_PROTOCOL;
    }
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK)
        *count = n;
    return err;
}

/* ---- STORED ---- */

void pv_msg_put_stored(struct pv_wr *w, uint8_t what, const struct pv_id *ids, size_t count)
{
    PV_ASSERT(what == PV_STORED_BLOBS || what == PV_STORED_RECORDS);
    pv_wr_u8(w, PV_MSG_STORED);
    pv_wr_u8(w, what);
    put_ids(w, ids, count);
}

enum pv_err pv_msg_get_stored(struct pv_rd *r, uint8_t *what, struct pv_id *ids, size_t *count)
{
    uint8_t kind = pv_rd_u8(r);
    size_t n = get_ids(r, ids);
    if (kind != PV_STORED_BLOBS && kind != PV_STORED_RECORDS)
        return PV_E_PROTOCOL;
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK) {
        *what = kind;
        *count = n;
    }
    return err;
}

/* ---- GET, FOUND, NOT_FOUND, FULL, LOST ---- */

void pv_msg_put_ids(struct pv_wr *w, uint8_t type, uint32_t request, const struct pv_id *ids,
                    size_t count)
{
    PV_ASSERT(type == PV_MSG_GET || type == PV_MSG_FOUND || type == PV_MSG_NOT_FOUND ||
              type == PV_MSG_FULL || type == PV_MSG_LOST);
    pv_wr_u8(w, type);
    pv_wr_u32(w, request);
    put_ids(w, ids, count);
}

enum pv_err pv_msg_get_ids(struct pv_rd *r, uint32_t *request, struct pv_id *ids, size_t *count)
{
    uint32_t number = pv_rd_u32(r);
    size_t n = get_ids(r, ids);
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK) {
        *request = number;
        *count = n;
    }
    return err;
}

/* ---- CANCEL ---- */

void pv_msg_put_cancel(struct pv_wr *w, uint32_t stream)
{
    pv_wr_u8(w, PV_MSG_CANCEL);
    pv_wr_u32(w, stream);
}

enum pv_err pv_msg_get_cancel(struct pv_rd *r, uint32_t *stream)
{
    uint32_t number = pv_rd_u32(r);
    enum pv_err err = pv_rd_end(r);
    if (err == PV_OK)
        *stream = number;
    return err;
}

/* ---- RECORD ---- */

void pv_msg_begin_records(struct pv_wr *w)
{
    pv_wr_u8(w, PV_MSG_RECORD);
}

void pv_msg_add_record(struct pv_wr *w, const uint8_t *env, size_t len)
{
    PV_ASSERT(len >= PV_RECORD_LEN_MIN && len <= PV_RECORD_LEN_MAX);
    pv_wr_u32(w, (uint32_t)len);
    pv_wr_bytes(w, env, len);
}

enum pv_err pv_msg_next_record(struct pv_rd *r, const uint8_t **env, size_t *len)
{
    if (pv_rd_left(r) == 0 && !r->bad) {
        *env = NULL;
        *len = 0;
        return PV_OK;
    }
    uint32_t n = pv_rd_u32(r);
    if (n < PV_RECORD_LEN_MIN || n > PV_RECORD_LEN_MAX)
        r->bad = true;
    const uint8_t *view = pv_rd_view(r, n);
    if (view == NULL)
        return PV_E_PROTOCOL;
    *env = view;
    *len = n;
    return PV_OK;
}

/* ---- ERROR, GOODBYE ---- */

void pv_msg_put_error(struct pv_wr *w, uint16_t code, const char *text)
{
    size_t len = strnlen(text, PV_MSG_TEXT_MAX);
    pv_wr_u8(w, PV_MSG_ERROR);
    pv_wr_u16(w, code);
    pv_wr_u8(w, (uint8_t)len);
    pv_wr_bytes(w, text, len);
}

enum pv_err pv_msg_get_error(struct pv_rd *r, uint16_t *code, char text[static PV_MSG_TEXT_MAX + 1])
{
    uint16_t number = pv_rd_u16(r);
    uint32_t len = pv_rd_count(r, pv_rd_u8(r), 1, PV_MSG_TEXT_MAX);
    const uint8_t *view = pv_rd_view(r, len);
    enum pv_err err = pv_rd_end(r);
    if (err != PV_OK)
        return err;
    if (memchr(view, '\0', len) != NULL)
        return PV_E_PROTOCOL;
    memcpy(text, view, len);
    text[len] = '\0';
    *code = number;
    return PV_OK;
}

void pv_msg_put_goodbye(struct pv_wr *w, uint8_t reason, uint64_t last_n)
{
    pv_wr_u8(w, PV_MSG_GOODBYE);
    pv_wr_u8(w, reason);
    pv_wr_u64(w, last_n);
}

enum pv_err pv_msg_get_goodbye(struct pv_rd *r, uint8_t *reason, uint64_t *last_n)
{
    uint8_t why = pv_rd_u8(r);
    uint64_t n = pv_rd_u64(r);
    enum pv_err err = pv_rd_end(r);
    if (err != PV_OK)
        return err;
    if (why == 0)
        return PV_E_PROTOCOL;
    *reason = why;
    *last_n = n;
    return PV_OK;
}
