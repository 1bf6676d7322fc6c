/* Helpers for unit tests; see the header. */
#include "tests/support/support.h"
#include "internal/base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void pvt_tmpdir_init(struct pvt_tmpdir *d)
{
    const char *base = getenv("TMPDIR");
    int len = snprintf(d->path, sizeof d->path, "%s/pvt-XXXXXX", base != NULL ? base : "/tmp");
    PV_ASSERT(len > 0 && (size_t)len < sizeof d->path);
    char *made = mkdtemp(d->path);
    PV_ASSERT(made != NULL);
    enum pv_err err = pv_fs_real_open_root(d->path, &d->fd);
    PV_ASSERT(err == PV_OK);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void pvt_tmpdir_release(struct pvt_tmpdir *d)
{
    close(d->fd);
    int failed = nftw(d->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    PV_ASSERT(failed == 0);
}

static uint64_t env_wall_ms(void *ctx)
{
    return ((struct pvt_env *)ctx)->wall_ms;
}

static uint64_t env_mono_ms(void *ctx)
{
    return ((struct pvt_env *)ctx)->mono_ms;
}

/* splitmix64: small, seeded, and good enough to make bytes differ. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static void env_random(void *ctx, void *dst, size_t len)
{
    struct pvt_env *e = ctx;
    uint8_t *p = dst;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)next_random(&e->random_state);
}

void pvt_env_init(struct pvt_env *e, uint64_t seed, struct pv_log *log)
{
    *e = (struct pvt_env){
        .env = {e, env_wall_ms, env_mono_ms, env_random, log},
        .wall_ms = 1700000000000, /* a fixed day in 2023 */
        .mono_ms = 1000000,
        .random_state = seed,
    };
}

void pvt_env_advance(struct pvt_env *e, uint64_t ms)
{
    e->wall_ms += ms;
    e->mono_ms += ms;
}

static void keep_line(void *ctx, const char *line, size_t len)
{
    struct pvt_log *l = ctx;
    size_t room = sizeof l->text - 1 - l->len;
    len = len < room ? len : room;
    memcpy(l->text + l->len, line, len);
    l->len += len;
    l->text[l->len] = '\0';
    l->lines++;
}

void pvt_log_init(struct pvt_log *l, bool json)
{
    pvt_log_clear(l);
    enum pv_err err = pv_log_new(&l->log, keep_line, l, json);
    PV_ASSERT(err == PV_OK);
    err = pv_log_set_levels(l->log, "debug");
    PV_ASSERT(err == PV_OK);
}

void pvt_log_release(struct pvt_log *l)
{
    pv_log_free(l->log);
    l->log = NULL;
}

void pvt_log_clear(struct pvt_log *l)
{
    l->len = l->lines = 0;
    l->text[0] = '\0';
}

bool pvt_log_has(const struct pvt_log *l, const char *part)
{
    return strstr(l->text, part) != NULL;
}

size_t pvt_open_fds(void)
{
    size_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    PV_ASSERT(d != NULL);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}
