/*
 * Each body is a block of fixed fields, lengths among them, then the variable parts in the order of
 * their lengths. Encoder and decoder of a body stand next to each other and share one function that
 * says which values are valid: encoders answer PV_E_INVALID, decoders PV_E_CORRUPT.
 *
 * Sealed bodies (file, name) arrive with padding, which must be zero. Clear ones (member, address)
 * end with their last field. Either way a body has exactly one encoding.
 */
#include "crypto/body.h"

#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include <string.h>

enum {
    BODY_VERSION = 1,
    STATEMENT_LEN = PV_PUB_LEN + 8 + 2 + 6 + PV_SIG_LEN, /* the author's, before the rest */
    FILE_FIXED_LEN = STATEMENT_LEN + 8 + 8 + 8 + PV_ID_LEN + 32 + PV_ENTRY_LEN,
    VALUE_FIXED_LEN = STATEMENT_LEN + 8,
    NAME_KIND_FILE = 1,
    NAME_KIND_VALUE = 2,
    ZONE_MAX = sizeof(((struct pv_member_body *)NULL)->zone) - 1,
};
enum { FILE_INLINE = 1, FILE_PRIVATE = 2 };
enum { MEMBER_EXPELLED = 1, MEMBER_STALE = 2 };

static const char statement_label[] = "PV1/body"; /* used with its NUL: the 00 after the label */

struct subject {
    const void *bytes;
    size_t len;
};

struct statement { /* what the signature covers */
    uint8_t bytes[sizeof statement_label + 1 + PV_NAME_MAX + 8 + 2 + PV_HASH_LEN];
    size_t len;
};

static void make_statement(struct statement *s, uint8_t type, struct subject subject,
                           const struct pv_body_author *author, struct subject rest)
{
    uint8_t hash[PV_HASH_LEN];
    struct pv_wr w = pv_wr_of(s->bytes, sizeof s->bytes);
    pv_sha256(hash, rest.bytes, rest.len);
    pv_wr_bytes(&w, statement_label, sizeof statement_label);
    pv_wr_u8(&w, type);
    pv_wr_bytes(&w, subject.bytes, subject.len);
    pv_wr_u64(&w, author->hlc);
    pv_wr_u16(&w, author->flags);
    pv_wr_bytes(&w, hash, sizeof hash);
    PV_ASSERT(!w.bad);
    s->len = pv_wr_len(&w);
}

static bool author_valid(const struct pv_body_author *author)
{
    return (author->flags & ~PV_RECORD_TOMBSTONE) == 0;
}

/* Fills in the first STATEMENT_LEN bytes of dst, of which all bytes after them are written. */
static void sign_body(uint8_t *dst, size_t len, uint8_t type, struct subject subject,
                      const struct pv_body_author *author, const uint8_t seed[static PV_SEED_LEN])
{
    uint8_t pub[PV_PUB_LEN], sig[PV_SIG_LEN];
    struct statement s;
    pv_ed25519_public(pub, seed);
    make_statement(&s, type, subject, author,
                   (struct subject){dst + STATEMENT_LEN, len - STATEMENT_LEN});
    pv_ed25519_sign(sig, seed, s.bytes, s.len);
    struct pv_wr w = pv_wr_of(dst, STATEMENT_LEN);
    pv_wr_bytes(&w, pub, sizeof pub);
    pv_wr_u64(&w, author->hlc);
    pv_wr_u16(&w, author->flags);
    pv_wr_zero(&w, 6);
    pv_wr_bytes(&w, sig, sizeof sig);
    PV_ASSERT(!w.bad && w.p == w.end);
}

static const uint8_t *read_statement(struct pv_rd *r, struct pv_body_author *author)
{
    pv_rd_copy(r, author->pub, PV_PUB_LEN);
    author->hlc = pv_rd_u64(r);
    author->flags = pv_rd_u16(r);
    pv_rd_zero(r, 6);
    return pv_rd_view(r, PV_SIG_LEN);
}

