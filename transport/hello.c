/* Both directions compute the same value; only the prover's side and node id differ. */
#include "transport/hello.h"
#include "internal/base/mem.h"

static void prove(uint8_t out[static PV_KEY_LEN], const struct pv_cluster_keys *keys,
                  const uint8_t hash[static PV_HASH_LEN], bool dialler, const struct pv_id *node_id)
{
    uint8_t what[PV_HASH_LEN + 1 + PV_ID_LEN];
    struct pv_wr w = pv_wr_of(what, sizeof what);
    pv_wr_bytes(&w, hash, PV_HASH_LEN);
    pv_wr_u8(&w, dialler ? 1 : 2);
    pv_wr_bytes(&w, node_id->b, PV_ID_LEN);
    pv_x(out, keys->member, "proof", what, sizeof what);
}

void pv_hello_make(struct pv_msg_hello *out, const struct pv_session_context *ctx,
                   const uint8_t hash[static PV_HASH_LEN], bool dialler)
{
    *out = ctx->hello;
    out->version = PV_HELLO_VERSION;
    out->role = ctx->handshake.role;
    out->features = ctx->handshake.features;
    out->proof_count = 0;
    for (size_t i = 0; i < ctx->readable_count && i < PV_HELLO_PROOFS_MAX; i++) {
        struct pv_hello_proof *p = &out->proofs[out->proof_count++];
        p->kid = ctx->readable[i]->kid;
        prove(p->proof, ctx->readable[i], hash, dialler, &ctx->handshake.identity->node_id);
    }
}

size_t pv_hello_proves(const struct pv_msg_hello *m, const struct pv_session_context *ctx,
                       const uint8_t hash[static PV_HASH_LEN], bool dialler,
                       const struct pv_id *node_id, struct pv_kid proven[PV_HELLO_PROOFS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < m->proof_count; i++) {
        for (size_t k = 0; k < ctx->readable_count; k++) {
            const struct pv_cluster_keys *keys = ctx->readable[k];
            if (memcmp(keys->kid.b, m->proofs[i].kid.b, PV_KID_LEN) != 0)
                continue;
            uint8_t expected[PV_KEY_LEN];
            prove(expected, keys, hash, dialler, node_id);
            if (pv_secret_equal(expected, m->proofs[i].proof, sizeof expected))
                proven[count++] = keys->kid; /* kids differ: one for each proof at most */
            pv_wipe(expected, sizeof expected);
        }
    }
    return count;
}
