/*
 * Sealing is: header, pre and padding around the payload, one hash over pre || payload (they are
 * adjacent), DK from header and hash, one GCM call in place, one hash over the result. The padding
 * is canonical, so header and hash determine the whole GCM plaintext, and DK is bound to it.
 *
 * Opening trusts nothing in the header but uses it as associated data, so after the tag has
 * verified, header and plaintext are what the holder of DK sealed. What is checked after that finds
 * faulty writers, not attackers. Any failure wipes the buffer: no caller can use half of a blob.
 */
#include "crypto/blob.h"

#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include <string.h>

enum { SUITE_AES256GCM = 1, CODEC_NONE = 0, CODEC_ZSTD = 1 };
enum { FLAG_CONVERGENT = 1, FLAG_RANDOM_KEY = 2 };

static const uint8_t magic[4] = {'P', 'V', 'B', '1'};
static const uint8_t zero_nonce[PV_NONCE_LEN];

struct header {
    uint64_t epoch;
    size_t padded_len;
};

static unsigned floor_log2(size_t v)
{
    unsigned log = 0;
    while (v >>= 1)
        log++;
    return log;
}

size_t pv_padme(size_t len)
{
    PV_ASSERT(len >= 2);
    unsigned e = floor_log2(len);
    unsigned s = floor_log2(e) + 1;
    size_t mask = s < e ? ((size_t)1 << (e - s)) - 1 : 0;
    return (len + mask) & ~mask;
}

size_t pv_blob_padded_len(size_t payload_len)
{
    PV_ASSERT(payload_len >= 1 && payload_len <= PV_BLOB_PAYLOAD_MAX);
    size_t padded_len = pv_padme(PV_BLOB_PRE_LEN + payload_len);
    return padded_len < PV_BLOB_PADDED_MIN ? PV_BLOB_PADDED_MIN : padded_len;
}

static bool kind_known(unsigned kind)
{
    return kind == PV_BLOB_CHUNK || kind == PV_BLOB_NODE;
}

static void write_header(uint8_t *buf, const struct pv_kid *kid, uint64_t epoch, size_t padded_len)
{
    struct pv_wr w = pv_wr_of(buf, PV_BLOB_HEADER_LEN);
    pv_wr_bytes(&w, magic, sizeof magic);
    pv_wr_u8(&w, SUITE_AES256GCM);
    pv_wr_zero(&w, 3);
    pv_wr_bytes(&w, kid->b, PV_KID_LEN);
    pv_wr_u64(&w, epoch);
    pv_wr_u32(&w, (uint32_t)padded_len);
    pv_wr_zero(&w, 4);
    PV_ASSERT(!w.bad && w.p == w.end);
}

static enum pv_err parse_header(struct header *out, const uint8_t *bytes)
{
    struct pv_rd r = pv_rd_of(bytes, PV_BLOB_HEADER_LEN);
    const uint8_t *start = pv_rd_view(&r, sizeof magic);
    uint8_t suite = pv_rd_u8(&r);
    pv_rd_zero(&r, 3);
    (void)pv_rd_view(&r, PV_KID_LEN); /* informational: the parent's DK opens the blob */
    uint64_t epoch = pv_rd_u64(&r);
    size_t padded_len = pv_rd_u32(&r);
    pv_rd_zero(&r, 4);
    if (pv_rd_end(&r) != PV_OK || memcmp(start, magic, sizeof magic) != 0 ||
        suite != SUITE_AES256GCM || padded_len < PV_BLOB_PADDED_MIN ||
        padded_len > PV_BLOB_PADDED_MAX)
        return PV_E_CORRUPT;
    /* Every node refuses lengths that padme cannot give: unpadded blobs would tell cut points. */
    if (pv_padme(padded_len) != padded_len)
        return PV_E_CORRUPT;
    *out = (struct header){epoch, padded_len};
    return PV_OK;
}

static size_t len_of(const struct header *header)
{
    return PV_BLOB_HEADER_LEN + header->padded_len + PV_TAG_LEN;
}

static enum pv_err read_header(struct header *out, const uint8_t *blob, size_t blob_len)
{
    if (blob_len < PV_BLOB_LEN_MIN)
        return PV_E_CORRUPT;
    enum pv_err err = parse_header(out, blob);
    return err == PV_OK && len_of(out) != blob_len ? PV_E_CORRUPT : err;
}

size_t pv_blob_len_of(const uint8_t *bytes, size_t len)
{
    struct header header;
    bool is_one = len >= PV_BLOB_HEADER_LEN && parse_header(&header, bytes) == PV_OK;
    return is_one ? len_of(&header) : 0;
}

static void convergent_dk(uint8_t dk[static PV_KEY_LEN], const struct pv_cluster_keys *keys,
                          uint64_t epoch, const uint8_t *buf, size_t payload_len)
{
    uint8_t conv[PV_KEY_LEN], ctx[PV_BLOB_HEADER_LEN + PV_HASH_LEN];
    memcpy(ctx, buf, PV_BLOB_HEADER_LEN);
    pv_sha256(ctx + PV_BLOB_HEADER_LEN, buf + PV_BLOB_HEADER_LEN, PV_BLOB_PRE_LEN + payload_len);
    pv_keys_conv(conv, keys, epoch);
    pv_x(dk, conv, "chunk", ctx, sizeof ctx);
    pv_wipe(conv, sizeof conv);
    pv_wipe(ctx, sizeof ctx);
}