static enum pv_err verify_body(const uint8_t *src, size_t len, uint8_t type, struct subject subject,
                               const struct pv_body_author *author, const uint8_t *sig)
{
    struct statement s;
    make_statement(&s, type, subject, author,
                   (struct subject){src + STATEMENT_LEN, len - STATEMENT_LEN});
    return pv_ed25519_verify(sig, author->pub, s.bytes, s.len);
}

/* Bytes that go through C strings or reach users as names have no NUL in them. */
static bool text_valid(const void *text, size_t len)
{
    return len == 0 || memchr(text, '\0', len) == NULL;
}

static bool bytes_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

/* ---- file ---------------------------------------------------------------------------------- */

static bool file_valid(const struct pv_file_body *b)
{
    if (!author_valid(&b->author) || b->chunker > PV_CHUNKER_GEAR1 || b->name_len > PV_NAME_MAX ||
        !text_valid(b->name, b->name_len))
        return false;
    if (!b->is_private && !bytes_zero(b->private_salt, sizeof b->private_salt))
        return false;
    if (b->is_purged &&
        (!b->is_inline || b->size == 0 || (b->author.flags & PV_RECORD_TOMBSTONE) == 0))
        return false;
    if (b->is_inline)
        return b->size <= PV_INLINE_MAX;
    return pv_entry_valid(&b->root) && b->root.length == b->size;
}

static size_t file_data_len(const struct pv_file_body *b)
{
    return b->is_inline && !b->is_purged ? (size_t)b->size : 0;
}

size_t pv_file_body_len(const struct pv_file_body *body)
{
    return FILE_FIXED_LEN + body->name_len + file_data_len(body);
}

enum pv_err pv_file_body_encode(uint8_t *dst, size_t *len, const struct pv_file_body *body,
                                const uint8_t seed[static PV_SEED_LEN])
{
    if (!file_valid(body))
        return PV_E_INVALID;
    size_t data_len = file_data_len(body);
    struct pv_wr w = pv_wr_of(dst, PV_RECORD_BODY_MAX);
    (void)pv_wr_room(&w, STATEMENT_LEN);
    pv_wr_u8(&w, BODY_VERSION);
    pv_wr_u8(
        &w, (uint8_t)((body->is_inline ? FILE_INLINE : 0) | (body->is_private ? FILE_PRIVATE : 0)));
    pv_wr_u8(&w, body->chunker);
    pv_wr_zero(&w, 1);
    pv_wr_u16(&w, (uint16_t)body->name_len);
    pv_wr_u16(&w, (uint16_t)data_len);
    pv_wr_u64(&w, body->size);
    pv_wr_u64(&w, body->mtime_ms);
    pv_wr_bytes(&w, body->sha256.b, PV_ID_LEN);
    pv_wr_bytes(&w, body->private_salt, sizeof body->private_salt);
    if (body->is_inline) {
        pv_wr_zero(&w, PV_ENTRY_LEN);
    } else {
        uint8_t *root = pv_wr_room(&w, PV_ENTRY_LEN);
        PV_ASSERT(root != NULL);
        pv_entry_encode(root, &body->root);
    }
    pv_wr_bytes(&w, body->name, body->name_len);
    pv_wr_bytes(&w, body->data, data_len);
    PV_ASSERT(!w.bad && pv_wr_len(&w) == pv_file_body_len(body));
    sign_body(dst, pv_wr_len(&w), PV_RECORD_FILE, (struct subject){body->sha256.b, PV_ID_LEN},
              &body->author, seed);
    *len = pv_wr_len(&w);
    return PV_OK;
}

static enum pv_err decode_root(struct pv_file_body *b, const uint8_t *entry)
{
    if (!b->is_inline)
        return pv_entry_decode(&b->root, entry);
    return bytes_zero(entry, PV_ENTRY_LEN) ? PV_OK : PV_E_CORRUPT;
}

