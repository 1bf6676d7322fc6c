#include "crypto/keyring.h"

#include "crypto/body.h"

#include "internal/base/mem.h"
#include "tests/support/support.h"
#include "tests/unit/crypto_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(keyring, .timeout = 60);

static struct pvt_tmpdir dir;
static struct pv_keyring k; /* each test is a process of its own */

static void setup(void)
{
    pvt_tmpdir_init(&dir);
    pv_keyring_init(&k);
}

static void teardown(void)
{
    pvt_tmpdir_release(&dir);
}

static void put_file(const char *text, size_t len, mode_t mode)
{
    char path[300];
    snprintf(path, sizeof path, "%s/keyring", dir.path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, len), (ssize_t)len);
    cr_assert_eq(fchmod(fd, mode), 0);
    cr_assert_eq(close(fd), 0);
}

static enum pv_err load(struct pv_keyring *out, unsigned *line)
{
    return pv_keyring_load(out, pv_fs_real(), dir.fd, line);
}

static struct pv_kid add(uint8_t first, enum pv_key_state state)
{
    const struct pv_cluster_keys keys = pvt_cluster_keys(first);
    cr_assert_eq(pv_keyring_add_key(&k, keys.cluster_key, state, 1000 + first), PV_OK);
    return keys.kid;
}

static bool kid_is(const struct pv_cluster_keys *keys, const struct pv_kid *kid)
{
    return keys != NULL && memcmp(keys->kid.b, kid->b, PV_KID_LEN) == 0;
}

Test(keyring, empty_is_a_node_that_cannot_read, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    const struct pv_kid zero = {{0}};
    cr_assert_eq(load(&out, NULL), PV_E_NOT_FOUND);
    cr_assert_null(pv_keyring_active(&k));
    cr_assert_null(pv_keyring_dedup(&k));
    cr_assert_null(pv_keyring_find(&k, &zero));
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_OK);
    cr_assert_eq(load(&out, NULL), PV_OK);
    cr_assert_eq(memcmp(&out, &k, sizeof k), 0);
}

Test(keyring, save_then_load, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    struct pv_fs_stat st;
    const struct pv_fs *fs = pv_fs_real();
    const size_t fds = pvt_open_fds();
    add(0, PV_KEY_ACTIVE);
    add(1, PV_KEY_ACTIVE);
    add(2, PV_KEY_STAGED);
    add(3, PV_KEY_RETIRED);
    cr_assert_eq(pv_keyring_add_token(&k, "two words and  two spaces ", 5), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k,
                                      "gr\xc3\xbc\xc3\x9f"
                                      "e, cluster",
                                      UINT64_MAX),
                 PV_OK);
    cr_assert_eq(pv_keyring_save(&k, fs, dir.fd), PV_OK);
    cr_assert_eq(fs->stat_at(fs->ctx, dir.fd, "keyring", &st), PV_OK);
    cr_assert_eq(st.mode & 07777, 0600);
    cr_assert_eq(fs->stat_at(fs->ctx, dir.fd, "keyring.tmp", &st), PV_E_NOT_FOUND);
    cr_assert_eq(load(&out, NULL), PV_OK);
    cr_assert_eq(memcmp(&out, &k, sizeof k), 0);
    cr_assert_eq(pv_keyring_save(&out, fs, dir.fd), PV_OK); /* over the old file */
    cr_assert_eq(load(&k, NULL), PV_OK);
    cr_assert_eq(memcmp(&out, &k, sizeof k), 0);
    pv_keyring_wipe(&out);
    cr_assert_eq(out.key_count, 0);
    cr_assert_eq(pvt_open_fds(), fds);
}

