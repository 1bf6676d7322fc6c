/*
 * Each root is X() of PRK_c under its own label, so that no key can be computed from another; epoch
 * keys hang below their root in the same way.
 */
#include "crypto/keys.h"

#include "internal/base/mem.h"
#include "internal/base/wr.h"
#include <string.h>

enum { NAME_MAX_LEN = 1024 };

static bool all_equal(const uint8_t *bytes, size_t len)
{
    uint8_t differ = 0;
    for (size_t i = 1; i < len; i++)
        differ |= (uint8_t)(bytes[i] ^ bytes[0]);
    return differ == 0;
}

enum pv_err pv_cluster_keys_derive(struct pv_cluster_keys *out,
                                   const uint8_t cluster_key[static PV_KEY_LEN])
{
    uint8_t kid[PV_KEY_LEN];
    if (all_equal(cluster_key, PV_KEY_LEN))
        return PV_E_INVALID;
    memcpy(out->cluster_key, cluster_key, PV_KEY_LEN);
    pv_hkdf_extract(out->prk, "PV1/cluster", strlen("PV1/cluster"), cluster_key, PV_KEY_LEN);
    pv_x(kid, out->prk, "kid", NULL, 0);
    memcpy(out->kid.b, kid, PV_KID_LEN);
    pv_wipe(kid, sizeof kid);
    pv_x(out->conv, out->prk, "conv", NULL, 0);
    pv_x(out->rec, out->prk, "rec", NULL, 0);
    pv_x(out->loc, out->prk, "loc", NULL, 0);
    pv_x(out->name, out->prk, "name", NULL, 0);
    pv_x(out->hint, out->prk, "hint", NULL, 0);
    pv_x(out->member, out->prk, "member", NULL, 0);
    return PV_OK;
}

static void epoch_key(uint8_t out[static PV_KEY_LEN], const uint8_t root[static PV_KEY_LEN],
                      uint64_t epoch)
{
    uint8_t ctx[8];
    struct pv_wr w = pv_wr_of(ctx, sizeof ctx);
    pv_wr_u64(&w, epoch);
    pv_x(out, root, "epoch", ctx, sizeof ctx);
}

void pv_keys_conv(uint8_t out[static PV_KEY_LEN], const struct pv_cluster_keys *k, uint64_t epoch)
{
    epoch_key(out, k->conv, epoch);
}

void pv_keys_rec(uint8_t out[static PV_KEY_LEN], const struct pv_cluster_keys *k, uint64_t epoch)
{
    epoch_key(out, k->rec, epoch);
}

void pv_keys_chunker(uint8_t out[static PV_CHUNKER_KEY_LEN], const struct pv_cluster_keys *k)
{
    static const char info[] = "PV1/chunker"; /* with its NUL: that is the 00 */
    pv_hkdf_expand(out, PV_CHUNKER_KEY_LEN, k->prk, info, sizeof info);
}

uint64_t pv_epoch_of(uint64_t wall_ms)
{
    uint64_t now_s = wall_ms / 1000;
    return now_s - now_s % PV_EPOCH_PERIOD_S;
}

bool pv_epoch_plausible(uint64_t epoch, uint64_t wall_ms)
{
    return epoch == 0 || (epoch >= PV_EPOCH_FIRST_S && epoch <= wall_ms / 1000 + PV_EPOCH_AHEAD_S);
}

void pv_rid_file(struct pv_id *rid, const struct pv_cluster_keys *k, const struct pv_id *sha256)
{
    pv_x(rid->b, k->loc, "file", sha256->b, PV_ID_LEN);
}

void pv_rid_private(struct pv_id *rid, const struct pv_cluster_keys *k,
                    const uint8_t salt[static 32])
{
    pv_x(rid->b, k->loc, "private", salt, 32);
}

void pv_rid_name(struct pv_id *rid, const struct pv_cluster_keys *k, const void *name, size_t len)
{
    uint8_t ctx[1 + NAME_MAX_LEN];
    PV_ASSERT(len <= NAME_MAX_LEN);
    ctx[0] = 2; /* the type of name records; keys.h knows nothing of records */
    if (len > 0)
        memcpy(ctx + 1, name, len);
    pv_x(rid->b, k->name, "name", ctx, 1 + len);
}

void pv_rid_clear(struct pv_id *rid, uint8_t type, const void *name, size_t len)
{
    static const char label[] = "PV1/rid";
    const struct pv_part parts[] = {{label, sizeof label}, {&type, 1}, {name, len}};
    pv_sha256_parts(rid->b, parts, PV_COUNT(parts));
}

uint64_t pv_key_prefix_tag(const struct pv_cluster_keys *k, const uint8_t first4[static 4])
{
    uint8_t tag[PV_KEY_LEN];
    uint64_t v = 0;
    pv_x(tag, k->loc, "pfx", first4, 4);
    for (size_t i = 0; i < 8; i++)
        v = v << 8 | tag[i];
    return v;
}