enum pv_err pv_file_body_decode(struct pv_file_body *out, const uint8_t *src, size_t len,
                                bool verify)
{
    struct pv_file_body b = {0};
    struct pv_rd r = pv_rd_of(src, len);
    const uint8_t *sig = read_statement(&r, &b.author);
    uint8_t version = pv_rd_u8(&r);
    if (!r.bad && version != BODY_VERSION)
        return PV_E_UNSUPPORTED;
    uint8_t flags = pv_rd_u8(&r);
    b.chunker = pv_rd_u8(&r);
    pv_rd_zero(&r, 1);
    b.name_len = pv_rd_u16(&r);
    size_t data_len = pv_rd_u16(&r);
    b.size = pv_rd_u64(&r);
    b.mtime_ms = pv_rd_u64(&r);
    pv_rd_copy(&r, b.sha256.b, PV_ID_LEN);
    pv_rd_copy(&r, b.private_salt, sizeof b.private_salt);
    const uint8_t *root = pv_rd_view(&r, PV_ENTRY_LEN);
    b.name = (const char *)pv_rd_view(&r, b.name_len);
    b.data = pv_rd_view(&r, data_len);
    if (r.bad || (flags & ~(FILE_INLINE | FILE_PRIVATE)) != 0)
        return PV_E_CORRUPT;
    size_t fields_len = (size_t)(r.p - src);
    pv_rd_zero(&r, pv_rd_left(&r));

    b.is_inline = (flags & FILE_INLINE) != 0;
    b.is_private = (flags & FILE_PRIVATE) != 0;
    b.is_purged = b.is_inline && b.size > 0 && data_len == 0;
    if (b.is_purged)
        b.data = NULL;
    if (r.bad || decode_root(&b, root) != PV_OK || !file_valid(&b) || data_len != file_data_len(&b))
        return PV_E_CORRUPT;
    if (verify) {
        enum pv_err err = verify_body(src, fields_len, PV_RECORD_FILE,
                                      (struct subject){b.sha256.b, PV_ID_LEN}, &b.author, sig);
        if (err != PV_OK)
            return err;
    }
    *out = b;
    return PV_OK;
}

/* ---- name ---------------------------------------------------------------------------------- */

_Static_assert((int)VALUE_FIXED_LEN + (int)PV_NAME_MAX + (int)PV_VALUE_MAX <=
                   (int)PV_RECORD_BODY_MAX,
               "the longest value under the longest name fits");

static bool name_valid(const struct pv_name_body *b)
{
    bool is_tombstone = (b->author.flags & PV_RECORD_TOMBSTONE) != 0;
    if (!author_valid(&b->author) || b->name_len < 1 || b->name_len > PV_NAME_MAX ||
        !text_valid(b->name, b->name_len))
        return false;
    return b->value_len <= (b->is_value && !is_tombstone ? PV_VALUE_MAX : 0);
}

enum pv_err pv_name_body_encode(uint8_t *dst, size_t *len, const struct pv_name_body *body,
                                const uint8_t seed[static PV_SEED_LEN])
{
    if (!name_valid(body))
        return PV_E_INVALID;
    struct pv_wr w = pv_wr_of(dst, PV_RECORD_BODY_MAX);
    (void)pv_wr_room(&w, STATEMENT_LEN);
    pv_wr_u8(&w, BODY_VERSION);
    pv_wr_u8(&w, body->is_value ? NAME_KIND_VALUE : NAME_KIND_FILE);
    pv_wr_u16(&w, (uint16_t)body->name_len);
    pv_wr_u32(&w, (uint32_t)body->value_len);
    if (!body->is_value) {
        pv_wr_bytes(&w, body->file_sha256.b, PV_ID_LEN);
        pv_wr_bytes(&w, body->file_rid.b, PV_ID_LEN);
    }
    pv_wr_bytes(&w, body->name, body->name_len);
    pv_wr_bytes(&w, body->value, body->value_len);
    PV_ASSERT(!w.bad);
    sign_body(dst, pv_wr_len(&w), PV_RECORD_NAME, (struct subject){body->name, body->name_len},
              &body->author, seed);
    *len = pv_wr_len(&w);
    return PV_OK;
}

