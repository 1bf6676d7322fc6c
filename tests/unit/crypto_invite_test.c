#include "crypto/invite.h"

#include "crypto/body.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

TestSuite(invite, .timeout = 30);

static struct pvt_env env;
static struct pv_invite made, got;
static char text[PV_INVITE_TEXT_LEN + 1];

static void setup(void)
{
    struct pv_id inviter = {{1, 2, 3, [15] = 15, [16] = 16}};
    pvt_env_init(&env, 1, NULL);
    pv_invite_make(&made, PV_ROLE_KEYED, &inviter, UINT32_MAX, &env.env);
    pv_invite_format(text, &made);
}

Test(invite, survives_as_text, .init = setup)
{
    struct pv_id inviter = {{1, 2, 3, [15] = 15, [16] = 99}}, other = {{1, 2, 3, [15] = 16}};
    cr_assert_eq(strlen(text), PV_INVITE_TEXT_LEN);
    cr_assert_eq(pv_invite_parse(&got, text, strlen(text)), PV_OK);
    cr_assert_eq(memcmp(&got, &made, sizeof got), 0);
    cr_assert(pv_invite_is_from(&got, &inviter)); /* its first 16 bytes are pinned */
    cr_assert_not(pv_invite_is_from(&got, &other));
    for (char *p = text; *p != '\0'; p++)
        *p = (char)toupper(*p);
    cr_assert_eq(pv_invite_parse(&got, text, strlen(text)), PV_OK);
}

Test(invite, every_changed_digit_is_found, .init = setup)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    for (size_t i = 0; i < PV_INVITE_TEXT_LEN; i++) {
        char right = text[i];
        for (const char *d = digits; *d != '\0'; d++) {
            text[i] = *d;
            if (*d != right)
                cr_assert_eq(pv_invite_parse(&got, text, strlen(text)), PV_E_INVALID, "%zu", i);
        }
        text[i] = right;
    }
    for (size_t len = 0; len < PV_INVITE_TEXT_LEN; len++)
        cr_assert_eq(pv_invite_parse(&got, text, len), PV_E_INVALID);
}

/* The digits were computed by tests/peer. */
Test(invite, both_ends_know_a_number)
{
    const uint8_t id[PV_INVITE_ID_LEN] = {1, 2, 3, 4};
    uint8_t secret[PV_INVITE_SECRET_LEN], h[PV_HASH_LEN];
    for (size_t i = 0; i < sizeof h; i++)
        h[i] = (uint8_t)i;
    memcpy(secret, h, sizeof secret);
    cr_assert_eq(pv_invite_number(id, secret, h), 164706);
    h[31] ^= 1; /* another session */
    cr_assert_neq(pv_invite_number(id, secret, h), 164706);
}

Test(invite, has_keys_of_its_own, .init = setup)
{
    struct pv_token_keys a, b;
    pv_invite_keys(&a, made.id, made.secret);
    cr_assert_neq(memcmp(a.gate, a.psk, sizeof a.gate), 0);
    made.id[0] ^= 1;
    pv_invite_keys(&b, made.id, made.secret);
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
    made.id[0] ^= 1;
    made.secret[15] ^= 1;
    pv_invite_keys(&b, made.id, made.secret);
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
}
