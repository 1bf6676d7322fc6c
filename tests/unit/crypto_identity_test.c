#include "crypto/identity.h"

#include "crypto/secret_file.h"
#include "tests/support/support.h"
#include "tests/unit/crypto_fixture.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(identity, .timeout = 60);

enum { FILE_LEN = 72 };

static struct pvt_tmpdir dir;

static void setup(void)
{
    pvt_tmpdir_init(&dir);
}

static void teardown(void)
{
    pvt_tmpdir_release(&dir);
}

static void put_file(const char *name, const void *data, size_t len, mode_t mode)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir.path, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    cr_assert_eq(fchmod(fd, mode), 0);
    cr_assert_eq(close(fd), 0);
}

static bool present(const char *name)
{
    struct pv_fs_stat st;
    const struct pv_fs *fs = pv_fs_real();
    return fs->stat_at(fs->ctx, dir.fd, name, &st) == PV_OK;
}

static enum pv_err create(struct pv_identity *out, const struct pv_fs *fs)
{
    struct pvt_env env;
    pvt_env_init(&env, 7, NULL);
    return pv_identity_create(out, fs, dir.fd, &env.env);
}

Test(identity, create_then_load, .init = setup, .fini = teardown)
{
    struct pv_identity made, loaded;
    struct pv_fs_stat st;
    uint8_t hash[PV_HASH_LEN];
    const struct pv_fs *fs = pv_fs_real();
    const size_t fds = pvt_open_fds();
    cr_assert_eq(pv_identity_load(&loaded, fs, dir.fd), PV_E_NOT_FOUND);
    put_file("identity.tmp", "left over", 9, 0644);
    cr_assert_eq(create(&made, fs), PV_OK);
    cr_assert_not(present("identity.tmp"));
    cr_assert_eq(fs->stat_at(fs->ctx, dir.fd, "identity", &st), PV_OK);
    cr_assert_eq(st.mode & 07777, 0600);
    cr_assert_eq(st.size_bytes, FILE_LEN);
    cr_assert_eq(pv_identity_load(&loaded, fs, dir.fd), PV_OK);
    cr_assert_eq(memcmp(&made, &loaded, sizeof made), 0);
    pv_sha256(hash, made.pub, PV_PUB_LEN);
    cr_assert_eq(memcmp(hash, made.node_id.b, PV_ID_LEN), 0);
    cr_assert_eq(create(&made, fs), PV_E_EXISTS);
    pv_identity_wipe(&loaded);
    for (size_t i = 0; i < PV_SEED_LEN; i++)
        cr_assert_eq(loaded.seed[i], 0);
    cr_assert_eq(pvt_open_fds(), fds);
}

Test(identity, damaged_files, .init = setup, .fini = teardown)
{
    struct pv_identity id, kept;
    uint8_t file[FILE_LEN + 1] = {'P', 'V', 'I', '1'};
    const struct pv_fs *fs = pv_fs_real();
    memset(&id, 0x55, sizeof id);
    kept = id;
    pv_sha256(file + 40, file, 40);
    for (size_t len = 0; len <= sizeof file; len++) {
        put_file("identity", file, len, 0600);
        const enum pv_err expected = len == FILE_LEN ? PV_OK : PV_E_CORRUPT;
        struct pv_identity other;
        cr_assert_eq(pv_identity_load(len == FILE_LEN ? &other : &id, fs, dir.fd), expected);
    }
    for (size_t i = 0; i < FILE_LEN; i++) {
        file[i] ^= 1;
        put_file("identity", file, FILE_LEN, 0600);
        cr_assert_eq(pv_identity_load(&id, fs, dir.fd), PV_E_CORRUPT, "byte %zu", i);
        file[i] ^= 1;
    }
    file[4] = 1; /* a reserved byte, with a checksum that fits */
    pv_sha256(file + 40, file, 40);
    put_file("identity", file, FILE_LEN, 0600);
    cr_assert_eq(pv_identity_load(&id, fs, dir.fd), PV_E_CORRUPT);
    cr_assert_eq(memcmp(&id, &kept, sizeof id), 0);
}

Test(identity, files_that_others_may_use_are_refused, .init = setup, .fini = teardown)
{
    struct pv_identity id;
    uint8_t file[FILE_LEN] = {'P', 'V', 'I', '1'};
    static const mode_t modes[] = {0640, 0620, 0610, 0604, 0602, 0601};
    pv_sha256(file + 40, file, 40);
    for (size_t i = 0; i < PV_COUNT(modes); i++) {
        put_file("identity", file, FILE_LEN, modes[i]);
        cr_assert_eq(pv_identity_load(&id, pv_fs_real(), dir.fd), PV_E_AUTH);
    }
    put_file("identity", file, FILE_LEN, 0600);
    cr_assert_eq(pv_identity_load(&id, pv_fs_real(), dir.fd), PV_OK);
}