Test(keyring, largest_keyring_fits_its_file, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    char token[PV_TOKEN_LEN_MAX + 2];
    for (unsigned i = 0; i < PV_KEYRING_KEYS_MAX; i++)
        add((uint8_t)i, i == 0 ? PV_KEY_ACTIVE : PV_KEY_READ_ONLY);
    for (size_t i = 0; i < k.key_count; i++)
        k.keys[i].created_s = UINT64_MAX;
    for (char c = 'x'; c <= 'y'; c++) {
        memset(token, c, sizeof token);
        token[PV_TOKEN_LEN_MAX] = '\0';
        cr_assert_eq(pv_keyring_add_token(&k, token, UINT64_MAX), PV_OK);
    }
    token[PV_TOKEN_LEN_MAX] = 'y';
    token[PV_TOKEN_LEN_MAX + 1] = '\0';
    cr_assert_eq(pv_keyring_add_token(&k, token, 1), PV_E_INVALID);
    for (unsigned i = 0; i < PV_INVITES_MAX; i++) {
        struct pv_invite invite = {
            .role = PV_ROLE_KEYED, .expires_s = UINT64_MAX, .id = {(uint8_t)i}};
        cr_assert_eq(pv_keyring_add_invite(&k, &invite), PV_OK);
        cr_assert_eq(pv_keyring_add_invite(&k, &invite), PV_E_EXISTS);
        k.invites[i].used = k.invites[i].confirm = true;
    }
    struct pv_invite one_more = {.id = {200}};
    cr_assert_eq(pv_keyring_add_invite(&k, &one_more), PV_E_LIMIT);
    k.overlap_until_s = UINT64_MAX;
    k.has_root = true;
    const struct pv_cluster_keys more = pvt_cluster_keys(100);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, more.cluster_key, 1), PV_E_LIMIT);
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_OK);
    cr_assert_eq(load(&out, NULL), PV_OK);
    cr_assert_eq(memcmp(&out, &k, sizeof k), 0);
}

Test(keyring, adding_keys, .init = setup, .fini = teardown)
{
    uint8_t weak[PV_KEY_LEN] = {0};
    const struct pv_cluster_keys a = pvt_cluster_keys(0), b = pvt_cluster_keys(1);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, weak, 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, a.cluster_key, 1), PV_OK);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, a.cluster_key, 1), PV_E_EXISTS);
    cr_assert(kid_is(pv_keyring_active(&k), &a.kid));
    cr_assert(kid_is(pv_keyring_dedup(&k), &a.kid));
    cr_assert_eq(pv_keyring_add_cluster_key(&k, b.cluster_key, 2), PV_OK);
    cr_assert(kid_is(pv_keyring_active(&k), &b.kid));
    cr_assert(kid_is(pv_keyring_dedup(&k), &a.kid)); /* cut points and ids stay */
    cr_assert_eq(k.keys[0].state, PV_KEY_READ_ONLY);
    cr_assert(kid_is(pv_keyring_find(&k, &a.kid), &a.kid));
    cr_assert(kid_is(pv_keyring_find(&k, &b.kid), &b.kid));
}

static void grant(struct pv_keyring *out, uint8_t active, const char *token, uint64_t created_s)
{
    const struct pv_cluster_keys old = pvt_cluster_keys(0), new = pvt_cluster_keys(active);
    pv_keyring_init(out);
    if (active > 0)
        cr_assert_eq(pv_keyring_add_key(out, old.cluster_key, PV_KEY_READ_ONLY, 5), PV_OK);
    cr_assert_eq(pv_keyring_add_key(out, new.cluster_key, PV_KEY_ACTIVE, 6), PV_OK);
    cr_assert_eq(pv_keyring_add_token(out, token, created_s), PV_OK);
}