enum pv_err pv_name_body_decode(struct pv_name_body *out, const uint8_t *src, size_t len,
                                bool verify)
{
    struct pv_name_body b = {0};
    struct pv_rd r = pv_rd_of(src, len);
    const uint8_t *sig = read_statement(&r, &b.author);
    uint8_t version = pv_rd_u8(&r);
    uint8_t kind = pv_rd_u8(&r);
    if (!r.bad && (version != BODY_VERSION || (kind != NAME_KIND_FILE && kind != NAME_KIND_VALUE)))
        return PV_E_UNSUPPORTED;
    b.is_value = kind == NAME_KIND_VALUE;
    b.name_len = pv_rd_u16(&r);
    b.value_len = pv_rd_u32(&r);
    if (!b.is_value) {
        pv_rd_copy(&r, b.file_sha256.b, PV_ID_LEN);
        pv_rd_copy(&r, b.file_rid.b, PV_ID_LEN);
    }
    b.name = (const char *)pv_rd_view(&r, b.name_len);
    b.value = pv_rd_view(&r, b.value_len);
    if (r.bad)
        return PV_E_CORRUPT;
    size_t fields_len = (size_t)(r.p - src);
    pv_rd_zero(&r, pv_rd_left(&r));
    if (r.bad || !name_valid(&b))
        return PV_E_CORRUPT;
    if (verify) {
        enum pv_err err = verify_body(src, fields_len, PV_RECORD_NAME,
                                      (struct subject){b.name, b.name_len}, &b.author, sig);
        if (err != PV_OK)
            return err;
    }
    *out = b;
    return PV_OK;
}

/* ---- member -------------------------------------------------------------------------------- */

static const char *const roles[] = {[PV_ROLE_KEYED] = "keyed", [PV_ROLE_BLIND] = "blind"};

const char *pv_role_name(uint8_t role)
{
    return role >= PV_ROLE_KEYED && role <= PV_ROLE_BLIND ? roles[role] : "?";
}

uint8_t pv_role_find(const char *text)
{
    for (uint8_t role = PV_ROLE_KEYED; text != NULL && role <= PV_ROLE_BLIND; role++)
        if (strcmp(roles[role], text) == 0)
            return role;
    return 0;
}

static bool member_valid(const struct pv_member_body *b)
{
    return (b->role == PV_ROLE_KEYED || b->role == PV_ROLE_BLIND) && b->weight >= 1 &&
           b->weight <= 16 && memchr(b->zone, '\0', sizeof b->zone) != NULL;
}

enum pv_err pv_member_body_encode(uint8_t *dst, size_t *len, const struct pv_member_body *body)
{
    if (!member_valid(body))
        return PV_E_INVALID;
    size_t zone_len = strlen(body->zone);
    struct pv_wr w = pv_wr_of(dst, PV_RECORD_BODY_MAX);
    pv_wr_u8(&w, BODY_VERSION);
    pv_wr_u8(&w,
             (uint8_t)((body->expelled ? MEMBER_EXPELLED : 0) | (body->stale ? MEMBER_STALE : 0)));
    pv_wr_u8(&w, body->role);
    pv_wr_u8(&w, body->weight);
    pv_wr_u32(&w, body->generation);
    pv_wr_u8(&w, (uint8_t)zone_len);
    pv_wr_zero(&w, 7);
    pv_wr_bytes(&w, body->subject, PV_PUB_LEN);
    pv_wr_bytes(&w, body->zone, zone_len);
    PV_ASSERT(!w.bad);
    *len = pv_wr_len(&w);
    return PV_OK;
}