/* ---- replacing a secret file when the disk fails ------------------------------------------------
 */

static enum pv_err no_write(void *ctx, pv_fd fd, const void *src, size_t len, uint64_t offset)
{
    (void)ctx, (void)fd, (void)src, (void)len, (void)offset;
    return PV_E_NOSPACE;
}

static enum pv_err no_sync(void *ctx, pv_fd fd)
{
    (void)ctx, (void)fd;
    return PV_E_IO;
}

static enum pv_err no_close(void *ctx, pv_fd fd)
{
    const struct pv_fs *fs = pv_fs_real();
    (void)ctx;
    (void)fs->close(fs->ctx, fd);
    return PV_E_IO;
}

static enum pv_err no_rename(void *ctx, pv_fd from_dir, const char *from, pv_fd to_dir,
                             const char *to)
{
    (void)ctx, (void)from_dir, (void)from, (void)to_dir, (void)to;
    return PV_E_IO;
}

Test(identity, a_failed_write_leaves_the_old_file, .init = setup, .fini = teardown)
{
    char text[16];
    size_t len;
    const struct pv_fs *real = pv_fs_real();
    struct pv_fs failing[] = {*real, *real, *real, *real};
    const size_t fds = pvt_open_fds();
    failing[0].write = no_write;
    failing[1].sync = no_sync;
    failing[2].close = no_close;
    failing[3].rename = no_rename;
    cr_assert_eq(pv_secret_file_write(real, dir.fd, "file", "file.tmp", "old", 3), PV_OK);
    for (size_t i = 0; i < PV_COUNT(failing); i++) {
        cr_assert_eq(pv_secret_file_write(&failing[i], dir.fd, "file", "file.tmp", "new!", 4),
                     i == 0 ? PV_E_NOSPACE : PV_E_IO);
        cr_assert_not(present("file.tmp"));
        cr_assert_eq(pv_secret_file_read(real, dir.fd, "file", text, sizeof text, &len), PV_OK);
        cr_assert_eq(len, 3);
        cr_assert_eq(memcmp(text, "old", 3), 0);
    }
    cr_assert_eq(pv_secret_file_write(real, dir.fd, "file", "file.tmp", "new!", 4), PV_OK);
    cr_assert_eq(pv_secret_file_read(real, dir.fd, "file", text, 4, &len), PV_OK);
    cr_assert_eq(pv_secret_file_read(real, dir.fd, "file", text, 3, &len), PV_E_CORRUPT);
    cr_assert_eq(pv_secret_file_read(real, dir.fd, "none", text, 3, &len), PV_E_NOT_FOUND);
    cr_assert_eq(pvt_open_fds(), fds);
}

Test(identity, a_failed_create_gives_no_identity, .init = setup, .fini = teardown)
{
    struct pv_identity id;
    struct pv_fs failing = *pv_fs_real();
    failing.sync = no_sync;
    cr_assert_eq(create(&id, &failing), PV_E_IO);
    cr_assert_not(present("identity"));
    cr_assert_eq(create(&id, pv_fs_real()), PV_OK);
}

/* ---- people's form of a node id ------------------------------------------------------------- */

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

Test(identity, text_round_trip)
{
    char text[PV_NODE_TEXT_LEN], hex[PV_ID_HEX_LEN + 1];
    for (unsigned i = 0; i < 64; i++) {
        const char name[2] = {(char)('0' + i), '\0'};
        struct pv_id id = pvt_id_of(name), out;
        if (i < 2)
            memset(id.b, i == 0 ? 0 : 0xff, sizeof id.b);
        pv_node_id_format(text, &id);
        cr_assert_eq(strlen(text), PV_NODE_TEXT_LEN - 1);
        cr_assert_eq(pv_node_id_parse(&out, text), PV_OK);
        cr_assert(pv_id_equal(&id, &out));
        for (char *p = text; *p != '\0'; p++)
            if (*p >= 'a' && *p <= 'z')
                *p = (char)(*p - 'a' + 'A');
        cr_assert_eq(pv_node_id_parse(&out, text), PV_OK);
        cr_assert(pv_id_equal(&id, &out));
        pv_id_hex(hex, &id);
        cr_assert_eq(pv_node_id_parse(&out, hex), PV_OK);
        cr_assert(pv_id_equal(&id, &out));
    }
}