Test(keyring, who_was_away_catches_up, .init = setup, .fini = teardown)
{
    struct pv_keyring granted;
    const struct pv_kid old = add(0, PV_KEY_ACTIVE);
    const struct pv_invite invite = {.role = PV_ROLE_KEYED, .id = {1}, .expires_s = 99};
    cr_assert_eq(pv_keyring_add_invite(&k, &invite), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k, "the first", 10), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k, "the second", 20), PV_OK);
    k.overlap_until_s = 30;

    grant(&granted, 0, "an older one", 19);
    cr_assert_eq(pv_keyring_catch_up(&k, &granted), PV_OK);
    cr_assert_eq(k.token_count, 2, "ours are newer");
    grant(&granted, 0, "the second", 20);
    cr_assert_eq(pv_keyring_catch_up(&k, &granted), PV_OK);
    cr_assert_eq(k.token_count, 2, "nothing new");

    grant(&granted, 1, "the third", 21);
    cr_assert_eq(pv_keyring_catch_up(&k, &granted), PV_OK);
    cr_assert_eq(k.token_count, 1, "those before open no door");
    cr_assert_str_eq(k.tokens[0].text, "the third");
    cr_assert_eq(k.overlap_until_s, 0);
    cr_assert(kid_is(pv_keyring_active(&k), &granted.keys[1].keys.kid));
    cr_assert(kid_is(pv_keyring_find(&k, &old), &old));
    cr_assert(kid_is(pv_keyring_dedup(&k), &granted.dedup_kid));
    cr_assert_eq(k.invite_count, 1);

    pv_keyring_init(&k); /* of a blind node: no key comes, and none is needed */
    pv_keyring_init(&granted);
    cr_assert_eq(pv_keyring_add_token(&k, "given by hand", 0), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&granted, "by hand, too", 0), PV_OK);
    cr_assert_eq(pv_keyring_catch_up(&k, &granted), PV_OK);
    cr_assert_str_eq(k.tokens[0].text, "by hand, too");
    cr_assert_eq(k.token_count + k.key_count, 1);
}

Test(keyring, rotation, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    const struct pv_kid unknown = {{1, 2, 3}};
    const struct pv_kid a = add(0, PV_KEY_ACTIVE);
    const struct pv_kid b = add(1, PV_KEY_STAGED);
    cr_assert(kid_is(pv_keyring_active(&k), &a));
    cr_assert(kid_is(pv_keyring_find(&k, &b), &b)); /* staged is readable */
    cr_assert_eq(pv_keyring_retire(&k, &a), PV_E_INVALID);
    cr_assert_eq(pv_keyring_activate(&k, &unknown), PV_E_NOT_FOUND);
    cr_assert_eq(pv_keyring_activate(&k, &b), PV_OK);
    cr_assert_eq(pv_keyring_activate(&k, &b), PV_OK);
    cr_assert(kid_is(pv_keyring_active(&k), &b));
    cr_assert(kid_is(pv_keyring_dedup(&k), &a));

    cr_assert_eq(pv_keyring_drop(&k, &a), PV_E_INVALID);
    cr_assert_eq(pv_keyring_retire(&k, &unknown), PV_E_NOT_FOUND);
    cr_assert_eq(pv_keyring_retire(&k, &a), PV_OK);
    cr_assert_eq(pv_keyring_retire(&k, &a), PV_OK);
    cr_assert(kid_is(pv_keyring_dedup(&k), &b));
    cr_assert_null(pv_keyring_find(&k, &a));
    cr_assert_eq(pv_keyring_activate(&k, &a), PV_E_INVALID);
    cr_assert_eq(pv_keyring_set_dedup(&k, &a), PV_E_NOT_FOUND);
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_OK);
    cr_assert_eq(load(&out, NULL), PV_OK);
    cr_assert_eq(memcmp(&out, &k, sizeof k), 0);

    cr_assert_eq(pv_keyring_drop(&k, &unknown), PV_E_NOT_FOUND);
    cr_assert_eq(pv_keyring_drop(&k, &a), PV_OK);
    cr_assert_eq(k.key_count, 1);
    cr_assert(kid_is(pv_keyring_active(&k), &b));
    for (size_t i = 0; i < PV_KEY_LEN; i++)
        cr_assert_eq(k.keys[1].keys.cluster_key[i], 0);
    const struct pv_kid c = add(2, PV_KEY_READ_ONLY);
    cr_assert_eq(pv_keyring_set_dedup(&k, &c), PV_OK);
    cr_assert(kid_is(pv_keyring_dedup(&k), &c));
}

