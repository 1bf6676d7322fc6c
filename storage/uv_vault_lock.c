/* The vault's lock. Apart from the rest of vault.h because it needs to know its own process. */
#include "storage/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static long read_pid(const struct pv_fs *fs, pv_fd fd)
{
    char text[24] = "";
    size_t got = 0;
    if (fs->read(fs->ctx, fd, text, sizeof text - 1, 0, &got) != PV_OK)
        return 0;
    char *end;
    long pid = strtol(text, &end, 10);
    return end != text && *end == '\n' && pid > 0 ? pid : 0;
}

enum pv_err pv_vault_lock(struct pv_vault *v, long *holder_pid)
{
    const struct pv_fs *fs = v->fs;
    pv_fd fd;
    PV_ASSERT(v->lock == PV_FD_NONE);
    enum pv_err err = fs->open(fs->ctx, v->dir, "lock", PV_FS_WRITE | PV_FS_CREATE, &fd);
    if (err != PV_OK)
        return err;
    err = fs->lock(fs->ctx, fd);
    if (err == PV_E_BUSY)
        *holder_pid = read_pid(fs, fd);
    if (err == PV_OK)
        err = fs->truncate(fs->ctx, fd, 0);
    if (err == PV_OK) {
        char text[24];
        int len = snprintf(text, sizeof text, "%ld\n", (long)uv_os_getpid());
        err = fs->write(fs->ctx, fd, text, (size_t)len, 0);
        if (err == PV_E_NOSPACE) /* the lock is ours; the pid is for whoever waits for it */
            err = PV_OK;
    }
    if (err != PV_OK) {
        (void)fs->close(fs->ctx, fd);
        return err;
    }
    v->lock = fd;
    return PV_OK;
}
