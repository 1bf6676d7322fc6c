/* Keyring and identity are replaced as a whole: power cuts at every call of the replacement. */
#include "crypto/secret_file.h"
#include "tests/support/simfs.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(secret_crash, .timeout = 60);

enum { STATES = 40, LEN = 3000 };

static uint8_t contents[4][LEN]; /* generations; 0: no file */

struct watch {
    unsigned before, after; /* generations that may be there now */
    unsigned seen;          /* bits of those that were */
};

static unsigned generation_of(struct pvt_simfs *s)
{
    const struct pv_fs *fs = pvt_simfs_fs(s);
    uint8_t bytes[2 * LEN];
    size_t len = 0;
    enum pv_err err = pv_secret_file_read(fs, PV_FD_NONE, "keyring", bytes, sizeof bytes, &len);
    if (err == PV_E_NOT_FOUND)
        return 0;
    cr_assert_eq(err, PV_OK, "%s", pv_err_name(err));
    cr_assert_eq(len, LEN);
    for (unsigned i = 1; i < PV_COUNT(contents); i++)
        if (memcmp(bytes, contents[i], LEN) == 0)
            return i;
    cr_assert_fail("the file is torn");
    return 0;
}

static void replace(struct pvt_simfs *s, unsigned generation)
{
    const struct pv_fs *fs = pvt_simfs_fs(s);
    pv_fd dir;
    cr_assert_eq(fs->open(fs->ctx, PV_FD_NONE, ".", PV_FS_READ | PV_FS_DIRECTORY, &dir), PV_OK);
    cr_assert_eq(pv_secret_file_write(fs, dir, "keyring", "keyring.tmp", contents[generation], LEN),
                 PV_OK);
    cr_assert_eq(fs->close(fs->ctx, dir), PV_OK);
}

/* After the crash the next replacement works, whatever the last one left. */
static void cut(struct watch *w, struct pvt_simfs *s, uint64_t call)
{
    for (uint64_t i = 0; i < STATES; i++) {
        struct pvt_simfs *after = pvt_simfs_crash(s, i < 2 ? i : call * STATES + i);
        unsigned generation = generation_of(after);
        cr_assert(generation == w->before || generation == w->after, "%u", generation);
        w->seen |= 1U << generation;
        replace(after, 3);
        struct pvt_simfs *again = pvt_simfs_crash(after, PVT_CRASH_NOTHING);
        cr_assert_eq(generation_of(again), 3);
        pvt_simfs_free(again);
        pvt_simfs_free(after);
    }
}

static void before_call(void *ctx, struct pvt_simfs *s, const struct pvt_simfs_call *call)
{
    cut(ctx, s, call->number);
}

static void fill_contents(void)
{
    for (unsigned i = 0; i < PV_COUNT(contents); i++)
        memset(contents[i], (int)('0' + i), LEN);
}

Test(secret_crash, the_old_one_or_the_new_one_is_there, .init = fill_contents)
{
    struct pvt_simfs *s = pvt_simfs_new();
    for (unsigned generation = 1; generation < 3; generation++) {
        struct watch w = {generation - 1, generation, 0};
        pvt_simfs_set_hook(s, before_call, &w);
        replace(s, generation);
        pvt_simfs_set_hook(s, NULL, NULL);
        cr_assert_eq(w.seen, 1U << w.before | 1U << w.after);
        w.before = generation;
        cut(&w, s, 1000); /* it came back: from now on only the new one */
    }
    pvt_simfs_free(s);
}

/* The proof that the test above can see. */
Test(secret_crash, each_of_the_two_syncs_is_needed, .init = fill_contents)
{
    static const char *const paths[] = {"keyring.tmp", ""};
    for (size_t i = 0; i < PV_COUNT(paths); i++) {
        struct pvt_simfs *s = pvt_simfs_new();
        replace(s, 1);
        pvt_simfs_ignore_syncs(s, paths[i]);
        replace(s, 2);
        unsigned lost = 0;
        for (uint64_t seed = 0; seed < STATES; seed++) {
            const struct pv_fs *fs;
            struct pvt_simfs *after = pvt_simfs_crash(s, seed);
            uint8_t bytes[2 * LEN];
            size_t len = 0;
            fs = pvt_simfs_fs(after);
            enum pv_err err =
                pv_secret_file_read(fs, PV_FD_NONE, "keyring", bytes, sizeof bytes, &len);
            lost += err != PV_OK || len != LEN || memcmp(bytes, contents[2], LEN) != 0;
            pvt_simfs_free(after);
        }
        cr_assert_gt(lost, 0, "%s", paths[i]);
        pvt_simfs_free(s);
    }
}
