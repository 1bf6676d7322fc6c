#include "crypto/token.h"

#include "tests/support/support.h"
#include "tests/unit/crypto_fixture.h"
#include "internal/base/mem.h"

TestSuite(token, .timeout = 60);

static void generate(char *token, uint64_t seed)
{
    struct pvt_env env;
    pvt_env_init(&env, seed, NULL);
    pv_token_generate(token, &env.env);
}

Test(token, generated_form_derives_without_scrypt)
{
    char token[PV_TOKEN_TEXT_LEN + 1], other[PV_TOKEN_TEXT_LEN + 1];
    struct pv_token_keys a, b;
    bool weak = true;
    generate(token, 1);
    generate(other, 2);
    cr_assert_eq(strlen(token), PV_TOKEN_TEXT_LEN);
    cr_assert_eq(strncmp(token, "pvt1-", 5), 0);
    cr_assert_str_neq(token, other);
    cr_assert_eq(pv_token_derive(&a, token, &weak), PV_OK);
    cr_assert_not(weak);
    cr_assert_eq(pv_token_derive(&b, other, &weak), PV_OK);
    cr_assert_neq(memcmp(a.gate, b.gate, sizeof a.gate), 0);
    cr_assert_neq(memcmp(a.psk, b.psk, sizeof a.psk), 0);
    cr_assert_neq(memcmp(a.gate, a.psk, sizeof a.gate), 0);
}

Test(token, upper_case_is_the_same_token)
{
    char token[PV_TOKEN_TEXT_LEN + 1];
    struct pv_token_keys a, b;
    bool weak;
    generate(token, 1);
    cr_assert_eq(pv_token_derive(&a, token, &weak), PV_OK);
    for (char *p = token; *p != '\0'; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    cr_assert_eq(pv_token_derive(&b, token, &weak), PV_OK);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
}

Test(token, every_damaged_digit_is_refused)
{
    char token[PV_TOKEN_TEXT_LEN + 1];
    bool weak;
    generate(token, 3);
    for (size_t i = 5; i < PV_TOKEN_TEXT_LEN; i++) {
        char kept = token[i];
        token[i] = kept == 'a' ? 'b' : 'a';
        cr_assert_eq(pv_token_check(token, &weak), PV_E_INVALID, "digit %zu", i);
        token[i] = '!';
        cr_assert_eq(pv_token_check(token, &weak), PV_E_INVALID);
        token[i] = kept;
    }
    cr_assert_eq(pv_token_check(token, &weak), PV_OK);
}

Test(token, cut_or_longer_random_form_is_no_passphrase)
{
    char token[PV_TOKEN_TEXT_LEN + 2] = {0};
    struct pv_token_keys keys;
    bool weak;
    generate(token, 4);
    token[PV_TOKEN_TEXT_LEN] = 'a';
    cr_assert_eq(pv_token_derive(&keys, token, &weak), PV_E_INVALID);
    for (size_t len = PV_TOKEN_TEXT_LEN - 1; len >= 5; len--) {
        token[len] = '\0';
        cr_assert_eq(pv_token_derive(&keys, token, &weak), PV_E_INVALID, "length %zu", len);
    }
    token[4] = '\0'; /* "pvt1": a weak passphrase like any other */
    cr_assert_eq(pv_token_check(token, &weak), PV_OK);
    cr_assert(weak);
}

Test(token, length_limits_and_weakness)
{
    char token[PV_TOKEN_LEN_MAX + 2];
    struct pv_token_keys keys;
    bool weak = false;
    cr_assert_eq(pv_token_check("", &weak), PV_E_INVALID);
    cr_assert_eq(pv_token_derive(&keys, "", &weak), PV_E_INVALID);
    cr_assert_eq(pv_token_check("1234567890123456789", &weak), PV_OK);
    cr_assert(weak);
    cr_assert_eq(pv_token_check("12345678901234567890", &weak), PV_OK);
    cr_assert_not(weak);
    memset(token, 'x', sizeof token);
    token[PV_TOKEN_LEN_MAX + 1] = '\0';
    cr_assert_eq(pv_token_check(token, &weak), PV_E_INVALID);
    token[PV_TOKEN_LEN_MAX] = '\0';
    cr_assert_eq(pv_token_check(token, &weak), PV_OK);
    cr_assert_eq(pv_token_derive(&keys, token, &weak), PV_OK);
}

Test(token, a_spelled_cluster_key_is_recognised)
{
    char token[PV_TOKEN_TEXT_LEN + 1], hex[2 * PV_KEY_LEN + 1];
    struct pvt_env env;
    uint8_t secret[PV_KEY_LEN], other[PV_KEY_LEN] = {1};
    pvt_env_init(&env, 9, NULL);
    pv_env_random(&env.env, secret, sizeof secret);
    generate(token, 9); /* draws the same bytes */
    cr_assert(pv_token_is_key(token, secret));
    cr_assert_not(pv_token_is_key(token, other));
    pv_hex_encode(hex, secret, sizeof secret);
    cr_assert(pv_token_is_key(hex, secret));
    for (char *p = hex; *p != '\0'; p++)
        if (*p >= 'a' && *p <= 'f')
            *p = (char)(*p - 'a' + 'A');
    cr_assert(pv_token_is_key(hex, secret));
    cr_assert_not(pv_token_is_key(hex, other));
    hex[63] = '\0';
    cr_assert_not(pv_token_is_key(hex, secret));
    cr_assert_not(pv_token_is_key("", secret));
}
