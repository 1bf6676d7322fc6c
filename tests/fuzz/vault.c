/*
 * F6: vault.db and its log with damage in them, under right page sums, so that the damage meets
 * SQLite and our own rows. Opening, reading, checking and salvaging end in an error or in what the
 * rows prove; nothing crashes.
 *
 * The first byte chooses the image: after a clean close, or with the log of a process that died.
 * Each change: page u8 (bit 7: of the log), offset u16, value u8.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/record.h"
#include "storage/salvage.h"
#include "storage/vfs.h"
#include "tests/support/storage/world.h"

#include <xxhash.h>

static struct pvt_world worlds[2]; /* closed; killed while open */

static void make_worlds(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct pvt_world w;
        pvt_world_init(&w);
        pvt_script_run_until(&w, pvt_script_find("long log"));
        worlds[i] = w;
        worlds[i].disk = NULL;
        if (i == 0)
            pvt_world_close(&w);
        worlds[i].disk = pvt_simfs_crash(w.disk, PVT_CRASH_ALL);
        worlds[i].store = NULL;
        pvt_world_release(&w);
    }
}

static void change(const struct pv_fs *fs, pv_fd fd, bool log, struct pv_rd *r, unsigned page)
{
    enum { SUMMED = PV_VFS_PAGE_LEN - PV_VFS_SUM_LEN };
    uint8_t bytes[PV_VFS_PAGE_LEN];
    size_t got, at = pv_rd_u16(r) % SUMMED;
    uint64_t frame = PV_VFS_FRAME_HEADER_LEN + PV_VFS_PAGE_LEN;
    uint64_t offset = log ? PV_VFS_WAL_HEADER_LEN + page * frame + PV_VFS_FRAME_HEADER_LEN
                          : (uint64_t)page * PV_VFS_PAGE_LEN;
    uint8_t value = pv_rd_u8(r);
    if (fs->read(fs->ctx, fd, bytes, sizeof bytes, offset, &got) != PV_OK || got < sizeof bytes)
        return;
    bytes[at] = value;
    struct pv_wr w = pv_wr_of(bytes + SUMMED, PV_VFS_SUM_LEN);
    pv_wr_u64(&w, XXH3_64bits_withSeed(bytes, SUMMED, log ? 0 : page + 1));
    cr_assert_eq(fs->write(fs->ctx, fd, bytes, sizeof bytes, offset), PV_OK);
}

static void damage(struct pvt_simfs *disk, struct pv_rd *r)
{
    const struct pv_fs *fs = pvt_simfs_fs(disk);
    static const char *const names[] = {"vault/vault.db", "vault/vault.db-wal"};
    pv_fd fds[2] = {PV_FD_NONE, PV_FD_NONE};
    for (unsigned i = 0; i < 2; i++)
        if (fs->open(fs->ctx, PV_FD_NONE, names[i], PV_FS_WRITE, &fds[i]) != PV_OK)
            fds[i] = PV_FD_NONE;
    for (unsigned n = 0; n < 64 && pv_rd_left(r) > 0 && !r->bad; n++) {
        uint8_t page = pv_rd_u8(r);
        bool log = page >> 7 != 0;
        if (fds[log] == PV_FD_NONE)
            log = false;
        change(fs, fds[log], log, r, page & 127);
    }
    for (unsigned i = 0; i < 2; i++)
        if (fds[i] != PV_FD_NONE)
            cr_assert_eq(fs->close(fs->ctx, fds[i]), PV_OK);
}

static bool on_record(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct pv_record rec;
    (void)arg;
    (void)pending;
    return pv_record_verify(&rec, env, len) != PV_E_NOMEM;
}

static bool on_row(void *arg, const uint8_t *bytes, size_t len)
{
    return on_record(arg, bytes, len, false);
}

static void read_all(struct pvt_world *w)
{
    struct pv_store_counts counts;
    struct pv_id after = {{0}};
    struct pv_blob_info infos[16];
    uint64_t cursor = 0;
    size_t count;
    bool end = false;
    enum pv_err err = PV_OK;
    for (unsigned n = 0; n < 100 && err == PV_OK && !end; n++)
        err = pv_store_records(w->store, 0, &after, 100, on_record, NULL, &end);
    err = pv_store_unheld(w->store, 0, &cursor, infos, 16, &count, &end);
    if (err == PV_OK)
        err = pv_store_counts(w->store, &counts);
    cr_assert(err == PV_OK || err == PV_E_CORRUPT || err == PV_E_IO, "%s", pv_err_text(err));
}

static void salvage(struct pvt_world *w)
{
    struct pv_salvage *s;
    uint64_t gaps;
    if (pv_vault_open(&w->vault, "vault", pvt_simfs_fs(w->disk)) != PV_OK)
        return;
    if (pv_salvage_open(&s, &w->vault, &w->env.env, "vault.db") == PV_OK) {
        for (int table = PV_SALVAGE_RECORDS; table <= PV_SALVAGE_SMALL; table++)
            cr_assert_eq(pv_salvage_rows(s, (enum pv_salvage_table)table, on_row, NULL, &gaps),
                         PV_OK);
        pv_salvage_close(s);
    }
    pv_vault_close(&w->vault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_rd r = pv_rd_of(data, size);
    struct pvt_world w;
    if (worlds[0].disk == NULL)
        make_worlds();
    const struct pvt_world *from = &worlds[pv_rd_u8(&r) & 1];
    pvt_world_init_on(&w, pvt_simfs_crash(from->disk, PVT_CRASH_ALL), from);
    damage(w.disk, &r);
    salvage(&w);
    enum pv_err err = pvt_world_open(&w);
    if (w.store != NULL)
        read_all(&w);
    cr_assert(size > 1 || err == PV_OK, "undamaged");
    pvt_world_release(&w);
    return 0;
}