Test(identity, every_wrong_digit_is_found)
{
    char text[PV_NODE_TEXT_LEN];
    struct pv_id out;
    const struct pv_id id = pvt_id_of("node");
    pv_node_id_format(text, &id);
    for (size_t i = 0; i < PV_NODE_TEXT_LEN - 1; i++) {
        const char kept = text[i];
        for (const char *d = digits; *d != '\0'; d++) {
            text[i] = *d;
            cr_assert_eq(pv_node_id_parse(&out, text), *d == kept ? PV_OK : PV_E_INVALID,
                         "position %zu digit %c", i, *d);
        }
        text[i] = '!';
        cr_assert_eq(pv_node_id_parse(&out, text), PV_E_INVALID);
        text[i] = kept;
    }
}

/* All pairs in a group, neighbours across groups, and neighbouring groups, in many ids. */
Test(identity, every_exchange_is_found)
{
    char text[PV_NODE_TEXT_LEN];
    struct pv_id out;
    size_t tried = 0;
    for (unsigned n = 0; n < 40; n++) {
        const char name[2] = {(char)('0' + n), '\0'};
        const struct pv_id id = pvt_id_of(name);
        pv_node_id_format(text, &id);
        for (size_t i = 0; i < PV_NODE_TEXT_LEN - 1; i++) {
            for (size_t j = i + 1; j <= i + 6 && j < PV_NODE_TEXT_LEN - 1; j++) {
                const char a = text[i], b = text[j];
                const bool same_group = i / 6 == j / 6;
                const bool neighbours = j == i + 1 || (j == i + 2 && text[i + 1] == '-');
                if (a == b || (!same_group && !neighbours))
                    continue;
                text[i] = b;
                text[j] = a;
                cr_assert_eq(pv_node_id_parse(&out, text), PV_E_INVALID, "%zu and %zu", i, j);
                text[i] = a;
                text[j] = b;
                tried++;
            }
        }
        for (size_t g = 0; g + 1 < 13; g++) {
            char other[PV_NODE_TEXT_LEN];
            memcpy(other, text, sizeof other);
            memcpy(other + 6 * g, text + 6 * (g + 1), 5);
            memcpy(other + 6 * (g + 1), text + 6 * g, 5);
            cr_assert_eq(pv_node_id_parse(&out, other), PV_E_INVALID, "group %zu", g);
        }
    }
    cr_assert(tried > 5000);
}

Test(identity, text_of_another_length)
{
    char text[PV_NODE_TEXT_LEN + 1], hex[PV_ID_HEX_LEN + 1];
    struct pv_id out;
    const struct pv_id id = pvt_id_of("node");
    pv_node_id_format(text, &id);
    text[PV_NODE_TEXT_LEN - 1] = 'a';
    text[PV_NODE_TEXT_LEN] = '\0';
    for (size_t len = PV_NODE_TEXT_LEN; len > 0; len--) {
        text[len] = '\0';
        cr_assert_eq(pv_node_id_parse(&out, text),
                     len == PV_NODE_TEXT_LEN - 1 ? PV_OK : PV_E_INVALID);
    }
    cr_assert_eq(pv_node_id_parse(&out, ""), PV_E_INVALID);
    pv_id_hex(hex, &id);
    hex[10] = 'g';
    cr_assert_eq(pv_node_id_parse(&out, hex), PV_E_INVALID);
}

Test(identity, a_beginning_of_either_form_is_known)
{
    char text[PV_NODE_TEXT_LEN], hex[PV_ID_HEX_LEN + 1];
    const struct pv_id id = pvt_id_of("node");
    pv_node_id_format(text, &id);
    pv_id_hex(hex, &id);
    const char *const forms[] = {text, hex};
    for (size_t form = 0; form < PV_COUNT(forms); form++) {
        for (size_t len = 0; len <= strlen(forms[form]); len++) {
            char part[PV_NODE_TEXT_LEN + 1] = "";
            memcpy(part, forms[form], len);
            cr_assert(pv_node_id_begins(&id, part), "%s", part);
            for (size_t i = 0; i < len; i++)
                part[i] = (char)toupper((unsigned char)part[i]);
            cr_assert(pv_node_id_begins(&id, part), "%s", part);
            part[len] = '!';
            cr_assert_not(pv_node_id_begins(&id, part), "%s", part);
        }
    }
}