enum pv_err pv_blob_seal(struct pv_blob_sealed *out, const struct pv_cluster_keys *keys,
                         uint64_t epoch, enum pv_blob_kind kind, uint8_t *buf, size_t payload_len,
                         const uint8_t *random_dk)
{
    struct pv_aead *aead = NULL;
    uint8_t dk[PV_KEY_LEN];
    if (payload_len < 1 || payload_len > PV_BLOB_PAYLOAD_MAX || !kind_known(kind) ||
        (random_dk != NULL && epoch != 0))
        return PV_E_INVALID;
    size_t padded_len = pv_blob_padded_len(payload_len);
    write_header(buf, &keys->kid, epoch, padded_len);

    struct pv_wr w = pv_wr_of(buf + PV_BLOB_HEADER_LEN, padded_len);
    pv_wr_u32(&w, (uint32_t)payload_len);
    pv_wr_u8(&w, CODEC_NONE);
    pv_wr_u8(&w, (uint8_t)kind);
    pv_wr_u8(&w, random_dk != NULL ? FLAG_RANDOM_KEY : FLAG_CONVERGENT);
    pv_wr_u8(&w, 0);
    (void)pv_wr_room(&w, payload_len); /* already in place */
    pv_wr_zero(&w, padded_len - PV_BLOB_PRE_LEN - payload_len);
    PV_ASSERT(!w.bad && w.p == w.end);

    if (random_dk != NULL)
        memcpy(dk, random_dk, PV_KEY_LEN);
    else
        convergent_dk(dk, keys, epoch, buf, payload_len);
    enum pv_err err = pv_aead_new(&aead, dk);
    if (err == PV_OK) {
        pv_aead_seal(aead, zero_nonce, buf, PV_BLOB_HEADER_LEN, buf + PV_BLOB_HEADER_LEN,
                     padded_len, buf + PV_BLOB_HEADER_LEN);
        out->blob_len = PV_BLOB_HEADER_LEN + padded_len + PV_TAG_LEN;
        pv_sha256(out->id.b, buf, out->blob_len);
        memcpy(out->dk, dk, PV_KEY_LEN);
    }
    pv_aead_free(aead);
    pv_wipe(dk, sizeof dk);
    return err;
}

enum pv_err pv_blob_check(const uint8_t *blob, size_t blob_len, const struct pv_id *id)
{
    struct header header;
    struct pv_id actual;
    enum pv_err err = read_header(&header, blob, blob_len);
    if (err != PV_OK)
        return err;
    pv_sha256(actual.b, blob, blob_len);
    return pv_id_equal(&actual, id) ? PV_OK : PV_E_CORRUPT;
}

/* What a correct writer puts into P', given the header and what the parent entry says. */
static enum pv_err check_plaintext(const uint8_t *plain, const struct header *header,
                                   enum pv_blob_kind kind, size_t *payload_len)
{
    struct pv_rd r = pv_rd_of(plain, header->padded_len);
    size_t len = pv_rd_u32(&r);
    uint8_t codec = pv_rd_u8(&r);
    uint8_t actual_kind = pv_rd_u8(&r);
    uint8_t flags = pv_rd_u8(&r);
    pv_rd_zero(&r, 1);
    if (len < 1 || len > PV_BLOB_PAYLOAD_MAX || pv_blob_padded_len(len) != header->padded_len)
        return PV_E_CORRUPT;
    (void)pv_rd_view(&r, len);
    pv_rd_zero(&r, header->padded_len - PV_BLOB_PRE_LEN - len);
    if (pv_rd_end(&r) != PV_OK || actual_kind != kind ||
        (flags != FLAG_CONVERGENT && flags != FLAG_RANDOM_KEY) ||
        (flags == FLAG_RANDOM_KEY && header->epoch != 0))
        return PV_E_CORRUPT;
    if (codec != CODEC_NONE)
        return codec == CODEC_ZSTD ? PV_E_UNSUPPORTED : PV_E_CORRUPT;
    *payload_len = len;
    return PV_OK;
}

enum pv_err pv_blob_open(uint8_t *blob, size_t blob_len, const uint8_t dk[static PV_KEY_LEN],
                         enum pv_blob_kind kind, const uint8_t **payload, size_t *payload_len)
{
    struct header header;
    struct pv_aead *aead = NULL;
    uint8_t *plain = blob + PV_BLOB_HEADER_LEN;
    enum pv_err err = read_header(&header, blob, blob_len);
    if (err == PV_OK)
        err = pv_aead_new(&aead, dk);
    if (err != PV_OK)
        goto out;
    err = pv_aead_open(aead, zero_nonce, blob, PV_BLOB_HEADER_LEN, plain,
                       header.padded_len + PV_TAG_LEN, plain);
    if (err != PV_OK) {
        err = PV_E_CORRUPT;
        goto out;
    }
    err = check_plaintext(plain, &header, kind, payload_len);
    if (err == PV_OK)
        *payload = plain + PV_BLOB_PRE_LEN;
out:
    if (err != PV_OK)
        pv_wipe(blob, blob_len);
    pv_aead_free(aead);
    return err;
}
