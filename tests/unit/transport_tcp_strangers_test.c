/* Who is refused, and where a dial goes on then. */
#include "tests/unit/transport_tcp_fixture.h"

TestSuite(tcp_strangers, .timeout = 60);

static struct host c;

/* Said once, but tried again: the network may have led us astray. */
Test(tcp_strangers, ourselves_is_tried_again_later)
{
    begin();
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(a.t)), PV_OK);
    struct pv_dialer *d = &a.t->dials[0]->dialer;
    for (unsigned i = 1; i <= 3; i++) {
        RUN_UNTIL(d->attempts == i);
        struct pv_tcp_peer_status status;
        pv_tcp_peer_status(a.t, 0, &status);
        cr_assert_str_eq(status.last_error, "this is ourselves");
        cr_assert_neq(status.next_dial_ms, 0);
        cr_assert_not(status.connected);
        d->due_ms = 0;
        pv_tcp_arm(a.t);
    }
    cr_assert_eq(a.ups, 0);
    char *first = strstr(a.node.log.text, "warn");
    cr_assert_neq(first, NULL);
    cr_assert_null(strstr(first + 1, "warn"), "%s", a.node.log.text);
    cr_assert_neq(strstr(first, "cause=\"this is ourselves\""), NULL);
    finish();
}

Test(tcp_strangers, wrong_token_is_told)
{
    begin();
    token_fill(&b.node.ctx.handshake.tokens[0], 90);
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, pv_refusal_text(PV_REFUSED_SILENT));
    cr_assert_neq(status.next_dial_ms, 0);
    cr_assert(pvt_log_has(&a.node.log, "cause=\"wrong token\""));
    finish();
    cr_assert_eq(a.ups + b.ups, 0);
}

Test(tcp_strangers, older_token_is_tried_next)
{
    begin();
    b.node.ctx.handshake.tokens[1] = b.node.ctx.handshake.tokens[0];
    token_fill(&b.node.ctx.handshake.tokens[0], 90);
    b.node.ctx.handshake.token_count = 2;
    connect_both();
    finish();
}

Test(tcp_strangers, wrong_clock_is_told_to_both)
{
    begin();
    b.env.wall_ms = b.node.clock.env.wall_ms; /* the fixed day in the past */
    b.env.ctx = b.node.clock.env.ctx;
    cr_assert_eq(pv_tcp_add_peer(b.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(pvt_log_has(&b.node.log, "clock differs by"));
    cr_assert(pvt_log_has(&a.node.log, "clock differs by"));
    cr_assert(pvt_log_has(&b.node.log, "our_clock=2023-11-14T22:13:20Z"));
    finish();
}

/* b dials a stranger who accepts and hangs up; the name has a second address. */
static struct dial *dial_two(const struct sockaddr_storage *second)
{
    struct sockaddr_storage first;
    char text[32];
    int fd = raw_listen(&first, text);
    cr_assert_eq(pv_tcp_add_peer(b.t, text), PV_OK);
    struct dial *d = b.t->dials[0];
    RUN_UNTIL(d->dialer.state == PV_DIALER_DIALLING);
    d->found[d->found_count++] = *second;
    close(accept(fd, NULL, NULL));
    close(fd);
    return d;
}

Test(tcp_strangers, a_stranger_at_one_address_does_not_hide_the_next)
{
    begin();
    struct dial *d = dial_two(&a.t->listen_address);
    RUN_UNTIL((a.link != 0 && b.link != 0) || d->dialer.attempts > 0);
    cr_assert_eq(d->dialer.attempts, 0, "%s", d->dialer.error);
    finish();
}

/* A name with so many addresses, each family in a row. */
static void resolve_to(struct dial *d, unsigned count)
{
    struct sockaddr_in v4[PV_RESOLVED_MAX + 1];
    struct sockaddr_in6 v6[PV_RESOLVED_MAX + 1];
    struct addrinfo list[PV_RESOLVED_MAX + 1];
    cr_assert_leq(count, PV_COUNT(list));
    for (unsigned i = 0; i < count; i++) {
        bool first = i < 2;
        v4[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)};
        v6[i] = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                      .sin6_addr.s6_addr = {[15] = (uint8_t)i}};
        list[i] = (struct addrinfo){
            .ai_family = first ? AF_INET : AF_INET6,
            .ai_addr = first ? (struct sockaddr *)&v4[i] : (struct sockaddr *)&v6[i],
            .ai_addrlen = first ? sizeof v4[i] : sizeof v6[i],
            .ai_next = i + 1 < count ? &list[i + 1] : NULL,
        };
    }
    d->found_count = 0;
    pv_dial_take(d, list);
}

