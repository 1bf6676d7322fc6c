/*
 * The steps and their labels are those of protocol.md. Each side walks one row:
 *
 *   dialler:   SEND_M1 -> AWAIT_M2 -> SEND_M3 -> DONE
 *   listener:  AWAIT_M1 -> SEND_M2 -> AWAIT_M3 -> DONE
 *                  `-> SEND_CLOCK -> REFUSED
 *
 * and falls into REFUSED at the first thing that is not right. The order of checks is the defence:
 * cheap before dear, and nothing that says something about us before the gate tag has shown that
 * the other side knows the token. A gate tag covers the one before it, so the last one covers the
 * whole exchange. Payloads of M2 and M3 are in certificate.c.
 */
#include "transport/handshake.h"
#include "crypto/body.h"
#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "transport/certificate.h"

enum { ENVELOPE_LEN = 16, GATE_LEN = 32, MSG_CLOCK = 4, SUITE = 1 };

static const char magic[4] = {'P', 'V', 'H', '1'};
static const char gate_label[8] = {'P', 'V', '1', '/', 'g', 'a', 't', 'e'};
static const char prologue_label[12] = "PeerVault/1"; /* with its NUL */

enum step { SEND_M1, AWAIT_M1, SEND_M2, AWAIT_M2, SEND_M3, AWAIT_M3, SEND_CLOCK, DONE, REFUSED };

struct pv_handshake {
    const struct pv_handshake_context *ctx;
    struct pv_noise_static noise_static;
    struct pv_token_keys keys; /* the dialler's choice, or the one that fitted M1 */
    struct pv_noise *noise;
    enum step step;
    enum pv_refusal refusal;
    bool has_expected;
    struct pv_id expected;
    uint8_t tag[GATE_LEN]; /* of the last message, either way */
    struct pv_handshake_peer peer;
};

struct envelope {
    uint8_t bytes[ENVELOPE_LEN];
    uint64_t ts_ms;
};

const char *pv_refusal_text(enum pv_refusal r)
{
    static const char *const texts[] = {
#define X(name, text) [PV_REFUSED_##name] = text,
        PV_REFUSAL_LIST(X)
#undef X
    };
    return (size_t)r < PV_COUNT(texts) ? texts[r] : "?";
}

enum pv_err pv_handshake_new(struct pv_handshake **out, const struct pv_handshake_context *ctx,
                             bool dialler, size_t token, const struct pv_id *expected)
{
    PV_ASSERT(ctx->token_count >= 1 && ctx->token_count <= PV_HS_TOKENS_MAX);
    struct pv_handshake *h = pv_calloc(1, sizeof *h);
    if (h == NULL)
        return PV_E_NOMEM;
    h->ctx = ctx;
    h->noise_static = *ctx->noise_static;
    h->step = dialler ? SEND_M1 : AWAIT_M1;
    if (dialler) {
        h->peer.token = token < ctx->token_count ? token : 0;
        h->keys = ctx->tokens[h->peer.token];
    }
    h->has_expected = expected != NULL;
    if (h->has_expected)
        h->expected = *expected;
    *out = h;
    return PV_OK;
}

void pv_handshake_free(struct pv_handshake *h)
{
    if (h == NULL)
        return;
    pv_noise_free(h->noise);
    pv_wipe(h, sizeof *h);
    pv_free(h);
}

static enum pv_err refuse(struct pv_handshake *h, enum pv_refusal why)
{
    h->refusal = why;
    h->step = REFUSED;
    bool garbage = why == PV_REFUSED_LENGTH || why == PV_REFUSED_MAGIC || why == PV_REFUSED_VERSION;
    return garbage ? PV_E_PROTOCOL : PV_E_AUTH;
}

/* ---- envelope, gate, clock ---- */

static void make_envelope(const struct pv_handshake *h, struct envelope *e, uint8_t msg)
{
    e->ts_ms = pv_env_wall_ms(h->ctx->env);
    struct pv_wr w = pv_wr_of(e->bytes, sizeof e->bytes);
    pv_wr_bytes(&w, magic, sizeof magic);
    pv_wr_u8(&w, msg);
    pv_wr_u8(&w, SUITE);
    pv_wr_u16(&w, 0);
    pv_wr_u64(&w, e->ts_ms);
}

