/* Cheap checks first; the signature, which also refuses small-order keys, comes last. */
#include "transport/certificate.h"
#include "crypto/body.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"

enum { VERSION = 1, RESERVED_LEN = 32, MS_PER_S = 1000 };

static const char label[17] = "PV1/noise-static"; /* with its NUL */
enum { SIGNED_LEN = sizeof label + PV_DH_LEN + 8 + 8 };

static void signed_bytes(uint8_t out[static SIGNED_LEN], const uint8_t *noise_pub,
                         uint64_t not_before_s, uint64_t not_after_s)
{
    struct pv_wr w = pv_wr_of(out, SIGNED_LEN);
    pv_wr_bytes(&w, label, sizeof label);
    pv_wr_bytes(&w, noise_pub, PV_DH_LEN);
    pv_wr_u64(&w, not_before_s);
    pv_wr_u64(&w, not_after_s);
}

void pv_noise_static_make(struct pv_noise_static *out, const struct pv_identity *identity,
                          const struct pv_env *env)
{
    uint64_t now_s = pv_env_wall_ms(env) / MS_PER_S;
    uint8_t msg[SIGNED_LEN];
    pv_env_random(env, out->priv, sizeof out->priv);
    pv_x25519_public(out->pub, out->priv);
    out->not_before_s = now_s > PV_CERTIFICATE_BEFORE_S ? now_s - PV_CERTIFICATE_BEFORE_S : 0;
    out->not_after_s = now_s + PV_CERTIFICATE_AFTER_S;
    signed_bytes(msg, out->pub, out->not_before_s, out->not_after_s);
    pv_ed25519_sign(out->sig, identity->seed, msg, sizeof msg);
}

bool pv_noise_static_refresh(struct pv_noise_static *s, const struct pv_identity *identity,
                             const struct pv_env *env)
{
    uint64_t now_s = pv_env_wall_ms(env) / MS_PER_S;
    uint64_t made_s = s->not_after_s - PV_CERTIFICATE_AFTER_S;
    if (now_s >= s->not_before_s && now_s < made_s + PV_CERTIFICATE_RENEW_S)
        return false;
    memcpy(s->past_pub, s->pub, sizeof s->past_pub);
    pv_noise_static_make(s, identity, env);
    return true;
}

void pv_certificate_write(uint8_t out[static PV_CERTIFICATE_LEN],
                          const struct pv_handshake_context *ctx, const struct pv_noise_static *s,
                          uint64_t ts_ms)
{
    struct pv_wr w = pv_wr_of(out, PV_CERTIFICATE_LEN);
    pv_wr_u8(&w, VERSION);
    pv_wr_u8(&w, ctx->role);
    pv_wr_zero(&w, 2);
    pv_wr_u32(&w, ctx->features);
    pv_wr_u64(&w, ts_ms);
    pv_wr_bytes(&w, ctx->identity->node_id.b, PV_ID_LEN);
    pv_wr_bytes(&w, ctx->identity->pub, PV_PUB_LEN);
    pv_wr_u64(&w, s->not_before_s);
    pv_wr_u64(&w, s->not_after_s);
    pv_wr_bytes(&w, s->sig, PV_SIG_LEN);
    pv_wr_zero(&w, RESERVED_LEN);
    PV_ASSERT(pv_wr_end(&w) == PV_OK && pv_wr_len(&w) == PV_CERTIFICATE_LEN);
}

static bool dates_fit(uint64_t not_before_s, uint64_t not_after_s,
                      const struct pv_certificate_check *check)
{
    uint64_t now_s = check->now_ms / MS_PER_S, skew_s = check->max_skew_ms / MS_PER_S;
    if (not_after_s < not_before_s || not_after_s - not_before_s > PV_CERTIFICATE_SPAN_S)
        return false;
    bool begun = not_before_s <= now_s || not_before_s - now_s <= skew_s;
    bool over = not_after_s < now_s && now_s - not_after_s > skew_s;
    return begun && !over;
}

enum pv_err pv_certificate_read(struct pv_handshake_peer *peer,
                                const uint8_t in[static PV_CERTIFICATE_LEN],
                                const struct pv_certificate_check *check)
{
    struct pv_rd r = pv_rd_of(in, PV_CERTIFICATE_LEN);
    uint8_t version = pv_rd_u8(&r);
    uint8_t role = pv_rd_u8(&r);
    pv_rd_zero(&r, 2);
    uint32_t features = pv_rd_u32(&r);
    uint64_t ts_ms = pv_rd_u64(&r);
    struct pv_id node_id, pub_id;
    pv_rd_copy(&r, node_id.b, sizeof node_id.b);
    const uint8_t *pub = pv_rd_view(&r, PV_PUB_LEN);
    uint64_t not_before_s = pv_rd_u64(&r);
    uint64_t not_after_s = pv_rd_u64(&r);
    const uint8_t *sig = pv_rd_view(&r, PV_SIG_LEN);
    pv_rd_zero(&r, RESERVED_LEN);
    if (pv_rd_end(&r) != PV_OK || version != VERSION || ts_ms != check->ts_ms)
        return PV_E_AUTH;
    if (role != PV_ROLE_KEYED && role != PV_ROLE_BLIND)
        return PV_E_AUTH;
    pv_node_id_of(&pub_id, pub);
    if (!pv_id_equal(&node_id, &pub_id) || !dates_fit(not_before_s, not_after_s, check))
        return PV_E_AUTH;
    uint8_t msg[SIGNED_LEN];
    signed_bytes(msg, check->noise_pub, not_before_s, not_after_s);
    enum pv_err err = pv_ed25519_verify(sig, pub, msg, sizeof msg);
    if (err != PV_OK)
        return err;
    peer->node_id = node_id;
    memcpy(peer->pub, pub, PV_PUB_LEN);
    peer->role = role;
    peer->features = features;
    return PV_OK;
}
