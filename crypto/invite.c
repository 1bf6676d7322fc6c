#include "crypto/invite.h"

#include "crypto/body.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"

#include <string.h>
#include <strings.h>

enum { VERSION = 1, CHECK_LEN = 4, BYTES_LEN = 46, PREFIX_LEN = 5 };

static const char prefix[PREFIX_LEN + 1] = "pvj1-";

void pv_invite_make(struct pv_invite *out, uint8_t role, const struct pv_id *inviter,
                    uint64_t expires_s, const struct pv_env *env)
{
    *out = (struct pv_invite){.role = role, .expires_s = expires_s};
    memcpy(out->inviter, inviter->b, sizeof out->inviter);
    pv_env_random(env, out->id, sizeof out->id);
    pv_env_random(env, out->secret, sizeof out->secret);
}

static void write_check(struct pv_wr *w, const uint8_t *bytes)
{
    uint8_t hash[PV_HASH_LEN];
    pv_sha256(hash, bytes, BYTES_LEN - CHECK_LEN);
    pv_wr_bytes(w, hash, CHECK_LEN);
    pv_wipe(hash, sizeof hash);
}

void pv_invite_format(char out[static PV_INVITE_TEXT_LEN + 1], const struct pv_invite *invite)
{
    uint8_t bytes[BYTES_LEN];
    struct pv_wr w = pv_wr_of(bytes, sizeof bytes);
    pv_wr_u8(&w, VERSION);
    pv_wr_u8(&w, invite->role);
    pv_wr_bytes(&w, invite->inviter, sizeof invite->inviter);
    pv_wr_bytes(&w, invite->id, sizeof invite->id);
    pv_wr_bytes(&w, invite->secret, sizeof invite->secret);
    pv_wr_u32(&w, (uint32_t)invite->expires_s);
    write_check(&w, bytes);
    PV_ASSERT(!w.bad && w.p == w.end);
    memcpy(out, prefix, PREFIX_LEN);
    pv_base32_encode(out + PREFIX_LEN, PV_INVITE_TEXT_LEN + 1 - PREFIX_LEN, bytes, sizeof bytes);
    pv_wipe(bytes, sizeof bytes);
}

enum pv_err pv_invite_parse(struct pv_invite *out, const char *text, size_t len)
{
    uint8_t bytes[BYTES_LEN], check[CHECK_LEN], given[CHECK_LEN];
    if (len != PV_INVITE_TEXT_LEN || strncasecmp(text, prefix, PREFIX_LEN) != 0 ||
        pv_base32_decode(bytes, sizeof bytes, text + PREFIX_LEN, len - PREFIX_LEN) != PV_OK)
        return PV_E_INVALID;
    struct pv_wr w = pv_wr_of(check, sizeof check);
    write_check(&w, bytes);
    struct pv_rd r = pv_rd_of(bytes, sizeof bytes);
    struct pv_invite in = {0};
    uint8_t version = pv_rd_u8(&r);
    in.role = pv_rd_u8(&r);
    pv_rd_copy(&r, in.inviter, sizeof in.inviter);
    pv_rd_copy(&r, in.id, sizeof in.id);
    pv_rd_copy(&r, in.secret, sizeof in.secret);
    in.expires_s = pv_rd_u32(&r);
    pv_rd_copy(&r, given, sizeof given);
    enum pv_err err = PV_OK;
    if (memcmp(check, given, sizeof check) != 0)
        err = PV_E_INVALID;
    else if (version != VERSION)
        err = PV_E_UNSUPPORTED;
    else if (in.role != PV_ROLE_KEYED && in.role != PV_ROLE_BLIND)
        err = PV_E_INVALID;
    if (err == PV_OK)
        *out = in;
    pv_wipe(&in, sizeof in);
    pv_wipe(bytes, sizeof bytes);
    return err;
}

static void extract(uint8_t prk[static PV_KEY_LEN], const uint8_t id[static PV_INVITE_ID_LEN],
                    const uint8_t secret[static PV_INVITE_SECRET_LEN])
{
    uint8_t both[PV_INVITE_ID_LEN + PV_INVITE_SECRET_LEN];
    memcpy(both, id, PV_INVITE_ID_LEN);
    memcpy(both + PV_INVITE_ID_LEN, secret, PV_INVITE_SECRET_LEN);
    pv_hkdf_extract(prk, "PV1/invite", strlen("PV1/invite"), both, sizeof both);
    pv_wipe(both, sizeof both);
}

void pv_invite_keys(struct pv_token_keys *out, const uint8_t id[static PV_INVITE_ID_LEN],
                    const uint8_t secret[static PV_INVITE_SECRET_LEN])
{
    uint8_t prk[PV_KEY_LEN];
    extract(prk, id, secret);
    pv_x(out->gate, prk, "gate", NULL, 0);
    pv_x(out->psk, prk, "noise-psk", NULL, 0);
    pv_wipe(prk, sizeof prk);
}

uint32_t pv_invite_number(const uint8_t id[static PV_INVITE_ID_LEN],
                          const uint8_t secret[static PV_INVITE_SECRET_LEN],
                          const uint8_t h[static PV_HASH_LEN])
{
    uint8_t prk[PV_KEY_LEN], bytes[PV_KEY_LEN];
    extract(prk, id, secret);
    pv_x(bytes, prk, "sas", h, PV_HASH_LEN);
    struct pv_rd r = pv_rd_of(bytes, sizeof bytes);
    uint64_t number = pv_rd_u64(&r);
    pv_wipe(prk, sizeof prk);
    return (uint32_t)(number % PV_INVITE_NUMBERS);
}

bool pv_invite_is_from(const struct pv_invite *invite, const struct pv_id *node_id)
{
    return memcmp(invite->inviter, node_id->b, sizeof invite->inviter) == 0;
}
