/*
 * F7: what people type or paste: addresses, sizes, durations, invite codes, tokens, and what the
 * operator decided about other nodes, as it lies in vault.db. What is taken and shown means the
 * same again.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/invite.h"
#include "internal/config_value.h"
#include "internal/node/policy.h"
#include "transport/address.h"

#include <strings.h>

static void check_address(const char *text)
{
    struct pv_address a, again;
    char shown[PV_ADDRESS_TEXT_LEN];
    enum pv_err err = pv_address_parse(&a, text);
    cr_assert(err == PV_OK || pv_address_form(text, 0) != PV_OK, "the settings take it");
    if (err != PV_OK)
        return;
    cr_assert(a.host[0] != '\0' && memchr(a.host, '\0', sizeof a.host) != NULL);
    pv_address_format(shown, a.host, a.port);
    cr_assert_eq(pv_address_parse(&again, shown), PV_OK, "%s", shown);
    cr_assert(strcmp(a.host, again.host) == 0 && a.port == again.port);
}

static void check_amount(const char *text, bool size)
{
    struct pv_buf shown;
    uint64_t amount, again;
    pv_buf_init(&shown, 64);
    if ((size ? pv_size_parse(&amount, text) : pv_duration_parse(&amount, text)) == PV_OK) {
        cr_assert_eq((size ? pv_size_show : pv_duration_show)(amount, &shown), PV_OK);
        cr_assert_eq(pv_buf_append(&shown, "", 1), PV_OK);
        const char *s = (const char *)shown.data;
        cr_assert_eq(size ? pv_size_parse(&again, s) : pv_duration_parse(&again, s), PV_OK);
        cr_assert_eq(amount, again, "%s", s);
    }
    pv_buf_release(&shown);
}

static void check_invite(const char *text, size_t len)
{
    struct pv_invite invite;
    char again[PV_INVITE_TEXT_LEN + 1];
    if (pv_invite_parse(&invite, text, len) != PV_OK)
        return;
    struct pv_token_keys keys;
    struct pv_id inviter = {{0}};
    memcpy(inviter.b, invite.inviter, sizeof invite.inviter);
    cr_assert(pv_invite_is_from(&invite, &inviter));
    inviter.b[0] ^= 1;
    cr_assert_not(pv_invite_is_from(&invite, &inviter));
    pv_invite_keys(&keys, invite.id, invite.secret);
    cr_assert_arr_neq(keys.gate, keys.psk, PV_KEY_LEN);
    cr_assert_lt(pv_invite_number(invite.id, invite.secret, keys.psk), PV_INVITE_NUMBERS);
    pv_invite_format(again, &invite);
    cr_assert(len == PV_INVITE_TEXT_LEN && strncasecmp(again, text, len) == 0);
}

static void check_policy(const uint8_t *data, size_t size)
{
    static struct pv_policy policy;
    struct pv_buf again;
    enum pv_err err = pv_policy_decode(&policy, data, size);
    cr_assert(err == PV_OK || (err == PV_E_CORRUPT && policy.count == 0));
    if (err != PV_OK)
        return;
    pv_buf_init(&again, PV_POLICY_LEN_MAX);
    cr_assert_eq(pv_policy_encode(&again, &policy), PV_OK);
    cr_assert(again.len == size && memcmp(again.data, data, size) == 0);
    pv_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = pvf_text(data, size);
    bool weak;
    check_address(text);
    check_amount(text, true);
    check_amount(text, false);
    check_invite(text, size);
    check_policy(data, size);
    enum pv_err err = pv_token_check(text, &weak);
    cr_assert(err == PV_OK || err == PV_E_INVALID);
    cr_assert(err != PV_OK || (*text != '\0' && strlen(text) <= PV_TOKEN_LEN_MAX));
    pv_free(text);
    return 0;
}