static enum pv_refusal parse_envelope(struct envelope *e, const uint8_t src[static ENVELOPE_LEN],
                                      uint8_t msg)
{
    memcpy(e->bytes, src, sizeof e->bytes);
    struct pv_rd r = pv_rd_of(src, ENVELOPE_LEN);
    if (memcmp(pv_rd_view(&r, sizeof magic), magic, sizeof magic) != 0)
        return PV_REFUSED_MAGIC;
    uint8_t number = pv_rd_u8(&r);
    uint8_t suite = pv_rd_u8(&r);
    uint16_t flags = pv_rd_u16(&r);
    e->ts_ms = pv_rd_u64(&r);
    if (suite != SUITE || flags != 0)
        return PV_REFUSED_VERSION;
    return number == msg ? PV_REFUSED_NOT : PV_REFUSED_LENGTH;
}

/* T = HMAC(K_gate, "PV1/gate" || msg || previous tag || body); M1 has no previous tag. */
static void gate(uint8_t out[static GATE_LEN], const struct pv_token_keys *keys, uint8_t msg,
                 const uint8_t *previous, const uint8_t *body, size_t body_len)
{
    const struct pv_part parts[] = {
        {gate_label, sizeof gate_label},
        {&msg, 1},
        {previous, previous != NULL ? GATE_LEN : 0},
        {body, body_len},
    };
    pv_hmac_parts(out, keys->gate, sizeof keys->gate, parts, PV_COUNT(parts));
}

static bool gate_fits(struct pv_handshake *h, uint8_t msg, const uint8_t *src, size_t len)
{
    uint8_t tag[GATE_LEN];
    gate(tag, &h->keys, msg, h->tag, src, len - GATE_LEN);
    if (!pv_secret_equal(tag, src + len - GATE_LEN, GATE_LEN))
        return false;
    memcpy(h->tag, tag, sizeof tag);
    return true;
}

static bool gate_selects_one(struct pv_handshake *h, const struct pv_token_keys *keys,
                             const uint8_t *src, size_t len)
{
    uint8_t tag[GATE_LEN];
    gate(tag, keys, 1, NULL, src, len - GATE_LEN);
    if (!pv_secret_equal(tag, src + len - GATE_LEN, GATE_LEN))
        return false;
    h->keys = *keys;
    memcpy(h->tag, tag, sizeof tag);
    return true;
}

/* Tries every token and invite, always all of them, so that the time does not tell which one
 * fitted. */
static bool gate_selects(struct pv_handshake *h, const uint8_t *src, size_t len)
{
    const struct pv_handshake_context *ctx = h->ctx;
    bool found = false;
    for (size_t i = 0; i < ctx->token_count; i++) {
        if (gate_selects_one(h, &ctx->tokens[i], src, len)) {
            h->peer.token = i;
            found = true;
        }
    }
    for (size_t i = 0; i < ctx->invite_count; i++) {
        if (gate_selects_one(h, &ctx->invites[i].keys, src, len)) {
            h->peer.is_guest = found = true;
            memcpy(h->peer.invite_id, ctx->invites[i].id, sizeof h->peer.invite_id);
        }
    }
    return found;
}

int64_t pv_skew_ms(uint64_t theirs_ms, uint64_t ours_ms)
{
    bool ahead = theirs_ms > ours_ms;
    uint64_t apart_ms = ahead ? theirs_ms - ours_ms : ours_ms - theirs_ms;
    int64_t shown_ms = apart_ms > INT64_MAX ? INT64_MAX : (int64_t)apart_ms;
    return ahead ? shown_ms : -shown_ms;
}

static bool clock_fits(struct pv_handshake *h, uint64_t theirs_ms)
{
    h->peer.skew_ms = pv_skew_ms(theirs_ms, pv_env_wall_ms(h->ctx->env));
    uint64_t apart_ms = (uint64_t)(h->peer.skew_ms < 0 ? -h->peer.skew_ms : h->peer.skew_ms);
    return apart_ms <= h->ctx->max_skew_ms;
}

static enum pv_err start_noise(struct pv_handshake *h, bool initiator, const struct envelope *m1)
{
    uint8_t prologue[sizeof prologue_label + ENVELOPE_LEN];
    memcpy(prologue, prologue_label, sizeof prologue_label);
    memcpy(prologue + sizeof prologue_label, m1->bytes, ENVELOPE_LEN);
    uint8_t ephemeral[PV_DH_LEN];
    pv_env_random(h->ctx->env, ephemeral, sizeof ephemeral);
    h->peer.dialled_ms = m1->ts_ms;
    enum pv_err err = pv_noise_new(&h->noise, &(struct pv_noise_config){
                                                  .initiator = initiator,
                                                  .prologue = prologue,
                                                  .prologue_len = sizeof prologue,
                                                  .static_private = h->noise_static.priv,
                                                  .ephemeral_private = ephemeral,
                                                  .psk_mask = 1 << 3,
                                                  .psks = (const uint8_t(*)[PV_KEY_LEN])h->keys.psk,
                                              });
    pv_wipe(ephemeral, sizeof ephemeral);
    return err;
}

