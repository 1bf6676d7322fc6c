/*
 * A vault is complete when its keyring is there: create writes folder, identity, keyring in that
 * order, so that a crash in between leaves something that create finishes and open refuses.
 */
#include "internal/setup.h"

#include "internal/base/mem.h"

#include <poll.h>
#include <stdio.h>

#define KEYRING_MISSING                                                                          \
    "%.200s has files, but its keyring is missing: put the keyring back from a backup, or make " \
    "it "                                                                                        \
    "anew from both secrets with `peervault key import`"
#define SAY(why, ...) ((void)snprintf(why, PV_SETUP_TEXT_MAX, __VA_ARGS__))

static enum pv_err parse_cluster_key(uint8_t key[static PV_KEY_LEN], const char *text, char *why)
{
    if (pv_hex_decode(key, PV_KEY_LEN, text, strlen(text)) == PV_OK)
        return PV_OK;
    SAY(why, "malformed cluster key: it must be 64 hex digits (see `peervault key export`)");
    return PV_E_INVALID;
}

/* Puts secrets into an empty keyring. */
static enum pv_err fill_keyring(struct pv_keyring *k, const struct pv_secrets *given, bool blind,
                                const struct pv_env *env, char *why)
{
    uint8_t key[PV_KEY_LEN];
    char token[PV_TOKEN_TEXT_LEN + 1];
    uint64_t now_s = pv_env_wall_s(env);
    enum pv_err err = PV_OK;

    if (blind && given->cluster_key != NULL) {
        SAY(why, "a blind node must not have the cluster key: unset PEERVAULT_CLUSTER_KEY");
        return PV_E_INVALID;
    }
    if (!blind) {
        if (given->cluster_key == NULL)
            pv_env_random(env, key, sizeof key);
        else
            err = parse_cluster_key(key, given->cluster_key, why);
        if (err == PV_OK && (err = pv_keyring_add_cluster_key(k, key, now_s)) != PV_OK)
            SAY(why, "the cluster key was refused: all its bytes are equal");
    }
    if (err == PV_OK && given->token == NULL && blind) {
        SAY(why, "a blind node needs the cluster's token: set PEERVAULT_AUTH_TOKEN");
        err = PV_E_INVALID;
    }
    if (err == PV_OK) {
        const char *text = given->token;
        if (text == NULL) {
            pv_token_generate(token, env);
            text = token;
        }
        /* When a given one was made is not known; a newer one may be on its way. */
        err = pv_keyring_add_token(k, text, given->token == NULL ? now_s : 0);
        if (err != PV_OK)
            SAY(why, "malformed token: it is empty, mistyped, or equal to the cluster key");
    }
    pv_wipe(key, sizeof key);
    pv_wipe(token, sizeof token);
    return err;
}

/* EXISTS, or OK: it is not there. */
static enum pv_err absent(const struct pv_vault *v, const char *name)
{
    struct pv_fs_stat st;
    enum pv_err err = v->fs->stat_at(v->fs->ctx, v->dir, name, &st);
    return err == PV_OK ? PV_E_EXISTS : err == PV_E_NOT_FOUND ? PV_OK : err;
}

/* Until the lock is ours, or a keyring says that another process was quicker. */
static enum pv_err lock_or_exists(struct pv_vault *v, bool all_given, const struct pv_env *env)
{
    uint64_t until = pv_env_mono_ms(env) + PV_SETUP_CREATE_WAIT_MS;
    long pid = 0;
    for (;;) {
        enum pv_err locked = pv_vault_lock(v, &pid);
        if (locked != PV_E_BUSY && locked != PV_OK)
            return locked;
        enum pv_err err = absent(v, "keyring");
        if (err != PV_OK)
            return err;
        if (locked == PV_OK) { /* fresh secrets would never open what is in there */
            err = all_given ? PV_OK : absent(v, "vault.db");
            return err == PV_E_EXISTS ? PV_E_CORRUPT : err;
        }
        if (pv_env_mono_ms(env) >= until)
            return PV_E_BUSY;
        (void)poll(NULL, 0, 20); /* its holder makes the vault, or is done with it */
    }
}

/*
 * The length of that beginning of path which is there and is no folder, else 0. An attempt to open
 * a folder says of both, nothing and a file in the way, that it is not found.
 */
static size_t file_in_the_way(const char *path, const struct pv_fs *fs)
{
    PV_AUTO_FREE char *part = pv_strdup(path);
    struct pv_fs_stat st;
    pv_fd fd;
    if (part == NULL)
        return 0;
    while (fs->stat_at(fs->ctx, PV_FD_NONE, part, &st) == PV_E_NOT_FOUND) {
        char *slash = strrchr(part, '/');
        if (slash == NULL || slash == part)
            return 0;
        *slash = '\0';
    }
    enum pv_err err =
        fs->open(fs->ctx, PV_FD_NONE, part, PV_FS_READ | PV_FS_DIRECTORY | PV_FS_FOLLOW, &fd);
    if (err == PV_OK)
        (void)fs->close(fs->ctx, fd); /* was only looked at */
    return err == PV_E_NOT_FOUND ? strlen(part) : 0;
}

