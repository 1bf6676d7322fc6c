/* A vault folder with a file of settings, and an environment made of pairs. */
#ifndef PV_TESTS_INTERNAL_CONFIG_FIXTURE_H
#define PV_TESTS_INTERNAL_CONFIG_FIXTURE_H

#include "internal/config.h"
#include "internal/base/mem.h"
#include "internal/config_file.h"
#include "internal/config_secrets.h"
#include "internal/config_value.h"
#include "internal/file/files.h"
#include "tests/support/faultfs.h"
#include "tests/support/support.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A vault folder, and an environment made of pairs. */
struct fixture {
    struct pvt_tmpdir dir;
    const char *env[32][2];
    size_t env_count;
    struct pv_config_source source;
    struct pv_config config;
    struct pv_config_secrets secrets;
    size_t warnings;
    char warning[PV_CONFIG_WHY_MAX], why[PV_CONFIG_WHY_MAX];
};

static inline const char *fake_getenv(void *ctx, const char *name)
{
    const struct fixture *f = ctx;
    for (size_t i = 0; i < f->env_count; i++)
        if (strcmp(f->env[i][0], name) == 0)
            return f->env[i][1];
    return NULL;
}

static inline struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    cr_assert_not_null(f);
    pvt_tmpdir_init(&f->dir);
    f->source = (struct pv_config_source){fake_getenv, f, pv_fs_real(), f->dir.fd};
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    pvt_tmpdir_release(&f->dir);
    free(f);
}

static inline void set_env(struct fixture *f, const char *name, const char *value)
{
    cr_assert_lt(f->env_count, PV_COUNT(f->env));
    f->env[f->env_count][0] = name;
    f->env[f->env_count++][1] = value;
}

/* The path is valid until the next call. */
static inline const char *write_bytes(struct fixture *f, const char *name, const void *data,
                                      size_t len)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", f->dir.path, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);
    return path;
}

static inline void write_conf(struct fixture *f, const char *text)
{
    write_bytes(f, PV_CONFIG_FILE_NAME, text, strlen(text));
}

static inline enum pv_err load(struct fixture *f)
{
    return pv_config_load(&f->config, &f->source, NULL, 0, f->why);
}

static inline void assert_loads(struct fixture *f)
{
    enum pv_err err = load(f);
    cr_assert_eq(err, PV_OK, "%s", f->why);
}

static inline bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static inline void assert_one_line(const char *why, const char *part)
{
    size_t len = strlen(why);
    cr_assert(len > 0 && len < PV_CONFIG_WHY_MAX - 1);
    cr_assert(has(why, part), "\"%s\" does not say \"%s\"", why, part);
    for (size_t i = 0; i < len; i++)
        cr_assert(why[i] >= 0x20 && why[i] < 0x7f, "byte %02x", (unsigned)(uint8_t)why[i]);
}

static inline void assert_conf_fails(const char *conf, const char *part)
{
    struct fixture *f = fixture_new();
    struct pv_config before;
    write_conf(f, conf);
    memset(&f->config, 0x5a, sizeof f->config);
    memcpy(&before, &f->config, sizeof before);
    cr_assert_eq(load(f), PV_E_INVALID, "accepted: %s", conf);
    assert_one_line(f->why, part);
    cr_assert_arr_eq((char *)&f->config, (char *)&before, sizeof before, "partly written");
    fixture_free(f);
}

static inline void assert_shows(const struct pv_config *c, enum pv_config_key key,
                                const char *expected)
{
    struct pv_buf out;
    pv_buf_init(&out, PV_CONFIG_SHOW_MAX);
    cr_assert_eq(pv_config_show(c, key, &out), PV_OK);
    cr_assert_eq(pv_buf_append(&out, "", 1), PV_OK);
    cr_assert_str_eq((const char *)out.data, expected);
    pv_buf_release(&out);
}

#endif