Test(keyring, without_an_active_key_it_is_not_saved, .init = setup, .fini = teardown)
{
    const struct pv_kid a = add(0, PV_KEY_READ_ONLY);
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_E_INVALID);
    cr_assert_eq(pv_keyring_retire(&k, &a), PV_E_INVALID);
    cr_assert_eq(pv_keyring_activate(&k, &a), PV_OK);
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_OK);
}

Test(keyring, tokens, .init = setup, .fini = teardown)
{
    struct pvt_env env;
    char token[PV_TOKEN_TEXT_LEN + 1], hex[2 * PV_KEY_LEN + 1];
    uint8_t drawn[PV_KEY_LEN];
    cr_assert_eq(pv_keyring_add_token(&k, "", 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_token(&k, "pvt1-abc", 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_token(&k, "line\nfeed", 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_token(&k, "tab\t", 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_token(&k, "del\x7f", 1), PV_E_INVALID);
    cr_assert_eq(pv_keyring_add_token(&k, "first", 1), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k, "second", 2), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k, "first", 3), PV_E_EXISTS);
    cr_assert_eq(pv_keyring_add_token(&k, "third", 3), PV_OK);
    cr_assert_eq(k.token_count, 2);
    cr_assert_str_eq(k.tokens[0].text, "third");
    cr_assert_eq(k.tokens[0].created_s, 3);
    cr_assert_str_eq(k.tokens[1].text, "second");
    pv_keyring_drop_old_tokens(&k);
    cr_assert_eq(k.token_count, 1);
    cr_assert_str_eq(k.tokens[0].text, "third");
    cr_assert_str_eq(k.tokens[1].text, "");

    /* Neither secret may be the other, in whichever order they come. */
    const struct pv_cluster_keys a = pvt_cluster_keys(0);
    pv_hex_encode(hex, a.cluster_key, PV_KEY_LEN);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, a.cluster_key, 1), PV_OK);
    cr_assert_eq(pv_keyring_add_token(&k, hex, 4), PV_E_INVALID);
    pvt_env_init(&env, 5, NULL);
    pv_token_generate(token, &env.env);
    pvt_env_init(&env, 5, NULL);
    pv_env_random(&env.env, drawn, sizeof drawn);
    cr_assert_eq(pv_keyring_add_token(&k, token, 4), PV_OK);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, drawn, 1), PV_E_INVALID);
}

/* ---- the text ------------------------------------------------------------------------------ */

static char key_lines[3][200]; /* kid and key of three cluster keys */

static void make_key_lines(void)
{
    for (size_t i = 0; i < 3; i++) {
        const struct pv_cluster_keys keys = pvt_cluster_keys((uint8_t)i);
        char kid[2 * PV_KID_LEN + 1], key[2 * PV_KEY_LEN + 1];
        pv_hex_encode(kid, keys.kid.b, PV_KID_LEN);
        pv_hex_encode(key, keys.cluster_key, PV_KEY_LEN);
        snprintf(key_lines[i], sizeof key_lines[i], "%s %s", kid, key);
    }
}

enum { TEXT_MAX = 1024 };

/* @N stands for kid and key of cluster key N, #N for its kid, $N for its key. */
static size_t expand(char text[static TEXT_MAX], const char *format)
{
    size_t len = 0;
    for (const char *p = format; *p != '\0'; p++) {
        const char *part = p;
        size_t part_len = 1;
        if (*p == '@' || *p == '#' || *p == '$') {
            part = key_lines[p[1] - '0'] + (*p == '$' ? 17 : 0);
            part_len = *p == '#' ? 16 : strlen(part);
            p++;
        }
        cr_assert(len + part_len <= TEXT_MAX);
        memcpy(text + len, part, part_len);
        len += part_len;
    }
    return len;
}

