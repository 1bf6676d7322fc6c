/*
 * Each secret is taken from a flag (already in out), its variable, or the file its variable names,
 * then checked; the token is checked last, because it must differ from the cluster key. The copy
 * that a file is read into is wiped by whoever gave it.
 */
#include "internal/config_secrets.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

#define CLUSTER_KEY "PEERVAULT_CLUSTER_KEY"
#define AUTH_TOKEN "PEERVAULT_AUTH_TOKEN"

enum { MODE_READ_OTHERS = 044, PATH_SHOWN_MAX = 200 };

void pv_config_secrets_wipe(struct pv_config_secrets *s)
{
    pv_wipe(s, sizeof *s);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Cuts white space off both ends. false: nothing or more than a line is left. */
static bool trim_to_line(char *text, size_t len)
{
    size_t start = 0;
    while (len > 0 && is_space(text[len - 1]))
        len--;
    while (start < len && is_space(text[start]))
        start++;
    len -= start;
    memmove(text, text + start, len);
    text[len] = '\0';
    return len > 0 && strlen(text) == len && strpbrk(text, "\r\n") == NULL;
}

static enum pv_err read_secret(const struct pv_fs *fs, pv_fd fd, char *dst, size_t dst_cap,
                               bool *exposed)
{
    /* Room for the white space around it. */
    char text[PV_TOKEN_LEN_MAX + 256];
    struct pv_fs_stat st;
    size_t len = 0;
    enum pv_err err = fs->stat(fs->ctx, fd, &st);
    if (err == PV_OK && !st.is_regular)
        err = PV_E_INVALID;
    if (err == PV_OK)
        err = fs->read(fs->ctx, fd, text, sizeof text, 0, &len);
    if (err == PV_OK && (len == sizeof text || !trim_to_line(text, len) || strlen(text) >= dst_cap))
        err = PV_E_INVALID;
    if (err == PV_OK) {
        memcpy(dst, text, strlen(text) + 1);
        *exposed = (st.mode & MODE_READ_OTHERS) != 0;
    }
    pv_wipe(text, sizeof text);
    return err;
}

enum pv_err pv_config_secret_file(const struct pv_fs *fs, const char *path, char *dst,
                                  size_t dst_cap, bool *exposed)
{
    pv_fd fd = PV_FD_NONE;
    enum pv_err err = fs->open(fs->ctx, PV_FD_NONE, path, PV_FS_READ | PV_FS_FOLLOW, &fd);
    if (err != PV_OK)
        return err;
    err = read_secret(fs, fd, dst, dst_cap, exposed);
    enum pv_err close_err = fs->close(fs->ctx, fd);
    return err != PV_OK ? err : close_err;
}

struct loading {
    const struct pv_config_source *source;
    pv_config_warn warn;
    void *warn_ctx;
    char *why;
};

static const char *environment(const struct loading *l, const char *name)
{
    const char *text = l->source->getenv(l->source->ctx, name);
    return text != NULL && *text != '\0' ? text : NULL;
}

static void warn(const struct loading *l, const char *text)
{
    if (l->warn != NULL)
        l->warn(l->warn_ctx, text);
}

static enum pv_err from_file(const struct loading *l, const char *variable, const char *path,
                             char *dst, size_t dst_cap)
{
    char text[PV_CONFIG_WHY_MAX];
    bool exposed = false;
    enum pv_err err = pv_config_secret_file(l->source->fs, path, dst, dst_cap, &exposed);
    if (err != PV_OK) {
        snprintf(l->why, PV_CONFIG_WHY_MAX, "%s: %.*s: %s", variable, PATH_SHOWN_MAX, path,
                 err == PV_E_INVALID ? "must be a file with one line, the secret"
                                     : pv_err_text(err));
    } else if (exposed) {
        snprintf(text, sizeof text, "%s: %.*s: readable by others: chmod 600 it", variable,
                 PATH_SHOWN_MAX, path);
        warn(l, text);
    }
    return err;
}

/* One secret into dst, which stays as it is when it is given already or nowhere. */
static enum pv_err take(const struct loading *l, const char *variable, char *dst, size_t dst_cap)
{
    char file_variable[64];
    snprintf(file_variable, sizeof file_variable, "%s_FILE", variable);
    const char *text = environment(l, variable);
    if (*dst != '\0')
        return PV_OK;
    if (text != NULL && environment(l, file_variable) != NULL) {
        snprintf(l->why, PV_CONFIG_WHY_MAX, "%s and %s are both set: keep one", variable,
                 file_variable);
        return PV_E_INVALID;
    }
    if (text == NULL) {
        const char *path = environment(l, file_variable);
        return path != NULL ? from_file(l, file_variable, path, dst, dst_cap) : PV_OK;
    }
    if (strlen(text) >= dst_cap) {
        snprintf(l->why, PV_CONFIG_WHY_MAX, "%s: longer than %zu bytes", variable, dst_cap - 1);
        return PV_E_INVALID;
    }
    memcpy(dst, text, strlen(text) + 1);
    return PV_OK;
}

static enum pv_err fail(const struct loading *l, const char *what)
{
    snprintf(l->why, PV_CONFIG_WHY_MAX, "%s", what);
    return PV_E_INVALID;
}

static bool all_equal(const uint8_t *bytes, size_t len)
{
    return memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Writes the key's bytes for the comparison with the token. */
static enum pv_err check_cluster_key(const struct loading *l, const char *text,
                                     uint8_t key[static PV_KEY_LEN])
{
    if (pv_hex_decode(key, PV_KEY_LEN, text, strlen(text)) != PV_OK)
        return fail(l, "malformed cluster key: it must be 64 hex digits (`peervault key export` "
                       "prints it)");
    if (all_equal(key, PV_KEY_LEN))
        return fail(l, "weak cluster key: it must be 32 random bytes (openssl rand -hex 32)");
    return PV_OK;
}

static enum pv_err check_token(const struct loading *l, const char *text)
{
    bool weak = false;
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return fail(l, "malformed token: it contains a control character");
    if (pv_token_check(text, &weak) != PV_OK)
        return fail(l, "malformed token: mistyped? (`peervault key export` prints it)");
    if (weak)
        warn(l, "the token is short: whoever records a handshake can guess it; "
                "`peervault token new` makes a good one");
    return PV_OK;
}

enum pv_err pv_config_secrets_load(struct pv_config_secrets *out,
                                   const struct pv_config_source *source, pv_config_warn warn_fn,
                                   void *warn_ctx, char *why)
{
    const struct loading l = {source, warn_fn, warn_ctx, why};
    uint8_t key[PV_KEY_LEN];
    enum pv_err err = take(&l, CLUSTER_KEY, out->cluster_key, sizeof out->cluster_key);
    if (err == PV_OK)
        err = take(&l, AUTH_TOKEN, out->token, sizeof out->token);
    if (err == PV_OK && *out->cluster_key != '\0')
        err = check_cluster_key(&l, out->cluster_key, key);
    if (err == PV_OK && *out->token != '\0')
        err = check_token(&l, out->token);
    if (err == PV_OK && *out->token != '\0' && *out->cluster_key != '\0' &&
        pv_token_is_key(out->token, key))
        err = fail(&l, "the token must not be the cluster key: it is known to more machines");
    if (err != PV_OK)
        pv_config_secrets_wipe(out);
    pv_wipe(key, sizeof key);
    return err;
}
