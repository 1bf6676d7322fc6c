/*
 * Sealing writes the envelope front to back: 136 bytes that are also HKDF info and associated data,
 * then commitment and body length, the sealed body, the signature over everything before it. A
 * fresh salt a seal gives a fresh key and nonce, whoever else writes in the same epoch.
 *
 * Parsing checks all that can be checked without a key. It is strict (reserved bytes, flags that
 * fit the type, lengths the padding can give), because an envelope accepted once is kept and sent
 * on byte for byte for years.
 */
#include "crypto/record.h"

#include "crypto/body.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include <string.h>

enum {
    SUITE_AES256GCM = 1,
    CONTEXT_LEN = 136, /* the bytes bound to the key and used as associated data */
    SALT_LEN = 32,
    COMMITMENT_LEN = 32,
    BODY_LEN_OFFSET = CONTEXT_LEN + COMMITMENT_LEN,
};

static const uint8_t magic[4] = {'P', 'V', 'R', '1'};
static const char sign_label[] = "PV1/record"; /* used with its NUL: the 00 after the label */

pv_hlc pv_hlc_next(pv_hlc last, uint64_t wall_ms)
{
    uint64_t ms_max = UINT64_MAX >> 16;
    pv_hlc now = (wall_ms < ms_max ? wall_ms : ms_max) << 16;
    if (now > last)
        return now;
    return last < UINT64_MAX ? last + 1 : last; /* a full counter carries into the milliseconds */
}

/* File and name records are sealed, types 3 to 6 are clear, later types may be either. */
static bool flags_fit_type(uint8_t type, uint16_t flags)
{
    bool clear = (flags & PV_RECORD_CLEAR) != 0;
    if (type == 0 || (flags & ~(PV_RECORD_TOMBSTONE | PV_RECORD_CLEAR)) != 0)
        return false;
    if (type == PV_RECORD_FILE || type == PV_RECORD_NAME)
        return !clear;
    return clear || type > PV_RECORD_CLUSTER;
}

static bool body_len_valid(bool clear, size_t body_len)
{
    if (body_len > PV_RECORD_BODY_MAX)
        return false;
    return clear || (body_len >= PV_RECORD_BODY_MIN && pv_padme(body_len) == body_len);
}

size_t pv_record_len(const uint8_t *bytes, size_t len)
{
    if (len < PV_RECORD_LEN_MIN || memcmp(bytes, magic, sizeof magic) != 0)
        return 0;
    struct pv_rd r = pv_rd_of(bytes, len);
    (void)pv_rd_view(&r, sizeof magic + 2);
    bool clear = (pv_rd_u16(&r) & PV_RECORD_CLEAR) != 0;
    (void)pv_rd_view(&r, BODY_LEN_OFFSET - 8);
    size_t body_len = pv_rd_u32(&r);
    if (!body_len_valid(clear, body_len))
        return 0;
    return PV_RECORD_HEADER_LEN + body_len + (clear ? 0 : PV_TAG_LEN) + PV_SIG_LEN;
}

enum pv_err pv_record_parse(struct pv_record *out, const uint8_t *env, size_t len)
{
    struct pv_record rec;
    if (len < PV_RECORD_LEN_MIN || len > PV_RECORD_LEN_MAX)
        return PV_E_PROTOCOL;
    struct pv_rd r = pv_rd_of(env, len);
    const uint8_t *start = pv_rd_view(&r, sizeof magic);
    rec.type = pv_rd_u8(&r);
    uint8_t suite = pv_rd_u8(&r);
    rec.flags = pv_rd_u16(&r);
    if (memcmp(start, magic, sizeof magic) != 0 || suite != SUITE_AES256GCM ||
        !flags_fit_type(rec.type, rec.flags))
        return PV_E_PROTOCOL;
    bool clear = (rec.flags & PV_RECORD_CLEAR) != 0;

    struct pv_rd key_fields = r;
    pv_rd_copy(&r, rec.kid.b, PV_KID_LEN);
    rec.epoch = pv_rd_u64(&r);
    pv_rd_copy(&r, rec.rid.b, PV_ID_LEN);
    rec.hlc = pv_rd_u64(&r);
    pv_rd_zero(&r, 8);
    pv_rd_copy(&r, rec.author, PV_PUB_LEN);
    struct pv_rd salt_fields = r;
    (void)pv_rd_view(&r, SALT_LEN + COMMITMENT_LEN);
    if (clear) { /* one form only: nothing can hide in fields without a meaning */
        pv_rd_zero(&key_fields, PV_KID_LEN + 8);
        pv_rd_zero(&salt_fields, SALT_LEN + COMMITMENT_LEN);
    } else if (rec.epoch < PV_EPOCH_FIRST_S) {
        return PV_E_PROTOCOL;
    }
    rec.body_len = pv_rd_u32(&r);
    pv_rd_zero(&r, 4);
    if (!body_len_valid(clear, rec.body_len))
        return PV_E_PROTOCOL;
    rec.body = pv_rd_view(&r, rec.body_len);
    (void)pv_rd_view(&r, (clear ? 0 : PV_TAG_LEN) + PV_SIG_LEN);
    if (pv_rd_end(&r) != PV_OK || key_fields.bad || salt_fields.bad)
        return PV_E_PROTOCOL;
    pv_sha256(rec.hash.b, env, len);
    *out = rec;
    return PV_OK;
}

