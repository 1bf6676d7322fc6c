/*
 * What unit tests share: a folder that goes away, a clock that is set by hand with seeded random
 * bytes, and a log that is read back. Depends on internal/base only. Failures abort the test.
 */
#ifndef PV_TESTS_SUPPORT_H
#define PV_TESTS_SUPPORT_H

#include "internal/base/env.h"
#include "internal/base/fs.h"
#include "internal/base/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pvt_tmpdir {
    char path[256];
    pv_fd fd;
};

void pvt_tmpdir_init(struct pvt_tmpdir *d);
void pvt_tmpdir_release(struct pvt_tmpdir *d); /* closes fd and removes the folder with contents */

/* Embedded, so that &e.env can be handed out. The clocks move only when a test moves them. */
struct pvt_env {
    struct pv_env env;
    uint64_t wall_ms, mono_ms;
    uint64_t random_state;
};

void pvt_env_init(struct pvt_env *e, uint64_t seed, struct pv_log *log);
void pvt_env_advance(struct pvt_env *e, uint64_t ms); /* both clocks */

/* Keeps the first 64 KiB that are logged, at debug level for every subsystem. */
struct pvt_log {
    struct pv_log *log;
    size_t len, lines;
    char text[65536];
};

void pvt_log_init(struct pvt_log *l, bool json);
void pvt_log_release(struct pvt_log *l);
void pvt_log_clear(struct pvt_log *l);
bool pvt_log_has(const struct pvt_log *l, const char *part);

/* Open descriptors of this process: equal before and after means that none leaked. */
size_t pvt_open_fds(void);

#endif
