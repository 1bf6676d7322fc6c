/* F3: messages behind the handshake. What is decoded is encoded to the same bytes again. */
#include "tests/fuzz/fuzz.h"
#include "transport/msg.h"

static uint8_t type;
static struct pv_wr w;
static struct pv_id ids[PV_MSG_IDS_MAX];

static enum pv_err ids_again(struct pv_rd *r)
{
    uint32_t request;
    uint8_t what;
    size_t count;
    enum pv_err err = type == PV_MSG_STORED ? pv_msg_get_stored(r, &what, ids, &count)
                                            : pv_msg_get_ids(r, &request, ids, &count);
    if (err == PV_OK && type == PV_MSG_STORED)
        pv_msg_put_stored(&w, what, ids, count);
    else if (err == PV_OK)
        pv_msg_put_ids(&w, type, request, ids, count);
    return err;
}

static enum pv_err offers_again(struct pv_rd *r)
{
    static struct pv_offer offers[PV_MSG_IDS_MAX];
    static struct pv_want wants[PV_MSG_WANTS_MAX];
    size_t count;
    enum pv_err err = type == PV_MSG_STORE ? pv_msg_get_store(r, offers, &count)
                                           : pv_msg_get_wants(r, wants, &count);
    if (err == PV_OK && type == PV_MSG_STORE)
        pv_msg_put_store(&w, offers, count);
    else if (err == PV_OK)
        pv_msg_put_wants(&w, type, wants, count);
    return err;
}

static enum pv_err digest_again(struct pv_rd *r)
{
    static struct pv_msg_digest m;
    enum pv_err err = pv_msg_get_digest(r, &m);
    if (err == PV_OK && m.kind == PV_DIGEST_ROOT)
        pv_msg_put_digest_root(&w, m.root);
    else if (err == PV_OK && m.kind == PV_DIGEST_BUCKET_LIST)
        pv_msg_put_digest_buckets(&w, m.first, m.buckets, m.count);
    else if (err == PV_OK)
        pv_msg_put_digest_hashes(&w, m.first, m.last, m.hashes, m.count);
    return err;
}

static enum pv_err records_again(struct pv_rd *r)
{
    const uint8_t *env = NULL;
    size_t len;
    enum pv_err err;
    pv_msg_begin_records(&w);
    while ((err = pv_msg_next_record(r, &env, &len)) == PV_OK && env != NULL)
        pv_msg_add_record(&w, env, len);
    return err;
}

static enum pv_err join_again(struct pv_rd *r)
{
    static struct pv_msg_join m;
    const char *addresses[PV_ADDRESSES_MAX];
    enum pv_err err = pv_msg_get_join(r, &m);
    for (size_t i = 0; i < PV_ADDRESSES_MAX; i++)
        addresses[i] = m.addresses[i];
    if (err == PV_OK && m.kind == PV_JOIN_REQUEST)
        pv_msg_put_join_request(&w, m.name);
    else if (err == PV_OK && m.kind == PV_JOIN_CONFIRM)
        pv_msg_put_join_confirm(&w);
    else if (err == PV_OK)
        pv_msg_put_join_grant(&w, m.role, &m.keyring, addresses, m.address_count);
    return err;
}

static enum pv_err small_again(struct pv_rd *r)
{
    static struct pv_msg_hello hello;
    static struct pv_msg_token token;
    static struct pv_msg_key key;
    struct pv_msg_ping ping;
    char text[PV_MSG_TEXT_MAX + 1];
    uint32_t stream;
    uint16_t code;
    uint8_t reason;
    uint64_t last_n;
    enum pv_err err = PV_E_PROTOCOL;
    if (type == PV_MSG_HELLO && (err = pv_msg_get_hello(r, &hello)) == PV_OK)
        pv_msg_put_hello(&w, &hello);
    else if (type == PV_MSG_TOKEN && (err = pv_msg_get_token(r, &token)) == PV_OK)
        pv_msg_put_token(&w, &token);
    else if (type == PV_MSG_KEY && (err = pv_msg_get_key(r, &key)) == PV_OK)
        pv_msg_put_key(&w, &key);
    else if ((type == PV_MSG_PING || type == PV_MSG_PONG) &&
             (err = pv_msg_get_ping(r, &ping)) == PV_OK)
        pv_msg_put_ping(&w, type, &ping);
    else if (type == PV_MSG_CANCEL && (err = pv_msg_get_cancel(r, &stream)) == PV_OK)
        pv_msg_put_cancel(&w, stream);
    else if (type == PV_MSG_ERROR && (err = pv_msg_get_error(r, &code, text)) == PV_OK)
        pv_msg_put_error(&w, code, text);
    else if (type == PV_MSG_GOODBYE && (err = pv_msg_get_goodbye(r, &reason, &last_n)) == PV_OK)
        pv_msg_put_goodbye(&w, reason, last_n);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static enum pv_err (*const again[])(struct pv_rd *) = {
        [PV_MSG_STORE] = offers_again,   [PV_MSG_WANT] = offers_again,
        [PV_MSG_FETCH] = offers_again,   [PV_MSG_STORED] = ids_again,
        [PV_MSG_GET] = ids_again,        [PV_MSG_FOUND] = ids_again,
        [PV_MSG_NOT_FOUND] = ids_again,  [PV_MSG_FULL] = ids_again,
        [PV_MSG_LOST] = ids_again,       [PV_MSG_DIGEST] = digest_again,
        [PV_MSG_RECORD] = records_again, [PV_MSG_JOIN] = join_again,
    };
    static uint8_t bytes[PV_FRAME_PLAIN_MAX];
    struct pv_rd r = pv_rd_of(data, size < PV_FRAME_PLAIN_MAX ? size : PV_FRAME_PLAIN_MAX);
    size = pv_rd_left(&r);
    type = pv_rd_u8(&r);
    w = pv_wr_of(bytes, sizeof bytes);
    bool known = type < PV_COUNT(again) && again[type] != NULL;
    enum pv_err err = known ? again[type](&r) : small_again(&r);
    cr_assert(err == PV_OK || err == PV_E_PROTOCOL);
    if (err != PV_OK)
        return 0;
    cr_assert_eq(pv_wr_end(&w), PV_OK);
    cr_assert_eq(pv_wr_len(&w), size, "%s", pv_msg_name(type));
    cr_assert_arr_eq(bytes, data, size, "%s", pv_msg_name(type));
    return 0;
}
