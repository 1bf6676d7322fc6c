/*
 * The three objects of the specification in one struct: CipherState (aead, has_key, nonce),
 * SymmetricState (ck, h) and HandshakeState (the keys and the position in the pattern). Functions
 * carry the specification's names, and the pattern is its table of tokens:
 *
 *     -> e
 *     <- e, ee, s, es
 *     -> s, se
 *
 * psk0 stands before the tokens of message 0; psk1, psk2, psk3 behind those of message 0, 1, 2.
 * The first error marks the state failed, after which it answers nothing but PV_E_INVALID.
 */
#include "crypto/noise.h"
#include "internal/base/mem.h"
#include <string.h>

enum { MESSAGE_LEN_MAX = 65535, TOKENS_MAX = 4, NAME_LEN_MAX = 64 };

enum token { TOKEN_END, TOKEN_E, TOKEN_S, TOKEN_EE, TOKEN_ES, TOKEN_SE };

static const enum token pattern[PV_NOISE_MESSAGES][TOKENS_MAX + 1] = {
    {TOKEN_E},
    {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES},
    {TOKEN_S, TOKEN_SE},
};

struct pv_noise {
    struct pv_aead *aead;
    uint64_t nonce;
    bool has_key;
    uint8_t ck[PV_HASH_LEN], h[PV_HASH_LEN];
    bool initiator, failed;
    bool has_s, has_rs;
    unsigned message; /* the next one, 0..PV_NOISE_MESSAGES */
    unsigned psk_mask;
    uint8_t psks[PV_NOISE_PSK_MAX][PV_KEY_LEN]; /* by position */
    uint8_t s[PV_DH_LEN], s_pub[PV_DH_LEN];
    uint8_t e[PV_DH_LEN], e_pub[PV_DH_LEN];
    uint8_t rs[PV_DH_LEN], re[PV_DH_LEN];
};

/* ---- CipherState ---- */

static void initialize_key(struct pv_noise *n, const uint8_t key[static PV_KEY_LEN])
{
    pv_aead_rekey(n->aead, key);
    n->has_key = true;
    n->nonce = 0;
}

/* 32 zero bits and the big-endian counter. No handshake comes near its end. */
static void next_nonce(struct pv_noise *n, uint8_t nonce[static PV_NONCE_LEN])
{
    memset(nonce, 0, PV_NONCE_LEN);
    for (unsigned i = 0; i < 8; i++)
        nonce[PV_NONCE_LEN - 1 - i] = (uint8_t)(n->nonce >> 8 * i);
    n->nonce++;
}

static size_t tag_len(const struct pv_noise *n)
{
    return n->has_key ? PV_TAG_LEN : 0;
}

/* ---- SymmetricState ---- */

static void mix_hash(struct pv_noise *n, const void *data, size_t len)
{
    const struct pv_part parts[] = {{n->h, sizeof n->h}, {data, len}};
    pv_sha256_parts(n->h, parts, PV_COUNT(parts));
}

/* HKDF(ck, ikm, count) of the specification, which is RFC 5869's with empty info. */
static void hkdf(const struct pv_noise *n, const void *ikm, size_t ikm_len, uint8_t *out,
                 size_t count)
{
    uint8_t prk[PV_KEY_LEN];
    pv_hkdf_extract(prk, n->ck, sizeof n->ck, ikm, ikm_len);
    pv_hkdf_expand(out, count * PV_KEY_LEN, prk, NULL, 0);
    pv_wipe(prk, sizeof prk);
}

static void mix_key(struct pv_noise *n, const uint8_t ikm[static PV_KEY_LEN])
{
    uint8_t out[2 * PV_KEY_LEN];
    hkdf(n, ikm, PV_KEY_LEN, out, 2);
    memcpy(n->ck, out, sizeof n->ck);
    initialize_key(n, out + PV_KEY_LEN);
    pv_wipe(out, sizeof out);
}

static void mix_key_and_hash(struct pv_noise *n, const uint8_t psk[static PV_KEY_LEN])
{
    uint8_t out[3 * PV_KEY_LEN];
    hkdf(n, psk, PV_KEY_LEN, out, 3);
    memcpy(n->ck, out, sizeof n->ck);
    mix_hash(n, out + PV_KEY_LEN, PV_KEY_LEN);
    initialize_key(n, out + 2 * PV_KEY_LEN);
    pv_wipe(out, sizeof out);
}

static void encrypt_and_hash(struct pv_noise *n, const void *src, size_t len, uint8_t *dst)
{
    if (n->has_key) {
        uint8_t nonce[PV_NONCE_LEN];
        next_nonce(n, nonce);
        pv_aead_seal(n->aead, nonce, n->h, sizeof n->h, src, len, dst);
    } else if (len > 0) {
        memcpy(dst, src, len);
    }
    mix_hash(n, dst, len + tag_len(n));
}