static void expect_text(const char *format, enum pv_err expected, unsigned expected_line)
{
    char text[TEXT_MAX];
    unsigned line = 99;
    put_file(text, expand(text, format), 0600);
    cr_assert_eq(load(&k, &line), expected, "%s", format);
    cr_assert_eq(line, expected_line, "%s: line %u", format, line);
}

#define HEAD "peervault-keyring 1\n"
#define ACTIVE "cluster @0 active 5\n"
#define DEDUP "dedup #0\n"

Test(keyring, text_forms, .init = setup, .fini = teardown)
{
    make_key_lines();
    expect_text(HEAD, PV_OK, 99);
    expect_text(HEAD ACTIVE DEDUP, PV_OK, 99);
    expect_text(HEAD DEDUP "token a 1\n" ACTIVE "token a 1 2\n", PV_OK, 99);
    cr_assert_str_eq(k.tokens[1].text, "a 1");
    expect_text(HEAD "cluster @1 read-only 0\n" ACTIVE "cluster @2 retired 1\n" DEDUP, PV_OK, 99);
    expect_text(HEAD ACTIVE "cluster @1 staged 18446744073709551615\ndedup #1\n", PV_OK, 99);
    cr_assert_eq(k.keys[1].created_s, UINT64_MAX);
}

Test(keyring, bad_lines_are_named, .init = setup, .fini = teardown)
{
    make_key_lines();
    static const struct {
        const char *format;
        unsigned line;
    } bad[] = {
        {"", 1},
        {"\n", 1},
        {"peervault-keyring 2\n", 1},
        {"peervault-keyring 1", 1},
        {"peervault-keyring 1 \n", 1},
        {HEAD "\n", 2},
        {HEAD "comment\n", 2},
        {HEAD ACTIVE, 3},                                  /* no dedup line */
        {HEAD "cluster @0 read-only 5\n" DEDUP, 4},        /* nothing active */
        {HEAD ACTIVE "cluster @1 active 5\n" DEDUP, 3},    /* two active */
        {HEAD ACTIVE "cluster @0 read-only 5\n" DEDUP, 3}, /* the same key twice */
        {HEAD ACTIVE DEDUP DEDUP, 4},
        {HEAD "dedup #0\n", 2}, /* a dedup key without keys */
        {HEAD ACTIVE "dedup #1\n"
                     "token a 1\n",
         3},                                                 /* unknown */
        {HEAD ACTIVE "cluster @1 retired 5\ndedup #1\n", 4}, /* retired */
        {HEAD "cluster @0 active 5 \n" DEDUP, 2},
        {HEAD "cluster  @0 active 5\n" DEDUP, 2},
        {HEAD "cluster @0 active\n" DEDUP, 2},
        {HEAD "cluster @0 active \n" DEDUP, 2},
        {HEAD "cluster @0 Active 5\n" DEDUP, 2},
        {HEAD "cluster @0 active 05\n" DEDUP, 2},
        {HEAD "cluster @0 active +5\n" DEDUP, 2},
        {HEAD "cluster @0 active 18446744073709551616\n" DEDUP, 2},
        {HEAD "cluster @0 active 99999999999999999999\n" DEDUP, 2},
        {HEAD "cluster #0 active 5\n" DEDUP, 2},
        {HEAD "cluster #0 #0 active 5\n" DEDUP, 2},
        {HEAD "cluster #1 0001 active 5\n" DEDUP, 2},
        {HEAD "cluster\n" DEDUP, 2},
        {HEAD ACTIVE "dedup\n", 3},
        {HEAD ACTIVE "dedup #0 \n", 3},
        {HEAD ACTIVE "dedup #0 x\n", 3},
        {HEAD ACTIVE "dedup 00\n", 3},
        {HEAD "token\n", 2},
        {HEAD "token a\n", 2},
        {HEAD "token  1\n", 2},
        {HEAD "token a x\n", 2},
        {HEAD "token pvt1-a 1\n", 2},
        {HEAD "token a 1\ntoken a 1\n", 3},
        {HEAD "token a 1\ntoken b 1\ntoken c 1\n", 4},
        {HEAD "token a\tb 1\n", 2},
        {HEAD "overlap\n", 2},
        {HEAD "overlap 0\n", 2},
        {HEAD "overlap 5\noverlap 5\n", 3},
        {HEAD "overlap 5 \n", 2},
        {HEAD "root\n", 2},
        {HEAD "root 00\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f keyed\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f admin 5\n", 2},
        {HEAD "invite 010203 000102030405060708090a0b0c0d0e0f blind 5\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e blind 5\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f blind 5 \n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f blind 5 00\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f blind 5 confirmed\n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f blind 5 confirm \n", 2},
        {HEAD "invite 01020304 000102030405060708090a0b0c0d0e0f blind 5 confirm confirm\n", 2},
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++)
        expect_text(bad[i].format, PV_E_CORRUPT, bad[i].line);
    cr_assert_eq(k.key_count, 0); /* nothing came out of any of them */
    static const char with_nul[] = HEAD "token a\0b 1\n";
    unsigned line = 0;
    put_file(with_nul, sizeof with_nul - 1, 0600);
    cr_assert_eq(load(&k, &line), PV_E_CORRUPT);
    cr_assert_eq(line, 2);
}