/* ---- reading ---- */

/* L1..L6 of protocol.md: magic and version, gate, clock, replay, and only then a DH. */
static enum pv_err read_m1(struct pv_handshake *h, const uint8_t *src, size_t len)
{
    struct envelope e;
    enum pv_refusal why = parse_envelope(&e, src, 1);
    if (why != PV_REFUSED_NOT)
        return refuse(h, why);
    if (!gate_selects(h, src, len))
        return refuse(h, PV_REFUSED_TOKEN);
    if (!clock_fits(h, e.ts_ms)) {
        enum pv_err err = refuse(h, PV_REFUSED_CLOCK);
        h->step = SEND_CLOCK;
        return err;
    }
    enum pv_err err = pv_replay_cache_add(h->ctx->replay, h->tag, 2 * h->ctx->max_skew_ms);
    if (err == PV_E_EXISTS)
        return refuse(h, PV_REFUSED_REPLAY);
    if (err == PV_OK)
        err = start_noise(h, false, &e);
    if (err != PV_OK) {
        h->step = REFUSED;
        return err;
    }
    size_t got;
    if (pv_noise_read(h->noise, src + ENVELOPE_LEN, len - ENVELOPE_LEN - GATE_LEN, NULL, 0, &got) !=
        PV_OK)
        return refuse(h, PV_REFUSED_CRYPTO);
    h->step = SEND_M2;
    return PV_OK;
}

/* The X25519 key of each process is its own, and never on a disk. */
static bool is_of_this_process(const struct pv_handshake *h)
{
    const uint8_t *theirs = pv_noise_remote_static(h->noise);
    const struct pv_noise_static *now = h->ctx->noise_static;
    return memcmp(theirs, now->pub, PV_DH_LEN) == 0 ||
           memcmp(theirs, now->past_pub, PV_DH_LEN) == 0;
}

/* What M2 and M3 have in common. Clock and identity count only under a right gate tag. */
static enum pv_err read_answer(struct pv_handshake *h, uint8_t msg, const uint8_t *src, size_t len)
{
    struct envelope e;
    enum pv_refusal why = parse_envelope(&e, src, msg);
    if (why != PV_REFUSED_NOT)
        return refuse(h, why);
    if (!gate_fits(h, msg, src, len))
        return refuse(h, PV_REFUSED_TOKEN);
    if (!clock_fits(h, e.ts_ms))
        return refuse(h, PV_REFUSED_CLOCK);
    if (msg == 2)
        h->peer.answered_ms = e.ts_ms;
    uint8_t payload[PV_CERTIFICATE_LEN];
    size_t got;
    if (pv_noise_read(h->noise, src + ENVELOPE_LEN, len - ENVELOPE_LEN - GATE_LEN, payload,
                      sizeof payload, &got) != PV_OK)
        return refuse(h, PV_REFUSED_CRYPTO);
    PV_ASSERT(got == sizeof payload);
    const struct pv_certificate_check check = {
        .noise_pub = pv_noise_remote_static(h->noise),
        .ts_ms = e.ts_ms,
        .now_ms = pv_env_wall_ms(h->ctx->env),
        .max_skew_ms = h->ctx->max_skew_ms,
    };
    if (pv_certificate_read(&h->peer, payload, &check) != PV_OK)
        return refuse(h, PV_REFUSED_IDENTITY);
    if (pv_id_equal(&h->peer.node_id, &h->ctx->identity->node_id))
        return refuse(h, is_of_this_process(h) ? PV_REFUSED_SELF : PV_REFUSED_TWIN);
    if (h->has_expected && !pv_id_equal(&h->peer.node_id, &h->expected))
        return refuse(h, PV_REFUSED_EXPECTED);
    h->step = msg == 2 ? SEND_M3 : DONE;
    return PV_OK;
}

static enum pv_err read_clock(struct pv_handshake *h, const uint8_t *src, size_t len)
{
    struct envelope e;
    enum pv_refusal why = parse_envelope(&e, src, MSG_CLOCK);
    if (why != PV_REFUSED_NOT)
        return refuse(h, why);
    if (!gate_fits(h, MSG_CLOCK, src, len))
        return refuse(h, PV_REFUSED_TOKEN);
    (void)clock_fits(h, e.ts_ms); /* their word that it does not: only the difference is wanted */
    return refuse(h, PV_REFUSED_CLOCK);
}

