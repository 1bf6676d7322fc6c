/*
 * The temporary file is always created new: a left-over from a crash, or a link that somebody put
 * in its place, is removed first, so that the mode is 0600 from the first byte on.
 */
#include "crypto/secret_file.h"

enum pv_err pv_secret_file_read(const struct pv_fs *fs, pv_fd dir, const char *name, void *dst,
                                size_t dst_cap, size_t *len)
{
    struct pv_fs_stat st;
    pv_fd fd = PV_FD_NONE;
    enum pv_err err = fs->open(fs->ctx, dir, name, PV_FS_READ, &fd);
    if (err != PV_OK)
        return err;
    err = fs->stat(fs->ctx, fd, &st);
    if (err != PV_OK)
        goto out;
    if (!st.is_regular || st.size_bytes > dst_cap)
        err = PV_E_CORRUPT;
    else if ((st.mode & 077) != 0)
        err = PV_E_AUTH;
    else
        err = fs->read(fs->ctx, fd, dst, (size_t)st.size_bytes, 0, len);
    if (err == PV_OK && *len != st.size_bytes)
        err = PV_E_CORRUPT;
out:
    (void)fs->close(fs->ctx, fd); /* only read from: nothing can be lost */
    return err;
}

enum pv_err pv_secret_file_write(const struct pv_fs *fs, pv_fd dir, const char *name,
                                 const char *tmp_name, const void *src, size_t len)
{
    pv_fd fd = PV_FD_NONE;
    enum pv_err err = fs->unlink(fs->ctx, dir, tmp_name);
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return err;
    err = fs->open(fs->ctx, dir, tmp_name, PV_FS_WRITE | PV_FS_CREATE | PV_FS_EXCLUSIVE, &fd);
    if (err != PV_OK)
        return err;
    err = fs->write(fs->ctx, fd, src, len, 0);
    if (err == PV_OK)
        err = fs->sync(fs->ctx, fd);
    enum pv_err close_err = fs->close(fs->ctx, fd);
    if (err == PV_OK)
        err = close_err;
    if (err == PV_OK)
        err = fs->rename(fs->ctx, dir, tmp_name, dir, name);
    if (err != PV_OK) {
        (void)fs->unlink(fs->ctx, dir, tmp_name); /* best effort: the next write removes it */
        return err;
    }
    return fs->sync(fs->ctx, dir);
}