Test(keyring, mistyped_key_and_token_in_its_place, .init = setup, .fini = teardown)
{
    make_key_lines();
    key_lines[0][30] = key_lines[0][30] == '0' ? '1' : '0'; /* a digit of the key */
    expect_text(HEAD ACTIVE DEDUP, PV_E_CORRUPT, 2);
    make_key_lines();
    key_lines[0][3] = key_lines[0][3] == '0' ? '1' : '0'; /* a digit of the kid */
    expect_text(HEAD ACTIVE DEDUP, PV_E_CORRUPT, 2);
    make_key_lines();
    expect_text(HEAD ACTIVE "token $0 1\n" DEDUP, PV_E_CORRUPT, 3);
    expect_text(HEAD "token $0 1\n" ACTIVE DEDUP, PV_E_CORRUPT, 3);
}

Test(keyring, cut_and_oversized_files, .init = setup, .fini = teardown)
{
    static char big[16400];
    char text[TEXT_MAX];
    struct pv_keyring out;
    unsigned line;
    make_key_lines();
    const size_t len = expand(text, HEAD ACTIVE DEDUP "token a 1\n");
    for (size_t cut = 0; cut <= len; cut++) {
        put_file(text, cut, 0600);
        /* Whole lines make a valid file after the first, the dedup line and the token. */
        const bool valid = cut == sizeof HEAD - 1 || cut == len - 10 || cut == len;
        cr_assert_eq(load(&out, &line), valid ? PV_OK : PV_E_CORRUPT, "cut at %zu", cut);
    }
    memset(big, '\n', sizeof big);
    memcpy(big, HEAD, sizeof HEAD - 1);
    put_file(big, 16385, 0600);
    cr_assert_eq(load(&out, &line), PV_E_CORRUPT);
    cr_assert_eq(line, 0);
    put_file(big, 16384, 0600);
    cr_assert_eq(load(&out, &line), PV_E_CORRUPT);
    cr_assert_eq(line, 2);
}

static size_t save_and_read(char text[static TEXT_MAX])
{
    const struct pv_fs *fs = pv_fs_real();
    pv_fd fd;
    size_t len = 0;
    cr_assert_eq(pv_keyring_save(&k, fs, dir.fd), PV_OK);
    cr_assert_eq(fs->open(fs->ctx, dir.fd, "keyring", PV_FS_READ, &fd), PV_OK);
    cr_assert_eq(fs->read(fs->ctx, fd, text, TEXT_MAX, 0, &len), PV_OK);
    cr_assert_eq(fs->close(fs->ctx, fd), PV_OK);
    return len;
}