/* Ed25519 needs its message in one piece, so the label is put in front of a copy. NULL: no memory.
 */
static uint8_t *signed_message(const uint8_t *env, size_t len, size_t *msg_len)
{
    uint8_t *msg = pv_malloc(sizeof sign_label + len);
    if (msg == NULL)
        return NULL;
    memcpy(msg, sign_label, sizeof sign_label);
    memcpy(msg + sizeof sign_label, env, len);
    *msg_len = sizeof sign_label + len;
    return msg;
}

enum pv_err pv_record_verify(struct pv_record *out, const uint8_t *env, size_t len)
{
    struct pv_record rec;
    size_t msg_len;
    enum pv_err err = pv_record_parse(&rec, env, len);
    if (err != PV_OK)
        return err;
    size_t sig_offset = len - PV_SIG_LEN;
    uint8_t *msg = signed_message(env, sig_offset, &msg_len);
    if (msg == NULL)
        return PV_E_NOMEM;
    err = pv_ed25519_verify(env + sig_offset, rec.author, msg, msg_len);
    pv_free(msg);
    if (err == PV_OK)
        *out = rec;
    return err;
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Malformed member bodies are refused on arrival; here they order as the weakest there is. */
static void member_rank(const struct pv_record *rec, uint64_t *generation, bool *expelled)
{
    struct pv_member_body body;
    bool valid = (rec->flags & PV_RECORD_CLEAR) != 0 &&
                 pv_member_body_decode(&body, rec->body, rec->body_len) == PV_OK;
    *generation = valid ? (uint64_t)body.generation + 1 : 0;
    *expelled = valid && body.expelled;
}

pv_hlc pv_hlc_remembered(uint64_t wall_ms)
{
    const uint64_t day_ms = 86400000, day = wall_ms / day_ms;
    return day > PV_TOMBSTONE_DAYS ? (day - PV_TOMBSTONE_DAYS) * day_ms << 16 : 0;
}

int pv_record_cmp(const struct pv_record *a, const struct pv_record *b)
{
    int c = order(b->type, a->type); /* the lower type wins */
    if (c == 0 && a->type == PV_RECORD_MEMBER) {
        uint64_t a_generation, b_generation;
        bool a_expelled, b_expelled;
        member_rank(a, &a_generation, &a_expelled);
        member_rank(b, &b_generation, &b_expelled);
        c = order(a_generation, b_generation);
        if (c == 0)
            c = order(a_expelled, b_expelled);
    }
    if (c == 0)
        c = order(a->hlc, b->hlc);
    if (c == 0)
        c = order(a->flags & PV_RECORD_TOMBSTONE, b->flags & PV_RECORD_TOMBSTONE);
    if (c == 0 && (a->flags & PV_RECORD_TOMBSTONE) != 0)
        c = order(b->body_len, a->body_len); /* the shorter: without the bytes of the file */
    return c != 0 ? c : pv_id_cmp(&a->hash, &b->hash);
}

struct record_keys {
    uint8_t key[PV_KEY_LEN];
    uint8_t nonce[PV_NONCE_LEN];
    uint8_t commitment[COMMITMENT_LEN];
};

static void derive_record_keys(struct record_keys *out, const struct pv_cluster_keys *keys,
                               uint64_t epoch, const uint8_t *env)
{
    uint8_t rec_key[PV_KEY_LEN];
    uint8_t info[sizeof sign_label + CONTEXT_LEN];
    uint8_t okm[PV_KEY_LEN + PV_NONCE_LEN + COMMITMENT_LEN];
    memcpy(info, sign_label, sizeof sign_label);
    memcpy(info + sizeof sign_label, env, CONTEXT_LEN);
    pv_keys_rec(rec_key, keys, epoch);
    pv_hkdf_expand(okm, sizeof okm, rec_key, info, sizeof info);
    memcpy(out->key, okm, PV_KEY_LEN);
    memcpy(out->nonce, okm + PV_KEY_LEN, PV_NONCE_LEN);
    memcpy(out->commitment, okm + PV_KEY_LEN + PV_NONCE_LEN, COMMITMENT_LEN);
    pv_wipe(rec_key, sizeof rec_key);
    pv_wipe(okm, sizeof okm);
}

static bool draft_valid(const struct pv_record_draft *draft)
{
    bool clear = (draft->flags & PV_RECORD_CLEAR) != 0;
    return flags_fit_type(draft->type, draft->flags) && draft->body_len <= PV_RECORD_BODY_MAX &&
           (clear ? draft->epoch == 0 : draft->epoch >= PV_EPOCH_FIRST_S);
}

/* The first CONTEXT_LEN bytes; kid and salt are NULL for clear records. */
static void write_context(struct pv_wr *w, const struct pv_record_draft *draft,
                          const struct pv_kid *kid, const uint8_t pub[static PV_PUB_LEN],
                          const uint8_t *salt)
{
    pv_wr_bytes(w, magic, sizeof magic);
    pv_wr_u8(w, draft->type);
    pv_wr_u8(w, SUITE_AES256GCM);
    pv_wr_u16(w, draft->flags);
    if (kid != NULL)
        pv_wr_bytes(w, kid->b, PV_KID_LEN);
    else
        pv_wr_zero(w, PV_KID_LEN);
    pv_wr_u64(w, draft->epoch);
    pv_wr_bytes(w, draft->rid.b, PV_ID_LEN);
    pv_wr_u64(w, draft->hlc);
    pv_wr_zero(w, 8);
    pv_wr_bytes(w, pub, PV_PUB_LEN);
    if (salt != NULL)
        pv_wr_bytes(w, salt, SALT_LEN);
    else
        pv_wr_zero(w, SALT_LEN);
}

static enum pv_err write_sealed_body(struct pv_wr *w, const struct pv_record_draft *draft,
                                     const struct pv_cluster_keys *keys)
{
    struct record_keys rk;
    struct pv_aead *aead = NULL;
    const uint8_t *env = w->start;
    size_t min = PV_RECORD_BODY_MIN;
    size_t padded_len = pv_padme(draft->body_len > min ? draft->body_len : min);
    derive_record_keys(&rk, keys, draft->epoch, env);
    enum pv_err err = pv_aead_new(&aead, rk.key);
    if (err != PV_OK)
        goto out;
    pv_wr_bytes(w, rk.commitment, COMMITMENT_LEN);
    pv_wr_u32(w, (uint32_t)padded_len);
    pv_wr_zero(w, 4);
    uint8_t *body = w->p;
    pv_wr_bytes(w, draft->body, draft->body_len);
    pv_wr_zero(w, padded_len - draft->body_len + PV_TAG_LEN); /* padding, and room for the tag */
    PV_ASSERT(!w->bad);
    pv_aead_seal(aead, rk.nonce, env, CONTEXT_LEN, body, padded_len, body);
out:
    pv_aead_free(aead);
    pv_wipe(&rk, sizeof rk);
    return err;
}

enum pv_err pv_record_seal(uint8_t *env, size_t *env_len, const struct pv_record_draft *draft,
                           const struct pv_cluster_keys *keys,
                           const uint8_t seed[static PV_SEED_LEN], const uint8_t salt[static 32])
{
    uint8_t pub[PV_PUB_LEN];
    size_t msg_len;
    bool clear = (draft->flags & PV_RECORD_CLEAR) != 0;
    if (!draft_valid(draft))
        return PV_E_INVALID;
    PV_ASSERT(clear || keys != NULL);
    pv_ed25519_public(pub, seed);
    struct pv_wr w = pv_wr_of(env, PV_RECORD_LEN_MAX);
    write_context(&w, draft, clear ? NULL : &keys->kid, pub, clear ? NULL : salt);
    if (clear) {
        pv_wr_zero(&w, COMMITMENT_LEN);
        pv_wr_u32(&w, (uint32_t)draft->body_len);
        pv_wr_zero(&w, 4);
        pv_wr_bytes(&w, draft->body, draft->body_len);
    } else {
        enum pv_err err = write_sealed_body(&w, draft, keys);
        if (err != PV_OK)
            return err;
    }
    uint8_t *msg = signed_message(env, pv_wr_len(&w), &msg_len);
    if (msg == NULL)
        return PV_E_NOMEM;
    uint8_t *sig = pv_wr_room(&w, PV_SIG_LEN);
    PV_ASSERT(sig != NULL);
    pv_ed25519_sign(sig, seed, msg, msg_len);
    pv_free(msg);
    *env_len = pv_wr_len(&w);
    return PV_OK;
}

enum pv_err pv_record_open(uint8_t *dst, const uint8_t *env, size_t env_len,
                           const struct pv_record *rec, const struct pv_cluster_keys *keys)
{
    struct record_keys rk;
    struct pv_aead *aead = NULL;
    if ((rec->flags & PV_RECORD_CLEAR) != 0 || rec->epoch < PV_EPOCH_FIRST_S)
        return PV_E_INVALID;
    if (memcmp(rec->kid.b, keys->kid.b, PV_KID_LEN) != 0)
        return PV_E_UNSUPPORTED;
    PV_ASSERT(env_len == PV_RECORD_HEADER_LEN + rec->body_len + PV_TAG_LEN + PV_SIG_LEN);
    derive_record_keys(&rk, keys, rec->epoch, env);
    enum pv_err err = PV_E_CORRUPT;
    if (!pv_secret_equal(rk.commitment, env + CONTEXT_LEN, COMMITMENT_LEN))
        goto out;
    err = pv_aead_new(&aead, rk.key);
    if (err != PV_OK)
        goto out;
    err = pv_aead_open(aead, rk.nonce, env, CONTEXT_LEN, env + PV_RECORD_HEADER_LEN,
                       rec->body_len + PV_TAG_LEN, dst);
    if (err != PV_OK)
        err = PV_E_CORRUPT;
out:
    pv_aead_free(aead);
    pv_wipe(&rk, sizeof rk);
    return err;
}
