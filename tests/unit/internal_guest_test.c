/* Guests, from what sessions tell of them to what is sent to them; the test is the network. */
#include "internal/node/node_private.h"
#include "tests/unit/internal_client_fixture.h"

TestSuite(guest, .timeout = 60);

enum { LINKS = PV_GUESTS_MAX + 2, FIRST_LINK = 9000 };

static struct pvt_server *s;
static struct {
    uint8_t goodbye; /* 0: not dropped */
    uint8_t last[3]; /* of what was sent: type, kind, role */
    unsigned sent;
} links[LINKS];

static enum pv_err take(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    (void)ctx;
    memcpy(links[link - FIRST_LINK].last, payload, len < 3 ? len : 3);
    links[link - FIRST_LINK].sent++;
    return PV_OK;
}

static void drop(void *ctx, pv_link link, uint8_t goodbye)
{
    (void)ctx;
    links[link - FIRST_LINK].goodbye = goodbye;
}

static void start(void)
{
    s = pvt_server_new(1);
    cr_assert_eq(pv_keyring_add_token(&pvt_me(s)->keyring, "what guests get", 1), PV_OK);
    pvt_me(s)->node->config.io.send = take;
    pvt_me(s)->node->config.io.drop = drop;
}

static void leave(unsigned i)
{
    (void)pv_cluster_guest_down(s->cluster, FIRST_LINK + i);
    pvt_settle(&s->net);
}

static void stop(void)
{
    for (unsigned i = 0; i < LINKS; i++)
        leave(i);
    pvt_server_free(s);
}

static struct pv_invite invite(bool confirm)
{
    struct pv_invite out;
    struct pvt_client *c =
        pvt_ask(s, json_pack("{s:s, s:s, s:s, s:b}", "op", "invite", "role", "blind", "address",
                             "192.0.2.1:3000", "confirm", (int)confirm));
    pvt_assert_ok(c);
    cr_assert_eq(pv_invite_parse(&out, pvt_text(c->final, "code"), PV_INVITE_TEXT_LEN), PV_OK);
    pvt_client_free(c);
    return out;
}

/* Guest i comes by that invite. */
static struct pv_session_peer peer_of(unsigned i, const struct pv_invite *invite)
{
    struct pv_session_peer p = {.hash = {(uint8_t)i}};
    uint8_t seed[PV_SEED_LEN] = {(uint8_t)i, 77};
    pv_ed25519_public(p.handshake.pub, seed);
    pv_node_id_of(&p.handshake.node_id, p.handshake.pub);
    memcpy(p.handshake.invite_id, invite->id, sizeof p.handshake.invite_id);
    return p;
}

static void come(unsigned i, const struct pv_invite *invite)
{
    const struct pv_session_peer p = peer_of(i, invite);
    pv_cluster_guest_up(s->cluster, FIRST_LINK + i, &p, "192.0.2.7:5");
}

static void request(unsigned i)
{
    static const uint8_t body[] = {PV_JOIN_REQUEST, 1, 'g'};
    cr_assert(pv_cluster_guest_message(s->cluster, FIRST_LINK + i, PV_MSG_JOIN, body, sizeof body));
    pvt_settle(&s->net);
}

static void pass(uint64_t ms)
{
    pvt_advance(&s->net, ms);
    pvt_files_due(pvt_me(s));
}

static struct pvt_client *begin_confirm(const struct pv_invite *invite, uint8_t hash)
{
    const uint8_t h[PV_HASH_LEN] = {hash};
    return pvt_begin(s, json_pack("{s:s, s:I}", "op", "confirm", "number",
                                  (json_int_t)pv_invite_number(invite->id, invite->secret, h)));
}

static void refused(struct pvt_client *c, enum pv_exit exit)
{
    cr_assert_not(pvt_ok(c));
    cr_assert_eq(pvt_number(c->final, "exit"), exit);
    pvt_client_free(c);
}

static bool was_told(unsigned i, uint8_t kind)
{
    return links[i].last[0] == PV_MSG_JOIN && links[i].last[1] == kind;
}