Test(tcp_strangers, as_many_addresses_of_a_name_as_allowed)
{
    /* Families in turns, and the order of the system in each. */
    static const unsigned expected[PV_RESOLVED_MAX] = {0, 2, 1, 3, 4, 5, 6, 7};
    for (unsigned count = PV_RESOLVED_MAX - 1; count <= PV_RESOLVED_MAX + 1; count++) {
        struct dial *d = calloc(1, sizeof *d);
        unsigned taken = count < PV_RESOLVED_MAX ? count : PV_RESOLVED_MAX;
        d->dialer.address.port = 7;
        resolve_to(d, count);
        cr_assert_eq(d->found_count, taken);
        for (unsigned i = 0; i < taken; i++) {
            const struct sockaddr_in *v4 = (struct sockaddr_in *)&d->found[i];
            const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&d->found[i];
            bool is_v4 = d->found[i].ss_family == AF_INET;
            cr_expect_eq(is_v4 ? ntohl(v4->sin_addr.s_addr) : v6->sin6_addr.s6_addr[15],
                         expected[i], "at %u of %u", i, count);
            cr_expect_eq(ntohs(is_v4 ? v4->sin_port : v6->sin6_port), 7);
        }
        free(d);
    }
}

/* An address that swallows what it gets: a listener whose queue is full. */
static int black_hole(struct sockaddr_storage *address, int fillers[static 8])
{
    char text[32];
    int fd = raw_listen(address, text);
    cr_assert_eq(listen(fd, 0), 0);
    for (unsigned i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)address, sizeof(struct sockaddr_in));
    }
    return fd;
}

Test(tcp_strangers, an_address_without_answer_does_not_hold_up_the_next)
{
    struct sockaddr_storage hole;
    int fillers[8];
    begin();
    int fd = black_hole(&hole, fillers);
    struct dial *d = dial_two(&hole);
    cr_assert_lt(d->found_count, PV_RESOLVED_MAX);
    d->found[d->found_count++] = a.t->listen_address;
    RUN_UNTIL((a.link != 0 && b.link != 0) || d->dialer.attempts > 0);
    cr_assert_eq(d->dialer.attempts, 0, "%s", d->dialer.error);
    cr_assert_eq(d->found_count, 3);
    cr_assert_eq(d->found_next, 2, "the one without an answer was not waited for");
    cr_assert_eq(d->connecting, 0);
    close(fd);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    finish();
}

/* The wait for an address is over: nothing here waits for it. */
Test(tcp_strangers, an_address_without_answer_is_given_up)
{
    struct sockaddr_storage hole;
    int fillers[8];
    char text[32];
    begin();
    int fd = black_hole(&hole, fillers);
    snprintf(text, sizeof text, "127.0.0.1:%u",
             (unsigned)ntohs(((struct sockaddr_in *)&hole)->sin_port));
    uint64_t before_ms = pv_env_mono_ms(&b.env);
    cr_assert_eq(pv_tcp_add_peer(b.t, text), PV_OK);
    RUN_UNTIL(b.t->link_count == 1);
    struct link *l = PV_LIST_ENTRY(b.t->links.next, struct link, all);
    cr_assert_eq(l->state, LINK_CONNECTING);
    cr_assert_geq(l->armed_ms, before_ms + PV_CONNECT_MS);
    cr_assert_leq(l->armed_ms, pv_env_mono_ms(&b.env) + PV_CONNECT_MS);
    l->armed_ms = UINT64_MAX;
    pv_link_arm(l, 0);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, "connection timed out");
    close(fd);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    finish();
}

Test(tcp_strangers, silence_at_one_address_is_what_counts)
{
    struct sockaddr_storage gone;
    char text[32];
    begin();
    b.node.ctx.handshake.token_count = 2;
    close(raw_listen(&gone, text));
    struct dial *d = dial_two(&gone);
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_str_eq(d->dialer.error, pv_refusal_text(PV_REFUSED_SILENT));
    cr_assert_eq(d->dialer.token, 1);
    finish();
}

