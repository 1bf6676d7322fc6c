#include "internal/setup.h"
#include "internal/base/mem.h"
#include "tests/support/faultfs.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(setup, .timeout = 60);

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_KEY "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TOKEN "a token that nobody would ever guess"

static const struct pv_secrets none;

struct place {
    struct pvt_tmpdir dir;
    struct pvt_env env;
    char path[300], why[PV_SETUP_TEXT_MAX];
};

static struct place *place_new(void)
{
    struct place *p = calloc(1, sizeof *p);
    pvt_tmpdir_init(&p->dir);
    pvt_env_init(&p->env, 5, NULL);
    snprintf(p->path, sizeof p->path, "%s/some/vault", p->dir.path);
    return p;
}

static void place_free(struct place *p)
{
    pvt_tmpdir_release(&p->dir);
    free(p);
}

static enum pv_err create_on(struct place *p, const struct pv_fs *fs,
                             const struct pv_secrets *given, bool blind)
{
    strcpy(p->why, "");
    enum pv_err err = pv_setup_create(p->path, given, blind, fs, &p->env.env, p->why);
    cr_assert_eq(strlen(p->why) == 0, err == PV_OK, "%s: %s", pv_err_name(err), p->why);
    return err;
}

static enum pv_err create(struct place *p, const struct pv_secrets *given, bool blind)
{
    return create_on(p, pv_fs_real(), given, blind);
}

static enum pv_err open_with(struct place *p, const struct pv_secrets *given, struct pv_setup *out)
{
    strcpy(p->why, "");
    enum pv_err err = pv_setup_open(out, p->path, given, pv_fs_real(), &p->env.env, p->why);
    cr_assert_eq(strlen(p->why) == 0, err == PV_OK, "%s: %s", pv_err_name(err), p->why);
    return err;
}

static bool says(const struct place *p, const char *words)
{
    return strstr(p->why, words) != NULL;
}

static void write_file(struct place *p, const char *name, const char *text, mode_t mode)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", p->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void remove_file(struct place *p, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", p->path, name);
    cr_assert_eq(unlink(path), 0);
}

Test(setup, fresh_secrets)
{
    struct place *p = place_new();
    struct pv_setup s;
    size_t fds = pvt_open_fds();
    cr_assert_eq(open_with(p, &none, &s), PV_E_NOT_FOUND);
    cr_assert(says(p, "peervault init"));
    cr_assert_eq(create(p, &none, false), PV_OK);
    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    cr_assert_eq(s.keyring.key_count, 1);
    cr_assert_eq(s.keyring.token_count, 1);
    cr_assert_not_null(pv_keyring_active(&s.keyring));
    pv_setup_close(&s);
    cr_assert_eq(create(p, &none, false), PV_E_EXISTS);
    cr_assert(says(p, "already"));
    cr_assert_eq(pvt_open_fds(), fds);
    place_free(p);
}

Test(setup, given_secrets)
{
    struct place *p = place_new();
    struct pv_setup s;
    struct pv_secrets given = {.token = TOKEN, .cluster_key = KEY}, other = given;
    uint8_t key[PV_KEY_LEN];
    cr_assert_eq(create(p, &given, false), PV_OK);
    cr_assert_eq(open_with(p, &given, &s), PV_OK);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    cr_assert_arr_eq(pv_keyring_active(&s.keyring)->cluster_key, key, sizeof key);
    cr_assert_str_eq(s.keyring.tokens[0].text, TOKEN);
    pv_setup_close(&s);

    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    pv_setup_close(&s);
    other.token = "another token that nobody would guess";
    cr_assert_eq(open_with(p, &other, &s), PV_E_INVALID);
    cr_assert(says(p, "PEERVAULT_AUTH_TOKEN is none of"));
    other = (struct pv_secrets){.cluster_key = OTHER_KEY};
    cr_assert_eq(open_with(p, &other, &s), PV_E_INVALID);
    cr_assert(says(p, "PEERVAULT_CLUSTER_KEY differs"));
    other.cluster_key = "not hex";
    cr_assert_eq(open_with(p, &other, &s), PV_E_INVALID);
    cr_assert(says(p, "malformed cluster key"));
    place_free(p);
}