/* The same for what a vault is made of. */
static const char *no_sub_folder(const char *path, const struct pv_fs *fs)
{
    static const char *const names[] = {"blobs", "tmp", "quarantine"};
    for (size_t i = 0; i < PV_COUNT(names); i++) {
        PV_AUTO_FREE char *part = pv_asprintf("%s/%s", path, names[i]);
        struct pv_fs_stat st;
        if (part != NULL && fs->stat_at(fs->ctx, PV_FD_NONE, part, &st) == PV_OK &&
            !st.is_directory)
            return names[i];
    }
    return NULL;
}

/* What NOT_FOUND means for a vault's path: IO with a line, when a file is in the way. */
static enum pv_err explain_not_found(const char *path, const struct pv_fs *fs, char *why)
{
    size_t len = file_in_the_way(path, fs);
    const char *name = len == 0 ? no_sub_folder(path, fs) : NULL;
    if (name != NULL) {
        SAY(why, "%.300s/%s is no folder (a link to one is not followed): put the folder back",
            path, name);
        return PV_E_IO;
    }
    if (len == 0)
        return PV_E_NOT_FOUND;
    SAY(why, "%.*s is not a folder: move it away, or name another folder with --vault",
        len > 300 ? 300 : (int)len, path);
    return PV_E_IO;
}

static void say_not_made(const char *path, const struct pv_fs *fs, enum pv_err *err, char *why)
{
    if (*err == PV_E_NOT_FOUND && explain_not_found(path, fs, why) == PV_E_IO)
        *err = PV_E_IO;
    else if (*err == PV_E_EXISTS)
        SAY(why, "there is a vault already: %.300s", path);
    else if (*err == PV_E_CORRUPT)
        SAY(why, KEYRING_MISSING, path);
    else
        SAY(why, "cannot make the vault %.300s: %s", path, pv_err_text(*err));
    *err = *err == PV_E_NOT_FOUND ? PV_E_IO : *err; /* NOT_FOUND is for who looks for a vault */
}

static void say_not_written(const char *path, enum pv_err err, char *why)
{
    SAY(why, "cannot write the identity or the keyring in %.300s: %s", path, pv_err_text(err));
}

/* all_given: the secrets may belong to what lies there. */
static enum pv_err begin(struct pv_setup *out, const char *path, bool all_given,
                         const struct pv_env *env, char *why)
{
    const struct pv_fs *fs = out->vault.fs;
    enum pv_err err = pv_vault_create(path, fs);
    if (err == PV_OK)
        err = pv_vault_open(&out->vault, path, fs);
    if (err == PV_OK)
        err = lock_or_exists(&out->vault, all_given, env);
    if (err != PV_OK) {
        say_not_made(path, fs, &err, why);
        return err;
    }
    err = pv_identity_create(&out->identity, fs, out->vault.dir, env);
    if (err == PV_E_EXISTS) /* left by a creation that was cut short */
        err = pv_identity_load(&out->identity, fs, out->vault.dir);
    if (err != PV_OK)
        say_not_written(path, err, why);
    return err;
}

static void clear(struct pv_setup *s, const struct pv_fs *fs)
{
    memset(s, 0, sizeof *s);
    s->vault = (struct pv_vault){.fs = fs, .dir = PV_FD_NONE, .lock = PV_FD_NONE};
}

enum pv_err pv_setup_begin(struct pv_setup *out, const char *path, const struct pv_fs *fs,
                           const struct pv_env *env, char *why)
{
    clear(out, fs);
    return begin(out, path, false, env, why);
}

enum pv_err pv_setup_complete(struct pv_setup *s, const char *path, char *why)
{
    enum pv_err err = pv_keyring_save(&s->keyring, s->vault.fs, s->vault.dir);
    if (err != PV_OK)
        say_not_written(path, err, why);
    return err;
}

enum pv_err pv_setup_create(const char *path, const struct pv_secrets *secrets, bool blind,
                            const struct pv_fs *fs, const struct pv_env *env, char *why)
{
    struct pv_setup *s = pv_malloc(sizeof *s);
    if (s == NULL) {
        SAY(why, "out of memory");
        return PV_E_NOMEM;
    }
    clear(s, fs);
    enum pv_err err = fill_keyring(&s->keyring, secrets, blind, env, why);
    if (err == PV_OK)
        err = begin(s, path, secrets->token != NULL && (blind || secrets->cluster_key != NULL), env,
                    why);
    if (err == PV_OK)
        err = pv_setup_complete(s, path, why);
    pv_setup_close(s);
    pv_free(s);
    return err;
}

/* What is wrong with the keyring or the identity, and what to do. */
static const char *secret_trouble(const struct pv_vault *v, const char *name, enum pv_err err)
{
    struct pv_fs_stat st = {.is_regular = true};
    if (err == PV_E_NOT_FOUND)
        return "is missing: put it back from a backup";
    if (v->fs->stat_at(v->fs->ctx, v->dir, name, &st) == PV_OK && !st.is_regular)
        return "is no file: put it back from a backup";
    if (err == PV_E_AUTH)
        return (st.mode & 077) != 0
                   ? "may be read by others: chmod 600 it, and think of new secrets"
                   : "may not be read by this user";
    return err == PV_E_CORRUPT ? "is damaged: put it back from a backup" : pv_err_text(err);
}

