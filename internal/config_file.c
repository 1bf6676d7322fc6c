#include "internal/config_file.h"

#include "crypto/secret_file.h"
#include "internal/config.h"

#include <stdio.h>
#include <string.h>

static enum pv_err fail(enum pv_err err, const char *what, char *why)
{
    snprintf(why, PV_CONFIG_WHY_MAX, "%s: %s", PV_CONFIG_FILE_NAME, what);
    return err;
}

enum pv_err pv_config_file_read(struct pv_buf *out, const struct pv_fs *fs, pv_fd vault, char *why)
{
    struct pv_fs_stat st;
    pv_fd fd = PV_FD_NONE;
    size_t len = 0;
    enum pv_err err = pv_buf_reserve(out, PV_CONFIG_FILE_MAX + 1);
    if (err == PV_OK)
        err = fs->stat_at(fs->ctx, vault, PV_CONFIG_FILE_NAME, &st);
    if (err == PV_OK && !st.is_regular)
        return fail(PV_E_INVALID, "not a file", why);
    if (err == PV_OK)
        err = fs->open(fs->ctx, vault, PV_CONFIG_FILE_NAME, PV_FS_READ, &fd);
    if (err == PV_E_NOT_FOUND)
        return PV_OK;
    if (err == PV_OK)
        err = fs->read(fs->ctx, fd, out->data, PV_CONFIG_FILE_MAX + 1, 0, &len);
    if (fd != PV_FD_NONE)
        (void)fs->close(fs->ctx, fd); /* only read from: nothing can be lost */
    if (err != PV_OK)
        return fail(err, pv_err_text(err), why);
    if (len > PV_CONFIG_FILE_MAX)
        return fail(PV_E_INVALID, "larger than 64 KiB", why);
    out->len = len;
    return PV_OK;
}

enum pv_err pv_config_file_append(const char *lines, const struct pv_fs *fs, pv_fd vault, char *why)
{
    struct pv_buf text;
    pv_buf_init(&text, PV_CONFIG_FILE_MAX + 1);
    enum pv_err err = pv_config_file_read(&text, fs, vault, why);
    if (err != PV_OK)
        goto out;
    if (text.len > 0 && text.data[text.len - 1] != '\n')
        err = pv_buf_append(&text, "\n", 1);
    if (err == PV_OK)
        err = pv_buf_append(&text, lines, strlen(lines));
    if (err == PV_E_LIMIT || text.len > PV_CONFIG_FILE_MAX) {
        err = fail(PV_E_INVALID, "there would be more than 64 KiB in it", why);
        goto out;
    }
    if (err == PV_OK)
        err = pv_secret_file_write(fs, vault, PV_CONFIG_FILE_NAME, PV_CONFIG_FILE_NAME ".tmp",
                                   text.data, text.len);
    if (err != PV_OK)
        (void)fail(err, pv_err_text(err), why);
out:
    pv_buf_release(&text);
    return err;
}