Test(setup, secrets_that_are_refused)
{
    struct pv_secrets bad[] = {
        {.cluster_key = ""},
        {.cluster_key = "00"},
        {.cluster_key = KEY "0"},
        {.cluster_key = "x00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
        {.cluster_key = "1111111111111111111111111111111111111111111111111111111111111111"},
        {.token = ""},
        {.token = "line\nbreak in a token"},
        {.token = KEY, .cluster_key = KEY},
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        struct place *p = place_new();
        struct pv_setup s;
        cr_assert_eq(create(p, &bad[i], false), PV_E_INVALID, "case %zu", i);
        cr_assert_eq(open_with(p, &none, &s), PV_E_NOT_FOUND, "case %zu", i);
        place_free(p);
    }
}

Test(setup, a_blind_node)
{
    struct place *p = place_new();
    struct pv_setup s;
    struct pv_secrets given = {.token = TOKEN, .cluster_key = KEY};
    cr_assert_eq(create(p, &none, true), PV_E_INVALID);
    cr_assert(says(p, "needs the cluster's token"));
    cr_assert_eq(create(p, &given, true), PV_E_INVALID);
    cr_assert(says(p, "must not have the cluster key"));
    given.cluster_key = NULL;
    cr_assert_eq(create(p, &given, true), PV_OK);
    cr_assert_eq(open_with(p, &given, &s), PV_OK);
    cr_assert_eq(s.keyring.key_count, 0);
    cr_assert_null(pv_keyring_active(&s.keyring));
    pv_setup_close(&s);
    given.cluster_key = KEY;
    cr_assert_eq(open_with(p, &given, &s), PV_E_INVALID);
    place_free(p);
}

/* ---- folders that are not whole ---- */

/* Whatever call fails: what is left is finished by the next creation. */
Test(setup, creation_cut_short_anywhere, .timeout = 300) /* dozens of vaults, all synced */
{
    static const enum pvt_fs_call calls[] = {PVT_FS_OPEN, PVT_FS_WRITE,  PVT_FS_STAT, PVT_FS_SYNC,
                                             PVT_FS_LOCK, PVT_FS_RENAME, PVT_FS_MKDIR};
    struct pv_secrets given = {.token = TOKEN, .cluster_key = KEY};
    unsigned cut = 0;
    for (size_t i = 0; i < PV_COUNT(calls); i++) {
        bool fired = true;
        for (uint64_t k = 1; fired && k < 30; k++) {
            struct place *p = place_new();
            struct pvt_faultfs faults;
            struct pv_setup s;
            pvt_faultfs_init(&faults, pv_fs_real());
            pvt_faultfs_fail(&faults, calls[i], k, PV_E_IO);
            enum pv_err err = create_on(p, &faults.fs, &given, false);
            fired = faults.fired;
            cut += err != PV_OK;
            enum pv_err again = create(p, &given, false);
            cr_assert(again == PV_OK || again == PV_E_EXISTS, "%s", p->why);
            cr_assert_eq(open_with(p, &given, &s), PV_OK);
            pv_setup_close(&s);
            pvt_faultfs_release(&faults);
            place_free(p);
        }
    }
    cr_assert_gt(cut, 10);
}

static enum pv_err no_stat(void *ctx, pv_fd dir, const char *path, struct pv_fs_stat *out)
{
    (void)ctx, (void)dir, (void)path, (void)out;
    return PV_E_IO;
}

/* A keyring that cannot be looked at is not replaced. */
Test(setup, an_error_does_not_mean_that_there_is_none)
{
    struct place *p = place_new();
    struct pv_setup s;
    struct pv_fs fs = *pv_fs_real();
    struct pv_secrets given = {.token = TOKEN, .cluster_key = KEY};
    cr_assert_eq(create(p, &given, false), PV_OK);
    fs.stat_at = no_stat;
    cr_assert_eq(create_on(p, &fs, &none, false), PV_E_IO);
    cr_assert_eq(open_with(p, &given, &s), PV_OK);
    pv_setup_close(&s);
    place_free(p);
}

Test(setup, an_identity_left_behind_is_kept)
{
    struct place *p = place_new();
    struct pv_setup s;
    cr_assert_eq(create(p, &none, false), PV_OK);
    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    struct pv_id before = s.identity.node_id;
    pv_setup_close(&s);
    remove_file(p, "keyring");
    cr_assert_eq(open_with(p, &none, &s), PV_E_NOT_FOUND);
    cr_assert_eq(create(p, &none, false), PV_OK);
    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    cr_assert(pv_id_equal(&s.identity.node_id, &before));
    pv_setup_close(&s);
    place_free(p);
}

/* What a backup of the secrets holds is a vault, to be filled by its peers. */
Test(setup, secrets_without_folders)
{
    struct place *p = place_new();
    struct pv_setup s;
    char command[1000];
    size_t fds = pvt_open_fds();
    cr_assert_eq(create(p, &none, false), PV_OK);
    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    struct pv_id before = s.identity.node_id;
    pv_setup_close(&s);
    for (int i = 0; i < 2; i++) { /* all of the folders, then one of them */
        snprintf(command, sizeof command, "cd '%s' && rm -rf %s", p->path, i == 0 ? "*/" : "blobs");
        cr_assert_eq(system(command), 0);
        cr_assert_eq(open_with(p, &none, &s), PV_OK);
        cr_assert(pv_id_equal(&s.identity.node_id, &before));
        pv_setup_close(&s);
    }
    snprintf(command, sizeof command, "cd '%s' && rm -rf */ identity", p->path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(open_with(p, &none, &s), PV_E_CORRUPT);
    cr_assert(says(p, "identity is missing"));
    cr_assert_eq(pvt_open_fds(), fds);
    place_free(p);
}

/* Fresh secrets would never open what is in there. */
Test(setup, files_without_a_keyring_are_not_built_over)
{
    struct place *p = place_new();
    cr_assert_eq(create(p, &none, false), PV_OK);
    remove_file(p, "keyring");
    write_file(p, "vault.db", "anything", 0600);
    cr_assert_eq(create(p, &none, false), PV_E_CORRUPT);
    cr_assert(says(p, "its keyring is missing"));
    place_free(p);
}

Test(setup, damaged_or_exposed_files)
{
    struct place *p = place_new();
    struct pv_setup s;
    size_t fds = pvt_open_fds();
    cr_assert_eq(create(p, &none, false), PV_OK);
    remove_file(p, "identity");
    cr_assert_eq(open_with(p, &none, &s), PV_E_CORRUPT);
    cr_assert(says(p, "identity is missing"));
    cr_assert_eq(create(p, &none, false), PV_E_EXISTS);
    write_file(p, "identity", "nonsense", 0600);
    cr_assert_eq(open_with(p, &none, &s), PV_E_CORRUPT);
    write_file(p, "identity", "nonsense", 0644);
    cr_assert_eq(open_with(p, &none, &s), PV_E_AUTH);
    cr_assert(says(p, "identity may be read by others"));
    write_file(p, "keyring", "peervault-keyring 1\nnonsense\n", 0600);
    cr_assert_eq(open_with(p, &none, &s), PV_E_CORRUPT);
    cr_assert(says(p, "line 2"));
    write_file(p, "keyring", "peervault-keyring 1\n", 0640);
    cr_assert_eq(open_with(p, &none, &s), PV_E_AUTH);
    cr_assert(says(p, "chmod 600"));
    cr_assert_eq(pvt_open_fds(), fds);
    place_free(p);
}

Test(setup, a_folder_that_cannot_be_made)
{
    struct place *p = place_new();
    snprintf(p->path, sizeof p->path, "/proc/no/such/place");
    cr_assert_neq(create(p, &none, false), PV_OK);
    place_free(p);
}

/* Not "not found": that would send somebody looking for what is there. */
Test(setup, a_file_in_the_way)
{
    static const char *const paths[] = {"file", "file/", "file/vault", "file/some/vault", "link"};
    struct place *p = place_new();
    struct pv_setup s;
    char in_the_way[300];
    size_t fds = pvt_open_fds();
    snprintf(in_the_way, sizeof in_the_way, "%s/link", p->dir.path);
    cr_assert_eq(symlink("nothing", in_the_way), 0);
    snprintf(in_the_way, sizeof in_the_way, "%s/file", p->dir.path);
    close(open(in_the_way, O_WRONLY | O_CREAT, 0600));
    for (size_t i = 0; i < PV_COUNT(paths); i++) {
        snprintf(p->path, sizeof p->path, "%s/%s", p->dir.path, paths[i]);
        cr_assert_eq(open_with(p, &none, &s), PV_E_IO, "%s", paths[i]);
        cr_assert(says(p, "is not a folder: "), "%s: %s", paths[i], p->why);
        cr_assert_eq(create(p, &none, false), PV_E_IO, "%s", paths[i]);
        cr_assert(says(p, "is not a folder: "), "%s: %s", paths[i], p->why);
    }
    snprintf(p->path, sizeof p->path, "%s/no/vault", p->dir.path);
    cr_assert_eq(open_with(p, &none, &s), PV_E_NOT_FOUND);
    cr_assert_eq(pvt_open_fds(), fds);
    place_free(p);
}

Test(setup, out_of_memory_anywhere)
{
    for (uint64_t k = 0;; k++) {
        struct place *p = place_new();
        struct pv_setup s;
        size_t fds = pvt_open_fds();
        pv_mem_fail_after(k);
        enum pv_err err = create(p, &none, false);
        pv_mem_fail_after(UINT64_MAX);
        if (err != PV_OK && (err = create(p, &none, false)) == PV_E_EXISTS)
            err = PV_OK;
        cr_assert_eq(err, PV_OK);
        pv_mem_fail_after(k);
        err = open_with(p, &none, &s);
        pv_mem_fail_after(UINT64_MAX);
        if (err == PV_OK)
            pv_setup_close(&s);
        cr_assert_eq(pvt_open_fds(), fds);
        place_free(p);
        if (k > 30)
            break;
    }
}

/* ---- the lock ---- */

/* Another process that holds the lock of the vault, or of its folder, until its input ends. */
struct holder {
    pid_t pid;
    int pipe[2];
};

static struct holder hold_lock(struct place *p)
{
    struct holder h;
    int ready[2];
    char byte = 0;
    cr_assert_eq(pipe(h.pipe), 0);
    cr_assert_eq(pipe(ready), 0);
    h.pid = fork();
    if (h.pid == 0) {
        struct pv_vault v;
        long pid;
        close(h.pipe[1]);
        if (pv_vault_open(&v, p->path, pv_fs_real()) != PV_OK || pv_vault_lock(&v, &pid) != PV_OK)
            _exit(1);
        if (write(ready[1], "x", 1) == 1)
            (void)!read(h.pipe[0], &byte, 1);
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    close(h.pipe[0]);
    return h;
}

static void let_go(struct holder *h)
{
    int status;
    close(h->pipe[1]);
    cr_assert_eq(waitpid(h->pid, &status, 0), h->pid);
    cr_assert_eq(status, 0);
}

Test(setup, the_lock_is_busy)
{
    struct place *p = place_new();
    struct pv_setup s;
    long pid = 0;
    cr_assert_eq(create(p, &none, false), PV_OK);
    struct holder h = hold_lock(p);
    cr_assert_eq(open_with(p, &none, &s), PV_OK, "opening takes no lock");
    cr_assert_eq(pv_setup_lock(&s, 0, &p->env.env, &pid), PV_E_BUSY);
    cr_assert_eq(pid, h.pid);
    cr_assert_eq(create(p, &none, false), PV_E_EXISTS, "that is known without the lock");
    let_go(&h);
    cr_assert_eq(pv_setup_lock(&s, 0, &p->env.env, &pid), PV_OK);
    pv_setup_close(&s);
    place_free(p);
}

/* A clock that goes on by itself, so that a wait ends. */
static uint64_t running_clock(void *ctx)
{
    struct pvt_env *e = ctx;
    return e->mono_ms += 5000;
}

Test(setup, another_process_is_making_the_vault)
{
    struct place *p = place_new();
    struct pv_setup s;
    cr_assert_eq(create(p, &none, false), PV_OK);
    remove_file(p, "keyring");
    struct holder h = hold_lock(p);
    p->env.env.mono_ms = running_clock;
    cr_assert_eq(create(p, &none, false), PV_E_BUSY);
    let_go(&h);
    cr_assert_eq(create(p, &none, false), PV_OK);
    cr_assert_eq(open_with(p, &none, &s), PV_OK);
    h = hold_lock(p);
    long pid = 0;
    cr_assert_eq(pv_setup_lock(&s, 12000, &p->env.env, &pid), PV_E_BUSY);
    cr_assert_eq(pid, h.pid);
    let_go(&h);
    pv_setup_close(&s);
    place_free(p);
}