/* One of the addresses of a name that all nodes share is our own: the others are still wanted. */
Test(tcp_strangers, ourselves_among_others_is_no_reason_to_wait)
{
    struct sockaddr_storage gone;
    char text[32];
    begin();
    close(raw_listen(&gone, text));
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(a.t)), PV_OK);
    struct dial *d = a.t->dials[0];
    RUN_UNTIL(d->dialer.state == PV_DIALER_DIALLING);
    d->found[d->found_count++] = gone;
    RUN_UNTIL(d->dialer.attempts == 1);
    cr_assert_str_eq(d->dialer.error, "connection refused");
    cr_assert_leq(d->dialer.due_ms, pv_env_mono_ms(&a.env) + PV_DIAL_MS_MIN);
    finish();
}

static void check_stranger(const char *bytes, size_t len, const char *logged)
{
    int fd = raw_connect(&a);
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    while (!raw_ended(fd))
        uv_run(&loop, UV_RUN_ONCE);
    close(fd);
    cr_assert(pvt_log_has(&a.node.log, logged), "%s", a.node.log.text);
    pvt_log_clear(&a.node.log);
}

Test(tcp_strangers, strangers_get_silence)
{
    static char noise[65536];
    begin();
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 2654435761U >> 13);
    check_stranger("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27,
                   "cause=\"not a PeerVault handshake (looks like HTTP)\"");
    check_stranger("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, "looks like TLS");
    check_stranger(noise, sizeof noise, "not a PeerVault handshake");
    connect_both();
    finish();
}

Test(tcp_strangers, silent_client_meets_the_deadline)
{
    begin();
    a.node.ctx.handshake_ms = 20;
    int fd = raw_connect(&a), other = raw_connect(&a);
    cr_assert_eq(send(other, "\x01\x00\x00", 3, MSG_NOSIGNAL), 3);
    bool ended = false, other_ended = false;
    while (!ended || !other_ended) {
        uv_run(&loop, UV_RUN_ONCE);
        ended = ended || raw_ended(fd);
        other_ended = other_ended || raw_ended(other);
    }
    close(fd);
    close(other);
    cr_assert(pvt_log_has(&a.node.log, "handshake took too long"));
    a.node.ctx.handshake_ms = 0;
    connect_both();
    finish();
}

