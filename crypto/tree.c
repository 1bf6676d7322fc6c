/*
 * Entries and the check of one node against its own entry. A tree is walked by its reader, with
 * this check at each node: the root's length then holds for the whole file, whoever wrote it.
 */
#include "crypto/tree.h"

#include "internal/base/rd.h"
#include "internal/base/wr.h"

void pv_entry_encode(uint8_t out[static PV_ENTRY_LEN], const struct pv_entry *e)
{
    struct pv_wr w = pv_wr_of(out, PV_ENTRY_LEN);
    pv_wr_bytes(&w, e->id.b, PV_ID_LEN);
    pv_wr_bytes(&w, e->dk, PV_KEY_LEN);
    pv_wr_u64(&w, e->length);
    pv_wr_u8(&w, (uint8_t)e->kind);
    pv_wr_zero(&w, 7);
    PV_ASSERT(!w.bad && w.p == w.end);
}

bool pv_entry_valid(const struct pv_entry *e)
{
    if (e->length == 0)
        return false;
    return e->kind == PV_BLOB_NODE ||
           (e->kind == PV_BLOB_CHUNK && e->length <= PV_BLOB_PAYLOAD_MAX);
}

enum pv_err pv_entry_decode(struct pv_entry *out, const uint8_t in[static PV_ENTRY_LEN])
{
    struct pv_entry e;
    struct pv_rd r = pv_rd_of(in, PV_ENTRY_LEN);
    pv_rd_copy(&r, e.id.b, PV_ID_LEN);
    pv_rd_copy(&r, e.dk, PV_KEY_LEN);
    e.length = pv_rd_u64(&r);
    e.kind = (enum pv_blob_kind)pv_rd_u8(&r);
    pv_rd_zero(&r, 7);
    if (pv_rd_end(&r) != PV_OK || !pv_entry_valid(&e))
        return PV_E_CORRUPT;
    *out = e;
    return PV_OK;
}

enum pv_err pv_node_check(const uint8_t *payload, size_t len, const struct pv_entry *parent,
                          size_t *count)
{
    uint64_t left = parent->length;
    if (parent->kind != PV_BLOB_NODE || len == 0 || len % PV_ENTRY_LEN != 0 ||
        len / PV_ENTRY_LEN > PV_NODE_ENTRIES_MAX)
        return PV_E_CORRUPT;
    for (size_t i = 0; i < len; i += PV_ENTRY_LEN) {
        struct pv_entry e;
        enum pv_err err = pv_entry_decode(&e, payload + i);
        if (err != PV_OK)
            return err;
        if (e.length > left) /* counting down cannot overflow */
            return PV_E_CORRUPT;
        left -= e.length;
    }
    if (left != 0)
        return PV_E_CORRUPT;
    *count = len / PV_ENTRY_LEN;
    return PV_OK;
}