Test(keyring, changed_bytes_are_noticed, .init = setup, .fini = teardown)
{
    char text[TEXT_MAX];
    struct pv_keyring out;
    unsigned line = 0;
    add(0, PV_KEY_ACTIVE);
    add(1, PV_KEY_READ_ONLY);
    cr_assert_eq(pv_keyring_add_token(&k, "a passphrase 12", 12), PV_OK);
    const size_t len = save_and_read(text);
    for (size_t at = 0; at < len; at++) {
        for (unsigned i = 0; i < 2; i++) {
            const unsigned bit = i == 0 ? 5 : (unsigned)at % 5; /* 5: upper and lower case */
            text[at] = (char)(text[at] ^ 1 << bit);
            put_file(text, len, 0600);
            cr_assert_eq(load(&out, &line), PV_E_CORRUPT, "byte %zu, bit %u", at, bit);
            text[at] = (char)(text[at] ^ 1 << bit);
        }
    }
    const size_t sum_len = 4 + 64 + 1;
    put_file(text, len - sum_len, 0600); /* whoever edits it takes the sum out */
    cr_assert_eq(load(&out, &line), PV_OK);
    text[len - sum_len - 2] ^= 1; /* the time of the token */
    put_file(text, len, 0600);
    cr_assert_eq(load(&out, &line), PV_E_CORRUPT);
    cr_assert_eq(line, 6, "the sum is what is wrong, not line %u", line);
}

Test(keyring, readable_by_others_is_refused, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    static const mode_t modes[] = {0640, 0620, 0604, 0602};
    for (size_t i = 0; i < PV_COUNT(modes); i++) {
        put_file(HEAD, sizeof HEAD - 1, modes[i]);
        cr_assert_eq(load(&out, NULL), PV_E_AUTH);
    }
    put_file(HEAD, sizeof HEAD - 1, 0600);
    cr_assert_eq(load(&out, NULL), PV_OK);
}

Test(keyring, out_of_memory_is_an_error, .init = setup, .fini = teardown)
{
    struct pv_keyring out;
    pv_mem_fail_after(0);
    const enum pv_err save_err = pv_keyring_save(&k, pv_fs_real(), dir.fd);
    pv_mem_fail_after(0);
    const enum pv_err load_err = load(&out, NULL);
    pv_mem_fail_after(UINT64_MAX);
    cr_assert_eq(save_err, PV_E_NOMEM);
    cr_assert_eq(load_err, PV_E_NOMEM);
}

Test(keyring, invites_lapse, .init = setup, .fini = teardown)
{
    struct pv_invite a = {.role = PV_ROLE_BLIND, .expires_s = 10, .id = {1}},
                     b = {.role = PV_ROLE_BLIND, .expires_s = 11, .id = {2}};
    cr_assert_eq(pv_keyring_add_invite(&k, &a), PV_OK);
    cr_assert_eq(pv_keyring_add_invite(&k, &b), PV_OK);
    k.invites[1].confirm = true;
    cr_assert_eq(pv_keyring_save(&k, pv_fs_real(), dir.fd), PV_OK);
    cr_assert_eq(load(&k, NULL), PV_OK);
    cr_assert(!k.invites[0].confirm && k.invites[1].confirm && !k.invites[1].used);
    pv_keyring_drop_invites(&k, 9);
    cr_assert_eq(k.invite_count, 2);
    pv_keyring_drop_invites(&k, 10);
    cr_assert_eq(k.invite_count, 1);
    cr_assert_null(pv_keyring_find_invite(&k, a.id));
    cr_assert_not_null(pv_keyring_find_invite(&k, b.id));
}