Test(tcp_strangers, half_open_connections_are_capped)
{
    static int fds[PV_HALF_OPEN_MAX + 1];
    begin();
    for (size_t i = 0; i < PV_HALF_OPEN_MAX; i++) {
        fds[i] = raw_connect(&a);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    while (a.t->half_open_count < PV_HALF_OPEN_MAX)
        uv_run(&loop, UV_RUN_ONCE);
    fds[PV_HALF_OPEN_MAX] = raw_connect(&a);
    while (!raw_ended(fds[PV_HALF_OPEN_MAX]))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert(pvt_log_has(&a.node.log, "too many unfinished handshakes"));
    for (size_t i = 0; i < PV_HALF_OPEN_MAX; i++)
        cr_assert_not(raw_ended(fds[i]));
    for (size_t i = 0; i <= PV_HALF_OPEN_MAX; i++)
        close(fds[i]);
    while (a.t->half_open_count > 0)
        uv_run(&loop, UV_RUN_ONCE);
    connect_both();
    finish();
}

/* Few descriptors: strangers take all that they can get, and who was named is reached all the same;
 * when they have gone, there is room again. */
Test(tcp_strangers, strangers_leave_room_for_named_peers)
{
    enum { MAX = 8, STRANGERS = 3 * MAX };
    static int fds[STRANGERS];
    begin();
    pv_tcp_limit(a.t, MAX);
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    size_t refused = 0;
    for (size_t i = 0; i < STRANGERS; i++)
        fds[i] = raw_connect(&a);
    while (refused < STRANGERS - MAX / 2) {
        uv_run(&loop, UV_RUN_ONCE);
        cr_assert_leq(a.t->link_count, MAX);
        refused = 0;
        for (size_t i = 0; i < STRANGERS; i++)
            refused += raw_ended(fds[i]);
    }
    cr_assert_eq(a.t->half_open_count, MAX / 2);
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(b.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
    for (size_t i = 0; i < STRANGERS; i++)
        close(fds[i]);
    RUN_UNTIL(a.t->link_count == 1);
    finish();
}

Test(tcp_strangers, no_more_sockets_than_allowed)
{
    begin();
    pv_tcp_limit(b.t, 2);
    cr_assert_eq(pv_tcp_listen(b.t, "127.0.0.1:0"), PV_OK);
    cr_assert_eq(pv_tcp_add_peer(a.t, pv_tcp_listening(b.t)), PV_OK);
    RUN_UNTIL(a.link != 0 && b.link != 0);
    int fd = raw_connect(&b), one_more = raw_connect(&b);
    while (!raw_ended(one_more))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_not(raw_ended(fd));
    cr_assert_eq(b.t->link_count, 2);
    cr_assert_eq(pv_tcp_add_peer(b.t, "127.0.0.1:1"), PV_OK);
    struct pv_tcp_peer_status status = {0};
    while (status.last_error == NULL) {
        uv_run(&loop, UV_RUN_ONCE);
        pv_tcp_peer_status(b.t, 0, &status);
    }
    cr_assert_str_eq(status.last_error, "too many connections");
    close(fd);
    close(one_more);
    finish();
}

/*
 * A first message that was recorded long ago opens the gate for whoever has it, and is answered
 * with the clock message. Until he has gone he is a stranger, and counted as one.
 */
Test(tcp_strangers, whoever_was_told_the_clock_stays_half_open)
{
    struct pv_session *s;
    struct pv_session_effect e;
    uint8_t answer[PV_FRAME_HEADER_LEN + PV_HS_CLOCK_LEN];
    begin();
    b.env.wall_ms = b.node.clock.env.wall_ms;
    b.env.ctx = b.node.clock.env.ctx;
    cr_assert_eq(pv_session_new(&s, &b.node.ctx, true, 0, NULL, "a"), PV_OK);
    cr_assert(pv_session_next(s, &e) && e.type == PV_SESSION_SEND);
    int fd = raw_connect(&a);
    cr_assert_eq(send(fd, e.bytes, e.len, MSG_NOSIGNAL), (ssize_t)e.len);
    for (size_t have = 0; have < sizeof answer;) {
        uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
        cr_assert(got > 0 || (got < 0 && errno == EAGAIN));
        have += got > 0 ? (size_t)got : 0;
    }
    cr_assert_eq(a.t->link_count, 1);
    cr_assert_eq(a.t->half_open_count, 1);
    close(fd);
    RUN_UNTIL(a.t->link_count == 0);
    cr_assert_eq(a.t->half_open_count, 0);
    pv_session_free(s);
    finish();
}

Test(tcp_strangers, out_of_descriptors)
{
    struct rlimit limit, low;
    begin();
    int one = raw_connect(&a), two = raw_connect(&a);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 0; /* no new descriptor at all; open ones go on */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (!pvt_log_has(&a.node.log, "connection not accepted"))
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(one);
    close(two);
    connect_both();
    finish();
}

/* All but one of the sessions that may be are made up. */
Test(tcp_strangers, as_many_sessions_as_allowed)
{
    begin();
    host_init(&c, 3);
    for (pv_link id = UINT32_MAX; a.t->by_id.count < PV_SESSIONS_MAX - 1; id--)
        cr_assert_eq(pv_map_put(&a.t->by_id, &id, &a), PV_OK);
    connect_both();
    pv_link first = a.link;
    cr_assert_eq(a.t->by_id.count, PV_SESSIONS_MAX);
    cr_assert_eq(pv_tcp_add_peer(c.t, pv_tcp_listening(a.t)), PV_OK);
    RUN_UNTIL(c.downs == 1);
    cr_assert_eq(c.down_goodbye, PV_BYE_LIMIT);
    cr_assert_eq(a.ups, 1);
    for (pv_link id = UINT32_MAX; a.t->by_id.count > 1; id--)
        pv_map_remove(&a.t->by_id, &id);
    RUN_UNTIL(a.ups == 2 && c.ups == 2); /* it came again */
    host_release(&c);
    RUN_UNTIL(a.downs == 1);
    a.link = first;
    finish();
}