enum pv_err pv_member_body_decode(struct pv_member_body *out, const uint8_t *src, size_t len)
{
    struct pv_member_body b = {0};
    struct pv_rd r = pv_rd_of(src, len);
    uint8_t version = pv_rd_u8(&r);
    if (!r.bad && version != BODY_VERSION)
        return PV_E_UNSUPPORTED;
    uint8_t flags = pv_rd_u8(&r);
    b.role = pv_rd_u8(&r);
    b.weight = pv_rd_u8(&r);
    b.generation = pv_rd_u32(&r);
    size_t zone_len = pv_rd_u8(&r);
    pv_rd_zero(&r, 7);
    pv_rd_copy(&r, b.subject, PV_PUB_LEN);
    pv_rd_text(&r, zone_len, b.zone, ZONE_MAX);
    if (pv_rd_end(&r) != PV_OK || (flags & ~(MEMBER_EXPELLED | MEMBER_STALE)) != 0)
        return PV_E_CORRUPT;
    b.expelled = (flags & MEMBER_EXPELLED) != 0;
    b.stale = (flags & MEMBER_STALE) != 0;
    if (!member_valid(&b))
        return PV_E_CORRUPT;
    *out = b;
    return PV_OK;
}

/* ---- addresses ----------------------------------------------------------------------------- */

static size_t address_len(const struct pv_address_body *b, size_t i)
{
    return strnlen(b->addresses[i], sizeof b->addresses[i]);
}

static bool address_valid(const struct pv_address_body *b)
{
    if (b->count > PV_ADDRESSES_MAX)
        return false;
    for (size_t i = 0; i < b->count; i++) {
        size_t len = address_len(b, i);
        if (len < 1 || len > PV_ADDRESS_MAX)
            return false;
    }
    return true;
}

enum pv_err pv_address_body_encode(uint8_t *dst, size_t *len, const struct pv_address_body *body)
{
    if (!address_valid(body))
        return PV_E_INVALID;
    struct pv_wr w = pv_wr_of(dst, PV_RECORD_BODY_MAX);
    pv_wr_u8(&w, BODY_VERSION);
    pv_wr_u8(&w, body->count);
    pv_wr_zero(&w, 6);
    pv_wr_u64(&w, body->capacity_bytes);
    pv_wr_bytes(&w, body->subject, PV_PUB_LEN);
    for (size_t i = 0; i < PV_ADDRESSES_MAX; i++)
        pv_wr_u8(&w, i < body->count ? (uint8_t)address_len(body, i) : 0);
    for (size_t i = 0; i < body->count; i++)
        pv_wr_bytes(&w, body->addresses[i], address_len(body, i));
    PV_ASSERT(!w.bad);
    *len = pv_wr_len(&w);
    return PV_OK;
}

enum pv_err pv_address_body_decode(struct pv_address_body *out, const uint8_t *src, size_t len)
{
    struct pv_address_body b = {0};
    uint8_t lengths[PV_ADDRESSES_MAX];
    struct pv_rd r = pv_rd_of(src, len);
    uint8_t version = pv_rd_u8(&r);
    if (!r.bad && version != BODY_VERSION)
        return PV_E_UNSUPPORTED;
    b.count = pv_rd_u8(&r);
    pv_rd_zero(&r, 6);
    b.capacity_bytes = pv_rd_u64(&r);
    pv_rd_copy(&r, b.subject, PV_PUB_LEN);
    pv_rd_copy(&r, lengths, sizeof lengths);
    if (r.bad || b.count > PV_ADDRESSES_MAX)
        return PV_E_CORRUPT;
    for (size_t i = 0; i < PV_ADDRESSES_MAX; i++) {
        pv_rd_text(&r, lengths[i], b.addresses[i], PV_ADDRESS_MAX);
        if ((lengths[i] > 0) != (i < b.count))
            return PV_E_CORRUPT;
    }
    if (pv_rd_end(&r) != PV_OK)
        return PV_E_CORRUPT;
    *out = b;
    return PV_OK;
}