/* Given secrets must be the keyring's own: silently using another would split a cluster. */
static enum pv_err check_secrets(const struct pv_keyring *k, const struct pv_secrets *given,
                                 char *why)
{
    if (given->cluster_key != NULL) {
        uint8_t key[PV_KEY_LEN];
        bool same = false; /* as one of them: the active one may have been replaced since */
        enum pv_err err = parse_cluster_key(key, given->cluster_key, why);
        for (size_t i = 0; err == PV_OK && i < k->key_count; i++)
            same = pv_secret_equal(key, k->keys[i].keys.cluster_key, sizeof key) || same;
        pv_wipe(key, sizeof key);
        if (err != PV_OK)
            return err;
        if (!same) {
            SAY(why, "PEERVAULT_CLUSTER_KEY differs from this vault's keyring: unset it, or use "
                     "another vault");
            return PV_E_INVALID;
        }
    }
    bool known = given->token == NULL;
    for (size_t i = 0; !known && i < k->token_count; i++)
        known = strcmp(given->token, k->tokens[i].text) == 0;
    if (!known) {
        SAY(why,
            "PEERVAULT_AUTH_TOKEN is none of this vault's tokens, which may have been replaced "
            "since: unset it, or use another vault");
        return PV_E_INVALID;
    }
    return PV_OK;
}

/*
 * A vault of which only the secrets were put back: its folders are made anew, empty, and its peers
 * fill them. Whoever has a keyring has a vault.
 */
static enum pv_err open_folders(struct pv_vault *out, const char *path, const struct pv_fs *fs)
{
    enum pv_err err = pv_vault_open(out, path, fs);
    if (err != PV_E_NOT_FOUND)
        return err;
    PV_AUTO_FREE char *keyring = pv_asprintf("%s/keyring", path);
    struct pv_fs_stat st;
    if (keyring == NULL)
        return PV_E_NOMEM;
    if (fs->stat_at(fs->ctx, PV_FD_NONE, keyring, &st) != PV_OK)
        return err;
    err = pv_vault_create(path, fs);
    return err == PV_OK ? pv_vault_open(out, path, fs) : err;
}

enum pv_err pv_setup_open(struct pv_setup *out, const char *path, const struct pv_secrets *secrets,
                          const struct pv_fs *fs, const struct pv_env *env, char *why)
{
    (void)env;
    unsigned line = 0;
    clear(out, fs);
    enum pv_err err = open_folders(&out->vault, path, fs);
    bool is_open = err == PV_OK;
    if (is_open)
        err = pv_keyring_load(&out->keyring, fs, out->vault.dir, &line);
    if (is_open && err == PV_E_NOT_FOUND && absent(&out->vault, "vault.db") == PV_E_EXISTS) {
        SAY(why, KEYRING_MISSING, path);
        err = PV_E_CORRUPT;
    } else if (err == PV_E_NOT_FOUND && explain_not_found(path, fs, why) == PV_E_IO) {
        err = PV_E_IO;
    } else if (err == PV_E_NOT_FOUND) {
        SAY(why, "no vault at %s: make one with `peervault init`", path);
    } else if (err == PV_E_CORRUPT && line > 0) {
        SAY(why, "%.200s/keyring, line %u: malformed: put the keyring back from a backup", path,
            line);
    } else if (err != PV_OK && is_open) {
        SAY(why, "%.200s/keyring %s", path, secret_trouble(&out->vault, "keyring", err));
    } else if (err != PV_OK) {
        SAY(why, "cannot open the vault %s: %s", path, pv_err_text(err));
    } else if ((err = pv_identity_load(&out->identity, fs, out->vault.dir)) != PV_OK) {
        SAY(why, "%.200s/identity %s", path, secret_trouble(&out->vault, "identity", err));
        err = err == PV_E_NOT_FOUND ? PV_E_CORRUPT : err; /* there is a vault */
    } else {
        err = check_secrets(&out->keyring, secrets, why);
    }
    if (err != PV_OK)
        pv_setup_close(out);
    return err;
}

void pv_setup_close(struct pv_setup *s)
{
    pv_vault_close(&s->vault);
    pv_keyring_wipe(&s->keyring);
    pv_identity_wipe(&s->identity);
}

enum pv_err pv_setup_lock(struct pv_setup *s, uint64_t wait_ms, const struct pv_env *env, long *pid)
{
    uint64_t until = pv_env_mono_ms(env) + wait_ms;
    for (;;) {
        enum pv_err err = pv_vault_lock(&s->vault, pid);
        if (err != PV_E_BUSY || pv_env_mono_ms(env) >= until)
            return err;
        /* A file lock cannot be waited for with a deadline: look again in a moment. */
        (void)poll(NULL, 0, 50);
    }
}