Test(guest, as_many_as_allowed, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(false);
    for (unsigned i = 0; i < PV_GUESTS_MAX; i++) {
        come(i, &code);
        cr_assert_eq(links[i].goodbye, 0);
    }
    come(PV_GUESTS_MAX, &code);
    cr_assert_eq(links[PV_GUESTS_MAX].goodbye, PV_BYE_LIMIT);
    leave(3);
    come(PV_GUESTS_MAX + 1, &code);
    cr_assert_eq(links[PV_GUESTS_MAX + 1].goodbye, 0);
}

Test(guest, has_so_long_to_ask, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(false);
    come(0, &code);
    pass(PV_GUEST_MS - 1);
    cr_assert_eq(links[0].goodbye, 0);
    pass(1);
    cr_assert_eq(links[0].goodbye, PV_BYE_IDLE);
}

Test(guest, gets_what_the_invite_says, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(false);
    come(0, &code);
    request(0);
    cr_assert(was_told(0, PV_JOIN_GRANT));
    cr_assert_eq(links[0].last[2], PV_ROLE_BLIND);
    cr_assert_eq(pv_members_active(pvt_me(s)->node), 2);
    come(1, &code);
    request(1);
    cr_assert_eq(links[1].goodbye, PV_BYE_MEMBERSHIP, "one machine");
}

Test(guest, waits_to_be_confirmed_for_so_long, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(true);
    come(0, &code);
    pass(PV_GUEST_MS - 1);
    request(0);
    cr_assert(was_told(0, PV_JOIN_CONFIRM));
    pass(PV_GUEST_CONFIRM_MS - 1);
    cr_assert_eq(links[0].goodbye, 0);
    cr_assert_eq(pv_members_active(pvt_me(s)->node), 1);
    pass(1);
    cr_assert_eq(links[0].goodbye, PV_BYE_IDLE);
}

Test(guest, is_let_in_by_its_number, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(true);
    come(1, &code);
    struct pvt_client *c = begin_confirm(&code, 1);
    pvt_settle(&s->net);
    refused(c, PV_EXIT_NOT_FOUND); /* it has not asked */
    request(1);
    c = begin_confirm(&code, 2);
    pvt_settle(&s->net);
    refused(c, PV_EXIT_NOT_FOUND);
    cr_assert_eq(links[1].sent, 1);
    c = begin_confirm(&code, 1);
    pvt_settle(&s->net);
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->final, "address"), "192.0.2.7:5");
    pvt_client_free(c);
    cr_assert(was_told(1, PV_JOIN_GRANT));
    cr_assert_eq(pv_members_active(pvt_me(s)->node), 2);
    c = begin_confirm(&code, 1);
    pvt_settle(&s->net);
    refused(c, PV_EXIT_NOT_FOUND); /* once */
}

Test(guest, two_with_one_number_are_not_let_in, .init = start, .fini = stop)
{
    const struct pv_invite code = invite(true);
    const struct pv_session_peer p = peer_of(1, &code);
    for (unsigned i = 0; i < 2; i++) {
        pv_cluster_guest_up(s->cluster, FIRST_LINK + i, &p, "192.0.2.7:5");
        request(i);
        cr_assert(was_told(i, PV_JOIN_CONFIRM));
    }
    struct pvt_client *c = begin_confirm(&code, 1);
    pvt_settle(&s->net);
    refused(c, PV_EXIT_NOT_FOUND);
}

/* Either the guest or the operator leaves while the member record is written. */
Test(guest, somebody_leaves_meanwhile, .init = start, .fini = stop)
{
    struct pv_invite code = invite(true);
    come(1, &code);
    request(1);
    struct pvt_client *c = begin_confirm(&code, 1);
    pv_cluster_guest_down(s->cluster, FIRST_LINK + 1);
    pvt_settle(&s->net);
    refused(c, PV_EXIT_UNAVAILABLE);

    code = invite(true);
    come(2, &code);
    request(2);
    c = begin_confirm(&code, 2);
    pvt_cancel(c);
    pvt_settle(&s->net);
    pvt_client_free(c);
    cr_assert(was_told(2, PV_JOIN_GRANT));
}