/* len counts the tag. */
static enum pv_err decrypt_and_hash(struct pv_noise *n, const uint8_t *src, size_t len,
                                    uint8_t *dst)
{
    if (n->has_key) {
        uint8_t nonce[PV_NONCE_LEN];
        next_nonce(n, nonce);
        if (pv_aead_open(n->aead, nonce, n->h, sizeof n->h, src, len, dst) != PV_OK)
            return PV_E_AUTH;
    } else if (len > 0) {
        memcpy(dst, src, len);
    }
    mix_hash(n, src, len);
    return PV_OK;
}

/* ---- HandshakeState ---- */

/* The name is hashed only when it is longer than a hash, which it is with two psks or more. */
static void initialize_symmetric(struct pv_noise *n)
{
    char name[NAME_LEN_MAX] = "Noise_XX";
    size_t len = strlen(name);
    const char *joint = "psk";
    for (unsigned i = 0; i < PV_NOISE_PSK_MAX; i++) {
        if ((n->psk_mask & 1U << i) == 0)
            continue;
        memcpy(name + len, joint, strlen(joint));
        len += strlen(joint);
        name[len++] = (char)('0' + (int)i);
        joint = "+psk";
    }
    static const char suite[] = "_25519_AESGCM_SHA256";
    memcpy(name + len, suite, sizeof suite);
    len += sizeof suite - 1;
    if (len <= sizeof n->h)
        memcpy(n->h, name, len);
    else
        pv_sha256(n->h, name, len);
    memcpy(n->ck, n->h, sizeof n->ck);
}

enum pv_err pv_noise_new(struct pv_noise **out, const struct pv_noise_config *config)
{
    static const uint8_t no_key[PV_KEY_LEN];
    PV_ASSERT(config->ephemeral_private != NULL && config->psk_mask < 1U << PV_NOISE_PSK_MAX);
    PV_ASSERT(config->psk_mask == 0 || config->psks != NULL);
    struct pv_noise *n = pv_calloc(1, sizeof *n);
    if (n == NULL)
        return PV_E_NOMEM;
    if (pv_aead_new(&n->aead, no_key) != PV_OK) {
        pv_noise_free(n);
        return PV_E_NOMEM;
    }
    n->initiator = config->initiator;
    n->psk_mask = config->psk_mask;
    size_t psk = 0;
    for (unsigned i = 0; i < PV_NOISE_PSK_MAX; i++)
        if ((n->psk_mask & 1U << i) != 0)
            memcpy(n->psks[i], config->psks[psk++], PV_KEY_LEN);
    if (config->static_private != NULL) {
        n->has_s = true;
        memcpy(n->s, config->static_private, sizeof n->s);
        pv_x25519_public(n->s_pub, n->s);
    }
    memcpy(n->e, config->ephemeral_private, sizeof n->e);
    pv_x25519_public(n->e_pub, n->e);
    initialize_symmetric(n);
    mix_hash(n, config->prologue, config->prologue_len);
    *out = n;
    return PV_OK;
}

void pv_noise_free(struct pv_noise *n)
{
    if (n == NULL)
        return;
    pv_aead_free(n->aead);
    pv_wipe(n, sizeof *n);
    pv_free(n);
}

size_t pv_noise_overhead(const struct pv_noise *n, unsigned message)
{
    PV_ASSERT(message < PV_NOISE_MESSAGES);
    if (message == 0)
        return PV_DH_LEN + (n->psk_mask != 0 ? PV_TAG_LEN : 0); /* e; a psk already gives a key */
    if (message == 1)
        return 2 * PV_DH_LEN + 2 * PV_TAG_LEN; /* e, s with tag, tag of the payload */
    return PV_DH_LEN + 2 * PV_TAG_LEN;         /* s with tag, tag of the payload */
}

static enum pv_err mix_dh(struct pv_noise *n, const uint8_t priv[static PV_DH_LEN],
                          const uint8_t pub[static PV_DH_LEN])
{
    uint8_t shared[PV_DH_LEN];
    if (pv_x25519(shared, priv, pub) != PV_OK)
        return PV_E_AUTH;
    mix_key(n, shared);
    pv_wipe(shared, sizeof shared);
    return PV_OK;
}

/* ee, es and se are the same on both sides of the wire but for whose key is private. */
static enum pv_err mix_dh_token(struct pv_noise *n, enum token token)
{
    if (token == TOKEN_EE)
        return mix_dh(n, n->e, n->re);
    const bool own_is_ephemeral = (token == TOKEN_ES) == n->initiator;
    return own_is_ephemeral ? mix_dh(n, n->e, n->rs) : mix_dh(n, n->s, n->re);
}

static void mix_psk(struct pv_noise *n, unsigned position)
{
    if ((n->psk_mask & 1U << position) != 0)
        mix_key_and_hash(n, n->psks[position]);
}

static void mix_e(struct pv_noise *n, const uint8_t e[static PV_DH_LEN])
{
    mix_hash(n, e, PV_DH_LEN);
    if (n->psk_mask != 0)
        mix_key(n, e);
}

/* Even messages are the initiator's to write. */
static bool may_go_on(const struct pv_noise *n, bool writing)
{
    const bool own_turn = (n->message % 2 == 0) == n->initiator;
    return !n->failed && n->message < PV_NOISE_MESSAGES && own_turn == writing;
}

