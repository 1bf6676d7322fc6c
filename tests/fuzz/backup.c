/*
 * F6: records.bak and small.bak with anything in them. What stands whole before and behind the
 * damage is found, and every byte is either part of something found or counted as skipped.
 *
 * The first byte chooses: bit 0, records or small blobs; bit 1, whether the rest is an item's
 * length short, so that the last one overlaps the end of the file.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/record.h"
#include "storage/backup_scan.h"

static uint8_t record[PV_RECORD_LEN_MAX], blob[PV_ID_LEN + PV_BLOB_LEN_MIN];
static size_t record_len, blob_len;

static void make_items(void)
{
    static const uint8_t seed[PV_SEED_LEN] = {7}, salt[32];
    struct pv_record_draft draft = {.type = PV_RECORD_MEMBER,
                                    .flags = PV_RECORD_CLEAR,
                                    .hlc = 9,
                                    .body = salt,
                                    .body_len = sizeof salt};
    struct pv_cluster_keys keys;
    struct pv_blob_sealed sealed;
    uint8_t key[PV_KEY_LEN] = {1};
    cr_assert_eq(pv_record_seal(record, &record_len, &draft, NULL, seed, salt), PV_OK);
    cr_assert_eq(pv_cluster_keys_derive(&keys, key), PV_OK);
    cr_assert_eq(pv_blob_seal(&sealed, &keys, 0, PV_BLOB_CHUNK, blob + PV_ID_LEN, 9, NULL), PV_OK);
    memcpy(blob, sealed.id.b, PV_ID_LEN);
    blob_len = PV_ID_LEN + sealed.blob_len;
}

struct found {
    uint64_t bytes, items;
    bool blobs;
};

static bool on_item(void *arg, const uint8_t *bytes, size_t len)
{
    struct found *f = arg;
    struct pv_record rec;
    if (f->blobs)
        cr_assert_eq(pv_blob_len_of(bytes, len), len);
    else
        cr_assert_eq(pv_record_verify(&rec, bytes, len), PV_OK);
    f->bytes += len + (f->blobs ? PV_ID_LEN : 0);
    f->items++;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pvf_folder folder;
    struct pv_scan scan;
    pv_fd fd;
    if (record_len == 0)
        make_items();
    struct pv_rd r = pv_rd_of(data, size);
    uint8_t mode = pv_rd_u8(&r);
    struct found found = {.blobs = (mode & 1) != 0};
    const uint8_t *item = found.blobs ? blob : record;
    size_t item_len = found.blobs ? blob_len : record_len, left = pv_rd_left(&r);
    size_t cut = (mode & 2) != 0 ? item_len / 2 : 0, len = left + 2 * item_len - cut;
    uint8_t *file = pv_malloc(left + 2 * item_len);
    memcpy(file, item, item_len);
    pv_rd_copy(&r, file + item_len, left);
    memcpy(file + item_len + left, item, item_len);
    pvf_folder_init(&folder);
    pvf_folder_put(&folder, "x.bak", file, len);
    const struct pv_fs *fs = folder.fs;
    cr_assert_eq(fs->open(fs->ctx, folder.dir, "x.bak", PV_FS_READ, &fd), PV_OK);
    enum pv_err err = found.blobs ? pv_scan_blobs(fs, fd, &scan, on_item, &found)
                                  : pv_scan_records(fs, fd, &scan, on_item, &found);
    cr_assert_eq(err, PV_OK);
    cr_assert_eq(scan.found, found.items);
    cr_assert_eq(found.bytes + scan.skipped_bytes, len);
    cr_assert_geq(found.items, cut > 0 ? 1 : 2);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    pvf_folder_release(&folder);
    pv_free(file);
    return 0;
}
