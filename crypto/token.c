/*
 * A token becomes 32 secret bytes S (decoded, or stretched with scrypt), S becomes PRK_t, and PRK_t
 * the two keys: one for the gate in front of the handshake, one for Noise, because Noise forbids
 * any other use of its psk. S and PRK_t are wiped before returning.
 */
#include "crypto/token.h"

#include "internal/base/mem.h"
#include <string.h>
#include <strings.h>

enum { PREFIX_LEN = 5, CHECK_LEN = 4, RANDOM_LEN = PV_KEY_LEN + CHECK_LEN };
enum { SCRYPT_LOG_N = 15, SCRYPT_R = 8, SCRYPT_P = 3 };

static const char prefix[PREFIX_LEN + 1] = "pvt1-";

static bool is_random_form(const char *token)
{
    return strncasecmp(token, prefix, PREFIX_LEN) == 0;
}

static void checksum(uint8_t check[static CHECK_LEN], const uint8_t secret[static PV_KEY_LEN])
{
    uint8_t hash[PV_HASH_LEN];
    pv_sha256(hash, secret, PV_KEY_LEN);
    memcpy(check, hash, CHECK_LEN);
    pv_wipe(hash, sizeof hash);
}

void pv_token_generate(char out[static PV_TOKEN_TEXT_LEN + 1], const struct pv_env *env)
{
    uint8_t bytes[RANDOM_LEN];
    pv_env_random(env, bytes, PV_KEY_LEN);
    checksum(bytes + PV_KEY_LEN, bytes);
    memcpy(out, prefix, PREFIX_LEN);
    pv_base32_encode(out + PREFIX_LEN, PV_TOKEN_TEXT_LEN + 1 - PREFIX_LEN, bytes, sizeof bytes);
    pv_wipe(bytes, sizeof bytes);
}

static enum pv_err decode_random_form(uint8_t secret[static PV_KEY_LEN], const char *token)
{
    uint8_t bytes[RANDOM_LEN], check[CHECK_LEN];
    const char *digits = token + PREFIX_LEN;
    enum pv_err err = pv_base32_decode(bytes, sizeof bytes, digits, strlen(digits));
    if (err != PV_OK)
        return err;
    checksum(check, bytes);
    if (pv_secret_equal(check, bytes + PV_KEY_LEN, CHECK_LEN))
        memcpy(secret, bytes, PV_KEY_LEN);
    else
        err = PV_E_INVALID;
    pv_wipe(bytes, sizeof bytes);
    pv_wipe(check, sizeof check);
    return err;
}

enum pv_err pv_token_check(const char *token, bool *weak)
{
    uint8_t secret[PV_KEY_LEN];
    size_t len = strnlen(token, PV_TOKEN_LEN_MAX + 1);
    bool random_form = is_random_form(token);
    if (len == 0 || len > PV_TOKEN_LEN_MAX)
        return PV_E_INVALID;
    if (random_form) {
        enum pv_err err = decode_random_form(secret, token);
        pv_wipe(secret, sizeof secret);
        if (err != PV_OK)
            return err;
    }
    *weak = !random_form && len < PV_TOKEN_WEAK_LEN;
    return PV_OK;
}

enum pv_err pv_token_derive(struct pv_token_keys *out, const char *token, bool *weak)
{
    uint8_t secret[PV_KEY_LEN], prk[PV_KEY_LEN];
    bool is_weak;
    enum pv_err err = pv_token_check(token, &is_weak);
    if (err != PV_OK)
        return err;
    if (is_random_form(token))
        err = decode_random_form(secret, token);
    else
        err = pv_scrypt(secret, token, strlen(token), "PV1/auth-token", SCRYPT_LOG_N, SCRYPT_R,
                        SCRYPT_P);
    if (err != PV_OK)
        goto out;
    pv_hkdf_extract(prk, "PV1/token", strlen("PV1/token"), secret, sizeof secret);
    pv_x(out->gate, prk, "gate", NULL, 0);
    pv_x(out->psk, prk, "noise-psk", NULL, 0);
    *weak = is_weak;
out:
    pv_wipe(secret, sizeof secret);
    pv_wipe(prk, sizeof prk);
    return err;
}

bool pv_token_is_key(const char *token, const uint8_t key[static PV_KEY_LEN])
{
    uint8_t bytes[PV_KEY_LEN];
    enum pv_err err = PV_E_INVALID;
    size_t len = strnlen(token, PV_TOKEN_LEN_MAX + 1);
    if (len <= PV_TOKEN_LEN_MAX && is_random_form(token))
        err = decode_random_form(bytes, token);
    else if (len <= PV_TOKEN_LEN_MAX)
        err = pv_hex_decode(bytes, sizeof bytes, token, len);
    bool same = err == PV_OK && pv_secret_equal(bytes, key, PV_KEY_LEN);
    pv_wipe(bytes, sizeof bytes);
    return same;
}
