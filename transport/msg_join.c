/* JOIN, TOKEN and KEY: the messages that carry secrets. See msg.c for how codecs are made. */
#include "crypto/body.h"
#include "internal/base/mem.h"
#include "transport/msg.h"

#include <string.h>

enum { KEY_LEN = 1 + 8 + PV_KEY_LEN };

/* ---- JOIN ---- */

void pv_msg_put_join_request(struct pv_wr *w, const char *name)
{
    pv_wr_u8(w, PV_MSG_JOIN);
    pv_wr_u8(w, PV_JOIN_REQUEST);
    pv_wr_text8(w, name);
}

void pv_msg_put_join_confirm(struct pv_wr *w)
{
    pv_wr_u8(w, PV_MSG_JOIN);
    pv_wr_u8(w, PV_JOIN_CONFIRM);
}

void pv_msg_put_join_grant(struct pv_wr *w, uint8_t role, const struct pv_keyring *k,
                           const char *const *addresses, size_t count)
{
    size_t token_len = strlen(k->tokens[0].text);
    size_t keys = role == PV_ROLE_KEYED ? k->key_count : 0;
    PV_ASSERT(k->token_count > 0 && count <= PV_ADDRESSES_MAX);
    pv_wr_u8(w, PV_MSG_JOIN);
    pv_wr_u8(w, PV_JOIN_GRANT);
    pv_wr_u8(w, role);
    pv_wr_u64(w, k->tokens[0].created_s);
    pv_wr_u16(w, (uint16_t)token_len);
    pv_wr_bytes(w, k->tokens[0].text, token_len);
    pv_wr_u8(w, (uint8_t)keys);
    for (size_t i = 0; i < keys; i++) {
        pv_wr_u8(w, (uint8_t)k->keys[i].state);
        pv_wr_u64(w, k->keys[i].created_s);
        pv_wr_bytes(w, k->keys[i].keys.cluster_key, PV_KEY_LEN);
    }
    if (keys > 0)
        pv_wr_bytes(w, k->dedup_kid.b, PV_KID_LEN);
    pv_wr_u8(w, (uint8_t)count);
    for (size_t i = 0; i < count; i++)
        pv_wr_text8(w, addresses[i]);
}

static bool get_keys(struct pv_rd *r, struct pv_keyring *k, uint8_t role)
{
    uint32_t count = pv_rd_count(r, pv_rd_u8(r), KEY_LEN, PV_KEYRING_KEYS_MAX);
    struct pv_kid dedup;
    bool good = !r->bad && (role == PV_ROLE_KEYED) == (count > 0);
    for (uint32_t i = 0; good && i < count; i++) {
        uint8_t state = pv_rd_u8(r);
        uint64_t created_s = pv_rd_u64(r);
        const uint8_t *key = pv_rd_view(r, PV_KEY_LEN);
        bool second = state == PV_KEY_ACTIVE && pv_keyring_active(k) != NULL;
        good = key != NULL && state <= PV_KEY_RETIRED && !second &&
               pv_keyring_add_key(k, key, (enum pv_key_state)state, created_s) == PV_OK;
    }
    if (!good || count == 0)
        return good;
    pv_rd_copy(r, dedup.b, sizeof dedup.b);
    return !r->bad && pv_keyring_active(k) != NULL && pv_keyring_set_dedup(k, &dedup) == PV_OK;
}

static bool get_grant(struct pv_rd *r, struct pv_msg_join *m)
{
    char token[PV_TOKEN_LEN_MAX + 1];
    m->role = pv_rd_u8(r);
    uint64_t created_s = pv_rd_u64(r);
    pv_rd_text(r, pv_rd_u16(r), token, PV_TOKEN_LEN_MAX);
    bool good = !r->bad && (m->role == PV_ROLE_KEYED || m->role == PV_ROLE_BLIND) &&
                pv_keyring_add_token(&m->keyring, token, created_s) == PV_OK &&
                get_keys(r, &m->keyring, m->role);
    size_t count = good ? pv_rd_u8(r) : 0;
    good = good && count <= PV_ADDRESSES_MAX;
    for (size_t i = 0; good && i < count; i++)
        pv_rd_text(r, pv_rd_u8(r), m->addresses[i], PV_ADDRESS_MAX);
    m->address_count = good ? (uint8_t)count : 0;
    pv_wipe(token, sizeof token);
    return good;
}

enum pv_err pv_msg_get_join(struct pv_rd *r, struct pv_msg_join *m)
{
    memset(m, 0, sizeof *m);
    m->kind = pv_rd_u8(r);
    bool good = m->kind == PV_JOIN_REQUEST || m->kind == PV_JOIN_CONFIRM;
    if (m->kind == PV_JOIN_REQUEST)
        pv_rd_text(r, pv_rd_u8(r), m->name, PV_JOIN_NAME_MAX);
    else if (m->kind == PV_JOIN_GRANT)
        good = get_grant(r, m);
    if (good && pv_rd_end(r) == PV_OK)
        return PV_OK;
    pv_wipe(m, sizeof *m);
    return PV_E_PROTOCOL;
}

/* ---- TOKEN ---- */

void pv_msg_put_token(struct pv_wr *w, const struct pv_msg_token *m)
{
    size_t len = strlen(m->text);
    pv_wr_u8(w, PV_MSG_TOKEN);
    pv_wr_u64(w, m->created_s);
    pv_wr_u64(w, m->overlap_until_s);
    pv_wr_u16(w, (uint16_t)len);
    pv_wr_bytes(w, m->text, len);
}

enum pv_err pv_msg_get_token(struct pv_rd *r, struct pv_msg_token *m)
{
    bool weak;
    m->created_s = pv_rd_u64(r);
    m->overlap_until_s = pv_rd_u64(r);
    pv_rd_text(r, pv_rd_u16(r), m->text, PV_TOKEN_LEN_MAX);
    if (pv_rd_end(r) == PV_OK && pv_token_check(m->text, &weak) == PV_OK)
        return PV_OK;
    pv_wipe(m, sizeof *m);
    return PV_E_PROTOCOL;
}

/* ---- KEY ---- */

void pv_msg_put_key(struct pv_wr *w, const struct pv_msg_key *m)
{
    pv_wr_u8(w, PV_MSG_KEY);
    pv_wr_u8(w, m->kind);
    if (m->kind == PV_KEY_GIVE) {
        pv_wr_u64(w, m->created_s);
        pv_wr_bytes(w, m->cluster_key, PV_KEY_LEN);
    } else {
        pv_wr_bytes(w, m->kid.b, PV_KID_LEN);
    }
}

enum pv_err pv_msg_get_key(struct pv_rd *r, struct pv_msg_key *m)
{
    memset(m, 0, sizeof *m);
    m->kind = pv_rd_u8(r);
    if (m->kind == PV_KEY_GIVE) {
        m->created_s = pv_rd_u64(r);
        pv_rd_copy(r, m->cluster_key, PV_KEY_LEN);
    } else if (m->kind == PV_KEY_HAVE) {
        pv_rd_copy(r, m->kid.b, PV_KID_LEN);
    } else {
        return PV_E_PROTOCOL;
    }
    if (pv_rd_end(r) == PV_OK)
        return PV_OK;
    pv_wipe(m, sizeof *m);
    return PV_E_PROTOCOL;
}