size_t pv_handshake_expects(const struct pv_handshake *h, size_t *alternative)
{
    *alternative = h->step == AWAIT_M2 ? PV_HS_CLOCK_LEN : 0;
    if (h->step == AWAIT_M1)
        return PV_HS_M1_LEN;
    if (h->step == AWAIT_M2)
        return PV_HS_M2_LEN;
    return h->step == AWAIT_M3 ? PV_HS_M3_LEN : 0;
}

enum pv_err pv_handshake_read(struct pv_handshake *h, const uint8_t *src, size_t len)
{
    size_t alternative;
    size_t expected = pv_handshake_expects(h, &alternative);
    if (expected == 0 || (len != expected && (len != alternative || alternative == 0)))
        return refuse(h, PV_REFUSED_LENGTH);
    if (h->step == AWAIT_M1)
        return read_m1(h, src, len);
    if (len == alternative)
        return read_clock(h, src, len);
    return read_answer(h, h->step == AWAIT_M2 ? 2 : 3, src, len);
}

/* ---- writing ---- */

static enum pv_err write_message(struct pv_handshake *h, uint8_t msg, uint8_t *dst, size_t *len)
{
    struct envelope e;
    make_envelope(h, &e, msg);
    memcpy(dst, e.bytes, ENVELOPE_LEN);
    if (msg == 1) {
        enum pv_err err = start_noise(h, true, &e);
        if (err != PV_OK)
            return err;
    } else if (msg == 2) {
        h->peer.answered_ms = e.ts_ms;
    }
    uint8_t payload[PV_CERTIFICATE_LEN];
    size_t payload_len = msg == 1 ? 0 : sizeof payload;
    if (msg != 1)
        pv_certificate_write(payload, h->ctx, &h->noise_static, e.ts_ms);
    size_t noise_len;
    enum pv_err err = pv_noise_write(h->noise, payload, payload_len, dst + ENVELOPE_LEN,
                                     PV_HS_LEN_MAX - ENVELOPE_LEN - GATE_LEN, &noise_len);
    if (err != PV_OK)
        return err;
    size_t body_len = ENVELOPE_LEN + noise_len;
    gate(h->tag, &h->keys, msg, msg == 1 ? NULL : h->tag, dst, body_len);
    memcpy(dst + body_len, h->tag, GATE_LEN);
    *len = body_len + GATE_LEN;
    return PV_OK;
}

static void write_clock(struct pv_handshake *h, uint8_t *dst, size_t *len)
{
    struct envelope e;
    make_envelope(h, &e, MSG_CLOCK);
    memcpy(dst, e.bytes, ENVELOPE_LEN);
    gate(dst + ENVELOPE_LEN, &h->keys, MSG_CLOCK, h->tag, e.bytes, ENVELOPE_LEN);
    *len = PV_HS_CLOCK_LEN;
}

enum pv_err pv_handshake_write(struct pv_handshake *h, uint8_t *dst, size_t *len)
{
    uint8_t msg = 0;
    enum step next = h->step;
    *len = 0;
    if (h->step == SEND_M1) {
        msg = 1;
        next = AWAIT_M2;
    } else if (h->step == SEND_M2) {
        msg = 2;
        next = AWAIT_M3;
    } else if (h->step == SEND_M3) {
        msg = 3;
        next = DONE;
    } else if (h->step == SEND_CLOCK) {
        write_clock(h, dst, len);
        h->step = REFUSED;
    }
    if (msg == 0)
        return PV_OK;
    enum pv_err err = write_message(h, msg, dst, len);
    if (err == PV_E_AUTH)
        return refuse(h, PV_REFUSED_CRYPTO);
    h->step = err == PV_OK ? next : REFUSED;
    return err;
}

/* ---- results ---- */

enum pv_refusal pv_handshake_refusal(const struct pv_handshake *h)
{
    return h->refusal;
}

int64_t pv_handshake_skew_ms(const struct pv_handshake *h)
{
    return h->peer.skew_ms;
}

bool pv_handshake_done(const struct pv_handshake *h)
{
    return h->step == DONE;
}

const struct pv_handshake_peer *pv_handshake_peer(const struct pv_handshake *h)
{
    PV_ASSERT(h->step == DONE);
    return &h->peer;
}

void pv_handshake_keys(const struct pv_handshake *h, uint8_t send_key[static PV_KEY_LEN],
                       uint8_t recv_key[static PV_KEY_LEN], uint8_t hash[static PV_HASH_LEN])
{
    PV_ASSERT(h->step == DONE);
    pv_noise_split(h->noise, send_key, recv_key, hash);
}