static enum pv_err write_token(struct pv_noise *n, enum token token, uint8_t **p)
{
    if (token == TOKEN_E) {
        memcpy(*p, n->e_pub, PV_DH_LEN);
        mix_e(n, n->e_pub);
        *p += PV_DH_LEN;
        return PV_OK;
    }
    if (token == TOKEN_S) {
        const size_t len = PV_DH_LEN + tag_len(n);
        encrypt_and_hash(n, n->s_pub, PV_DH_LEN, *p);
        *p += len;
        return PV_OK;
    }
    return mix_dh_token(n, token);
}

static enum pv_err write_message(struct pv_noise *n, const void *payload, size_t len, uint8_t *p)
{
    if (n->message == 0)
        mix_psk(n, 0);
    for (const enum token *t = pattern[n->message]; *t != TOKEN_END; t++) {
        enum pv_err err = write_token(n, *t, &p);
        if (err != PV_OK)
            return err;
    }
    mix_psk(n, n->message + 1);
    encrypt_and_hash(n, payload, len, p);
    return PV_OK;
}

enum pv_err pv_noise_write(struct pv_noise *n, const void *payload, size_t payload_len,
                           uint8_t *dst, size_t dst_cap, size_t *len)
{
    enum pv_err err = PV_E_INVALID;
    /* Whoever writes message 1 or 2 sends its static key in it. */
    if (!may_go_on(n, true) || (n->message > 0 && !n->has_s))
        goto out;
    const size_t overhead = pv_noise_overhead(n, n->message);
    err = PV_E_LIMIT;
    if (payload_len > MESSAGE_LEN_MAX - overhead || payload_len + overhead > dst_cap)
        goto out;
    err = write_message(n, payload, payload_len, dst);
    if (err != PV_OK)
        goto out;
    n->message++;
    *len = payload_len + overhead;
out:
    n->failed = n->failed || err != PV_OK;
    return err;
}

static enum pv_err read_token(struct pv_noise *n, enum token token, const uint8_t **p)
{
    if (token == TOKEN_E) {
        memcpy(n->re, *p, PV_DH_LEN);
        mix_e(n, n->re);
        *p += PV_DH_LEN;
        return PV_OK;
    }
    if (token == TOKEN_S) {
        const size_t len = PV_DH_LEN + tag_len(n);
        if (decrypt_and_hash(n, *p, len, n->rs) != PV_OK)
            return PV_E_AUTH;
        n->has_rs = true;
        *p += len;
        return PV_OK;
    }
    return mix_dh_token(n, token);
}

/* The caller has checked that len covers the overhead, so no token reads past the end. No token of
 * a message that is read needs a static key of ours. */
static enum pv_err read_message(struct pv_noise *n, const uint8_t *p, size_t len, uint8_t *payload)
{
    const uint8_t *end = p + len;
    if (n->message == 0)
        mix_psk(n, 0);
    for (const enum token *t = pattern[n->message]; *t != TOKEN_END; t++) {
        enum pv_err err = read_token(n, *t, &p);
        if (err != PV_OK)
            return err;
    }
    mix_psk(n, n->message + 1);
    return decrypt_and_hash(n, p, (size_t)(end - p), payload);
}

enum pv_err pv_noise_read(struct pv_noise *n, const uint8_t *src, size_t src_len, uint8_t *payload,
                          size_t payload_cap, size_t *payload_len)
{
    enum pv_err err = PV_E_INVALID;
    if (!may_go_on(n, false))
        goto out;
    const size_t overhead = pv_noise_overhead(n, n->message);
    err = PV_E_PROTOCOL;
    if (src_len < overhead || src_len > MESSAGE_LEN_MAX)
        goto out;
    err = PV_E_LIMIT;
    if (src_len - overhead > payload_cap)
        goto out;
    err = read_message(n, src, src_len, payload);
    if (err != PV_OK)
        goto out;
    n->message++;
    *payload_len = src_len - overhead;
out:
    n->failed = n->failed || err != PV_OK;
    return err;
}

const uint8_t *pv_noise_remote_static(const struct pv_noise *n)
{
    return n->has_rs && !n->failed ? n->rs : NULL; /* a failure may come between s and its proof */
}

void pv_noise_split(const struct pv_noise *n, uint8_t send_key[static PV_KEY_LEN],
                    uint8_t recv_key[static PV_KEY_LEN], uint8_t hash[static PV_HASH_LEN])
{
    PV_ASSERT(!n->failed && n->message == PV_NOISE_MESSAGES);
    uint8_t out[2 * PV_KEY_LEN];
    hkdf(n, NULL, 0, out, 2);
    memcpy(send_key, out + (n->initiator ? 0 : PV_KEY_LEN), PV_KEY_LEN);
    memcpy(recv_key, out + (n->initiator ? PV_KEY_LEN : 0), PV_KEY_LEN);
    memcpy(hash, n->h, PV_HASH_LEN);
    pv_wipe(out, sizeof out);
}
