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

TestSuite(config, .timeout = 20);

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

static const char *fake_getenv(void *ctx, const char *name)
{
    const struct fixture *f = ctx;
    for (size_t i = 0; i < f->env_count; i++)
        if (strcmp(f->env[i][0], name) == 0)
            return f->env[i][1];
    return NULL;
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    cr_assert_not_null(f);
    pvt_tmpdir_init(&f->dir);
    f->source = (struct pv_config_source){fake_getenv, f, pv_fs_real(), f->dir.fd};
    return f;
}

static void fixture_free(struct fixture *f)
{
    pvt_tmpdir_release(&f->dir);
    free(f);
}

static void set_env(struct fixture *f, const char *name, const char *value)
{
    cr_assert_lt(f->env_count, PV_COUNT(f->env));
    f->env[f->env_count][0] = name;
    f->env[f->env_count++][1] = value;
}

/* The path is valid until the next call. */
static const char *write_bytes(struct fixture *f, const char *name, const void *data, size_t len)
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

static void write_conf(struct fixture *f, const char *text)
{
    write_bytes(f, PV_CONFIG_FILE_NAME, text, strlen(text));
}

static enum pv_err load(struct fixture *f)
{
    return pv_config_load(&f->config, &f->source, NULL, 0, f->why);
}

static void assert_loads(struct fixture *f)
{
    enum pv_err err = load(f);
    cr_assert_eq(err, PV_OK, "%s", f->why);
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void assert_one_line(const char *why, const char *part)
{
    size_t len = strlen(why);
    cr_assert(len > 0 && len < PV_CONFIG_WHY_MAX - 1);
    cr_assert(has(why, part), "\"%s\" does not say \"%s\"", why, part);
    for (size_t i = 0; i < len; i++)
        cr_assert(why[i] >= 0x20 && why[i] < 0x7f, "byte %02x", (unsigned)(uint8_t)why[i]);
}

static void assert_conf_fails(const char *conf, const char *part)
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

static void assert_shows(const struct pv_config *c, enum pv_config_key key, const char *expected)
{
    struct pv_buf out;
    pv_buf_init(&out, PV_CONFIG_SHOW_MAX);
    cr_assert_eq(pv_config_show(c, key, &out), PV_OK);
    cr_assert_eq(pv_buf_append(&out, "", 1), PV_OK);
    cr_assert_str_eq((const char *)out.data, expected);
    pv_buf_release(&out);
}

/* ---- defaults and the table ---- */

Test(config, defaults_are_the_documented_ones)
{
    static const char *const shown[PV_CONFIG_KEY_COUNT] = {[PV_CONFIG_LISTEN] = "127.0.0.1:3000",
                                                           [PV_CONFIG_PEERS] = "",
                                                           [PV_CONFIG_ADVERTISE] = "",
                                                           [PV_CONFIG_REPLICAS] = "3",
                                                           [PV_CONFIG_ROLE] = "keyed",
                                                           [PV_CONFIG_MEMBERSHIP] = "open",
                                                           [PV_CONFIG_REPAIR_AFTER] = "12h",
                                                           [PV_CONFIG_MAX_SKEW] = "5m",
                                                           [PV_CONFIG_GC_GRACE] = "7d",
                                                           [PV_CONFIG_MEM_LIMIT] = "64MiB",
                                                           [PV_CONFIG_DISK_LIMIT] = "0",
                                                           [PV_CONFIG_LIMIT_UP] = "0",
                                                           [PV_CONFIG_LIMIT_DOWN] = "0",
                                                           [PV_CONFIG_LIMIT_PEER_UP] = "0",
                                                           [PV_CONFIG_LIMIT_PEER_DOWN] = "0",
                                                           [PV_CONFIG_LIMIT_LAN] = "off",
                                                           [PV_CONFIG_CONVERGENCE] = "cluster",
                                                           [PV_CONFIG_SCRUB] = "on",
                                                           [PV_CONFIG_CONFINE] = "on",
                                                           [PV_CONFIG_LOG_LEVEL] = "info",
                                                           [PV_CONFIG_LOG_FORMAT] = "logfmt"};
    struct fixture *f = fixture_new();
    assert_loads(f); /* neither file nor environment */
    struct pv_config *c = &f->config;
    cr_assert_str_eq(c->listen, "127.0.0.1:3000");
    cr_assert_eq(c->peer_count, 0);
    cr_assert_eq(c->replicas, 3);
    cr_assert_eq(c->role, PV_ROLE_KEYED);
    cr_assert_eq(c->repair_after_ms, 12 * 3600000);
    cr_assert_eq(c->max_skew_ms, PV_SKEW_MS_DEFAULT);
    cr_assert_eq(c->gc_grace_ms, 7 * 86400000);
    cr_assert_eq(c->mem_limit_bytes, (uint64_t)PV_MEM_LIMIT_MIB << 20);
    cr_assert_eq(c->disk_limit_bytes, 0);
    cr_assert_eq(c->convergence, PV_CONVERGENCE_CLUSTER);
    cr_assert_str_eq(c->log_level, "info");
    cr_assert_eq(c->scrub, 1);
    cr_assert_eq(c->confine, 1);
    cr_assert_eq(c->log_json, 0);
    for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++) {
        cr_assert_eq(c->origin[k], PV_FROM_DEFAULT);
        assert_shows(c, (enum pv_config_key)k, shown[k]);
    }
    f->source.vault = PV_FD_NONE;
    assert_loads(f);
    fixture_free(f);
}

Test(config, every_key_has_its_texts)
{
    for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++) {
        enum pv_config_key key = (enum pv_config_key)k, found;
        cr_assert_gt(strlen(pv_config_key_name(key)), 0);
        cr_assert_gt(strlen(pv_config_key_help(key)), 0);
        cr_assert_gt(strlen(pv_config_key_values(key)), 0);
        cr_assert_eq(pv_config_key_find(&found, pv_config_key_name(key)), PV_OK);
        cr_assert_eq(found, key);
    }
    enum pv_config_key none;
    cr_assert_eq(pv_config_key_find(&none, "Listen"), PV_E_NOT_FOUND);
    cr_assert_str_eq(pv_config_origin_name(PV_FROM_FILE), "peervault.conf");
}

/* ---- precedence ---- */

Test(config, flag_beats_environment_beats_file_beats_default)
{
    static const struct pv_config_flag flags[] = {{PV_CONFIG_REPLICAS, "7"}};
    struct fixture *f = fixture_new();
    write_conf(f, "# comment\n\nreplicas = 5\nmax_skew = 10s\nlisten = [::1]:4000 ; here\n");
    set_env(f, "PEERVAULT_REPLICAS", "6");
    set_env(f, "PEERVAULT_MAX_SKEW", "11s");
    set_env(f, "PEERVAULT_ROLE", ""); /* empty is not set */
    cr_assert_eq(pv_config_load(&f->config, &f->source, flags, 1, f->why), PV_OK, "%s", f->why);
    cr_assert_eq(f->config.replicas, 7);
    cr_assert_eq(f->config.origin[PV_CONFIG_REPLICAS], PV_FROM_FLAG);
    cr_assert_eq(f->config.line[PV_CONFIG_REPLICAS], 0);
    cr_assert_eq(f->config.max_skew_ms, 11000);
    cr_assert_eq(f->config.origin[PV_CONFIG_MAX_SKEW], PV_FROM_ENVIRONMENT);
    cr_assert_eq(f->config.line[PV_CONFIG_MAX_SKEW], 0);
    cr_assert_str_eq(f->config.listen, "[::1]:4000");
    cr_assert_eq(f->config.origin[PV_CONFIG_LISTEN], PV_FROM_FILE);
    cr_assert_eq(f->config.line[PV_CONFIG_LISTEN], 5);
    cr_assert_eq(f->config.origin[PV_CONFIG_ROLE], PV_FROM_DEFAULT);
    fixture_free(f);
}

Test(config, every_key_is_read_from_every_source)
{
    static const char *const values[PV_CONFIG_KEY_COUNT] = {[PV_CONFIG_LISTEN] = "localhost:0",
                                                            [PV_CONFIG_PEERS] = "a:1,b:2",
                                                            [PV_CONFIG_ADVERTISE] = "c:3,[::1]:4",
                                                            [PV_CONFIG_REPLICAS] = "64",
                                                            [PV_CONFIG_ROLE] = "blind",
                                                            [PV_CONFIG_MEMBERSHIP] = "allowlist",
                                                            [PV_CONFIG_REPAIR_AFTER] = "90d",
                                                            [PV_CONFIG_MAX_SKEW] = "1s",
                                                            [PV_CONFIG_GC_GRACE] = "0s",
                                                            [PV_CONFIG_MEM_LIMIT] = "32MiB",
                                                            [PV_CONFIG_DISK_LIMIT] = "1MiB",
                                                            [PV_CONFIG_LIMIT_UP] = "64KiB",
                                                            [PV_CONFIG_LIMIT_DOWN] = "1TiB",
                                                            [PV_CONFIG_LIMIT_PEER_UP] = "65537",
                                                            [PV_CONFIG_LIMIT_PEER_DOWN] = "100MiB",
                                                            [PV_CONFIG_LIMIT_LAN] = "on",
                                                            [PV_CONFIG_CONVERGENCE] = "epoch",
                                                            [PV_CONFIG_SCRUB] = "off",
                                                            [PV_CONFIG_CONFINE] = "off",
                                                            [PV_CONFIG_LOG_LEVEL] =
                                                                "warn,node=debug",
                                                            [PV_CONFIG_LOG_FORMAT] = "json"};
    for (int source = PV_FROM_FILE; source <= PV_FROM_FLAG; source++) {
        struct fixture *f = fixture_new();
        struct pv_config_flag flags[PV_CONFIG_KEY_COUNT];
        char conf[1024] = "", names[PV_CONFIG_KEY_COUNT][64];
        size_t flag_count = 0;
        for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++) {
            const char *name = pv_config_key_name((enum pv_config_key)k);
            flags[k] = (struct pv_config_flag){(enum pv_config_key)k, values[k]};
            size_t used = strlen(conf);
            snprintf(conf + used, sizeof conf - used, "%s=%s\n", name, values[k]);
            snprintf(names[k], sizeof names[k], "PEERVAULT_%s", name);
            for (char *p = names[k]; *p != '\0'; p++)
                *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
            if (source == PV_FROM_ENVIRONMENT)
                set_env(f, names[k], values[k]);
        }
        if (source == PV_FROM_FILE)
            write_conf(f, conf);
        if (source == PV_FROM_FLAG)
            flag_count = PV_CONFIG_KEY_COUNT;
        cr_assert_eq(pv_config_load(&f->config, &f->source, flags, flag_count, f->why), PV_OK, "%s",
                     f->why);
        for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++) {
            cr_assert_eq(f->config.origin[k], source);
            assert_shows(&f->config, (enum pv_config_key)k, values[k]);
        }
        fixture_free(f);
    }
}

Test(config, an_overridden_value_is_checked_too)
{
    static const struct pv_config_flag flags[] = {{PV_CONFIG_REPLICAS, "7"}};
    struct fixture *f = fixture_new();
    set_env(f, "PEERVAULT_REPLICAS", "many");
    cr_assert_eq(pv_config_load(&f->config, &f->source, flags, 1, f->why), PV_E_INVALID);
    assert_one_line(f->why, "PEERVAULT_REPLICAS: replicas = \"many\": must be 1 .. 64");
    fixture_free(f);
}

Test(config, a_malformed_flag_is_named)
{
    static const struct pv_config_flag flags[] = {{PV_CONFIG_LISTEN, "3000"}};
    struct fixture *f = fixture_new();
    cr_assert_eq(pv_config_load(&f->config, &f->source, flags, 1, f->why), PV_E_INVALID);
    assert_one_line(f->why, "command line: listen = \"3000\": must be ADDRESS:PORT");
    fixture_free(f);
}

/* ---- peers ---- */

Test(config, peers_add_up_within_a_source_and_are_replaced_by_a_stronger)
{
    static const struct pv_config_flag flags[] = {{PV_CONFIG_PEERS, "x:1"},
                                                  {PV_CONFIG_PEERS, "y:2"}};
    struct fixture *f = fixture_new();
    write_conf(f, "peers = a:1 , b:2,,a:1,\n  c:3\npeers = [::1]:4, b:2\n");
    assert_loads(f);
    assert_shows(&f->config, PV_CONFIG_PEERS, "a:1,b:2,c:3,[::1]:4");
    set_env(f, "PEERVAULT_PEERS", "e:5");
    assert_loads(f);
    assert_shows(&f->config, PV_CONFIG_PEERS, "e:5");
    cr_assert_eq(pv_config_load(&f->config, &f->source, flags, 2, f->why), PV_OK);
    assert_shows(&f->config, PV_CONFIG_PEERS, "x:1,y:2");
    fixture_free(f);
}

Test(config, peers_have_a_maximum_and_are_named_when_wrong)
{
    struct fixture *f = fixture_new();
    char list[2048] = "";
    for (int i = 0; i < PV_STATIC_PEERS_MAX; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "node%d:3000,", i);
    set_env(f, "PEERVAULT_PEERS", list);
    assert_loads(f);
    cr_assert_eq(f->config.peer_count, PV_STATIC_PEERS_MAX);
    strcat(list, "one-more:1");
    cr_assert_eq(load(f), PV_E_INVALID);
    assert_one_line(f->why, "one-more:1");
    f->env[0][1] = "good:1, bad:0, other:3";
    cr_assert_eq(load(f), PV_E_INVALID);
    assert_one_line(f->why, "\"bad:0\"");
    char address[PV_ADDRESS_MAX + 2];
    memset(address, 'h', sizeof address);
    memcpy(address + PV_ADDRESS_MAX - 2, ":1", 3);
    f->env[0][1] = address;
    assert_loads(f);
    cr_assert_eq(strlen(f->config.peers[0]), PV_ADDRESS_MAX);
    memcpy(address + PV_ADDRESS_MAX - 2, "h:1", 4);
    cr_assert_eq(load(f), PV_E_INVALID);
    fixture_free(f);
}

/* ---- the file ---- */

Test(config, faults_of_the_file_are_named_with_key_and_line)
{
    assert_conf_fails("replicas = 2\nreplica = 3\n", "line 2: unknown key replica");
    assert_conf_fails("\n# x\nreplicas = 0\n", "line 3: replicas = \"0\": must be 1 .. 64");
    assert_conf_fails("replicas = 2\nrole=keyed\nreplicas = 3\n",
                      "line 3: replicas was set before, in line 1");
    assert_conf_fails("replicas = 2\n  3\n", "line 2: replicas was set before, in line 1");
    assert_conf_fails("listen\n", "line 1: not of the form");
    assert_conf_fails("[node]\nreplicas = 2\n", "line 2: section [node]");
    assert_conf_fails("= 3\n", "line 1: unknown key");
    assert_conf_fails("log_format = \x1b[31mred\n", "log_format = \"?[31mred\"");
    assert_conf_fails("r\xc3\xa9plicas = 2", "line 1: unknown key r??plicas");
    assert_conf_fails("listen =\n", "line 1: listen = \"\"");
}

Test(config, each_malformed_value_is_refused)
{
    static const char *const bad[] = {
        "replicas=65",
        "replicas=-1",
        "replicas=3x",
        "replicas=0x3",
        "replicas=",
        "role=Keyed",
        "role=admin",
        "repair_after=999ms",
        "repair_after=91d",
        "repair_after=12 h",
        "repair_after=1w",
        "max_skew=0",
        "max_skew=3601s",
        "gc_grace=91d",
        "gc_grace=-1d",
        "mem_limit=0",
        "mem_limit=31MiB",
        "mem_limit=65GiB",
        "mem_limit=64MB",
        "mem_limit=64 MiB",
        "disk_limit=1",
        "disk_limit=1023K",
        "disk_limit=17000000T",
        "disk_limit=none",
        "limit_up=65535",
        "limit_down=1099511627777",
        "limit_peer_up=1",
        "limit_peer_down=-1",
        "limit_lan=yes",
        "convergence=on",
        "log_level=loud",
        "log_level=info,disk=debug",
        "log_level=",
        "log_format=xml",
        "scrub=yes",
        "confine=no",
        "advertise=a:0",
        "advertise=none,a:1",
        "advertise=none\nadvertise=a:1",
        "advertise=a:1\nadvertise=none",
        "advertise=a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1",
        "listen=:3000",
        "listen=localhost",
        "listen=localhost:",
        "listen=localhost:65536",
        "listen=::1:3000",
        "listen=[::1]3000",
        "listen=[::1:3000",
        "listen=[]:3000",
        "listen=[fe80::1%]:3000",
        "listen=a b:3000",
        "listen=host:-1",
        "listen=host:1/x",
        "peers=host:0",
        "peers=host:003000", /* what cannot be dialled */
        "peers=[abc]:1",
        "peers=host",
        "peers=a:1;b:2",
    };
    for (size_t i = 0; i < PV_COUNT(bad); i++) {
        char key[32];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        assert_conf_fails(bad[i], key);
    }
}

Test(config, limits_and_forms_of_values_are_accepted)
{
    static const char *const good[] = {
        "replicas=1",
        "repair_after=1000ms",
        "repair_after=90d",
        "max_skew=3600",
        "gc_grace=0",
        "mem_limit=32M",
        "mem_limit=65536M",
        "mem_limit=33554432",
        "mem_limit=32768KiB",
        "disk_limit=0",
        "disk_limit=0G",
        "disk_limit=1048576",
        "disk_limit=16T",
        "disk_limit=3TiB",
        "advertise=none",
        "advertise=a:1\nadvertise=b:1",
        "advertise=a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,h:1",
        "log_level=debug",
        "log_level=error,tcp=warn",
        "listen=0.0.0.0:0",
        "listen=host-1.example_x.org:65535",
        "listen=[fe80::1%eth0.1]:3000",
        "listen=[::ffff:10.0.0.1]:1",
        "peers=",
        "convergence=off",
    };
    for (size_t i = 0; i < PV_COUNT(good); i++) {
        struct fixture *f = fixture_new();
        write_conf(f, good[i]);
        assert_loads(f);
        fixture_free(f);
    }
}

static const char whole_conf[] = "\xef\xbb\xbflisten = 127.0.0.1:4000\r\n"
                                 "peers = a:1,\r\n    b:2\r\n"
                                 "replicas : 2\r\n"
                                 "; comment\r\n"
                                 "mem_limit=1G ; enough\r\n";

Test(config, a_file_from_elsewhere_is_read)
{
    struct fixture *f = fixture_new();
    write_conf(f, whole_conf);
    assert_loads(f);
    assert_shows(&f->config, PV_CONFIG_PEERS, "a:1,b:2");
    assert_shows(&f->config, PV_CONFIG_LISTEN, "127.0.0.1:4000");
    assert_shows(&f->config, PV_CONFIG_REPLICAS, "2");
    assert_shows(&f->config, PV_CONFIG_MEM_LIMIT, "1GiB");
    fixture_free(f);
}

Test(config, a_file_cut_or_damaged_anywhere_is_read_or_refused_with_a_line)
{
    struct fixture *f = fixture_new();
    size_t len = sizeof whole_conf - 1;
    for (size_t cut = 0; cut <= 2 * len; cut++) {
        char text[sizeof whole_conf];
        memcpy(text, whole_conf, sizeof text);
        if (cut > len)
            text[cut - len - 1] = (char)(text[cut - len - 1] ^ 0x55);
        f->why[0] = '\0';
        write_bytes(f, PV_CONFIG_FILE_NAME, text, cut < len ? cut : len);
        enum pv_err err = load(f);
        cr_assert(err == PV_OK || err == PV_E_INVALID);
        if (err != PV_OK)
            assert_one_line(f->why, "peervault.conf, line ");
    }
    fixture_free(f);
}

Test(config, odd_files_are_refused)
{
    struct fixture *f = fixture_new();
    char *text = malloc(PV_CONFIG_FILE_MAX + 1);
    cr_assert_not_null(text);
    memset(text, '\n', PV_CONFIG_FILE_MAX + 1);
    write_bytes(f, PV_CONFIG_FILE_NAME, text, PV_CONFIG_FILE_MAX);
    assert_loads(f);
    write_bytes(f, PV_CONFIG_FILE_NAME, text, PV_CONFIG_FILE_MAX + 1);
    cr_assert_eq(load(f), PV_E_INVALID);
    assert_one_line(f->why, "peervault.conf: larger than");
    memset(text, '#', 4096);
    write_bytes(f, PV_CONFIG_FILE_NAME, text, 4096);
    cr_assert_eq(load(f), PV_E_INVALID);
    assert_one_line(f->why, "line 1: too long");
    write_bytes(f, PV_CONFIG_FILE_NAME, "replicas = 2\nrole\0x = 3\n", 24);
    cr_assert_eq(load(f), PV_E_INVALID);
    assert_one_line(f->why, "line 2: a zero byte");
    free(text);
    cr_assert_eq(unlinkat(f->dir.fd, PV_CONFIG_FILE_NAME, 0), 0);
    cr_assert_eq(mkdirat(f->dir.fd, PV_CONFIG_FILE_NAME, 0700), 0);
    cr_assert_neq(load(f), PV_OK);
    assert_one_line(f->why, "peervault.conf: ");
    fixture_free(f);
}

/* ---- the file ---- */

static enum pv_err append(struct fixture *f, const struct pv_fs *fs, const char *lines)
{
    return pv_config_file_append(lines, fs, f->dir.fd, f->why);
}

static void assert_file(struct fixture *f, const char *expected)
{
    struct pv_buf text;
    pv_buf_init(&text, PV_CONFIG_FILE_MAX + 1);
    cr_assert_eq(pv_config_file_read(&text, pv_fs_real(), f->dir.fd, f->why), PV_OK);
    cr_assert_eq(text.len, strlen(expected));
    cr_assert_arr_eq((const char *)text.data, expected, text.len);
    pv_buf_release(&text);
}

Test(config, lines_are_added_behind_what_anybody_may_read)
{
    struct fixture *f = fixture_new();
    char path[400];
    cr_assert_eq(append(f, pv_fs_real(), "replicas = 2\n"), PV_OK);
    assert_file(f, "replicas = 2\n");
    write_conf(f, "# mine\nscrub = off");
    snprintf(path, sizeof path, "%s/%s", f->dir.path, PV_CONFIG_FILE_NAME);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(append(f, pv_fs_real(), "replicas = 2\n"), PV_OK);
    assert_file(f, "# mine\nscrub = off\nreplicas = 2\n");
    fixture_free(f);
}

Test(config, a_file_that_cannot_be_added_to_stays_as_it_is)
{
    struct fixture *f = fixture_new();
    struct pvt_faultfs faults;
    static char large[PV_CONFIG_FILE_MAX + 1];
    memset(large, '\n', PV_CONFIG_FILE_MAX);
    write_conf(f, large + 2);
    cr_assert_eq(append(f, pv_fs_real(), "#\n\n"), PV_E_INVALID);
    assert_one_line(f->why, "peervault.conf: there would be more");
    cr_assert_eq(append(f, pv_fs_real(), "#\n"), PV_OK);
    write_conf(f, "scrub = off\n");
    pvt_faultfs_init(&faults, pv_fs_real());
    static const enum pvt_fs_call calls[] = {PVT_FS_OPEN,  PVT_FS_READ, PVT_FS_STAT,
                                             PVT_FS_WRITE, PVT_FS_SYNC, PVT_FS_RENAME};
    for (size_t i = 0; i < PV_COUNT(calls); i++) {
        pvt_faultfs_fail(&faults, calls[i], 1, PV_E_IO);
        cr_assert_eq(append(f, &faults.fs, "replicas = 2\n"), PV_E_IO);
        assert_one_line(f->why, "peervault.conf: ");
        assert_file(f, "scrub = off\n");
    }
    pvt_faultfs_release(&faults);
    fixture_free(f);
}

Test(config, lack_of_memory_is_reported_everywhere)
{
    struct fixture *f = fixture_new();
    size_t fds = pvt_open_fds();
    write_conf(f, "replicas = 2\nlog_level = warn\n");
    enum pv_err err = PV_E_NOMEM;
    for (uint64_t n = 0; err == PV_E_NOMEM; n++) {
        cr_assert_lt(n, UINT64_C(100));
        pv_mem_fail_after(n);
        err = load(f);
        pv_mem_fail_after(UINT64_MAX);
        if (err == PV_E_NOMEM)
            assert_one_line(f->why, "out of memory");
    }
    cr_assert_eq(err, PV_OK);
    cr_assert_eq(pvt_open_fds(), fds);
    fixture_free(f);
}

/* ---- value forms ---- */

Test(config, sizes_and_durations_are_shown_as_they_are_parsed)
{
    static const struct {
        uint64_t n;
        const char *size, *duration;
    } cases[] = {{0, "0", "0s"},
                 {1, "1", "1ms"},
                 {1023, "1023", "1023ms"},
                 {1024, "1KiB", "1024ms"},
                 {60000, "60000", "1m"},
                 {5400000, "5400000", "90m"},
                 {86400000, "84375KiB", "1d"},
                 {UINT64_C(5) << 40, "5TiB", "5497558138880ms"},
                 {UINT64_MAX, "18446744073709551615", "18446744073709551615ms"}};
    for (size_t i = 0; i < PV_COUNT(cases); i++) {
        struct pv_buf size, duration;
        uint64_t n = 0;
        pv_buf_init(&size, 64);
        pv_buf_init(&duration, 64);
        cr_assert_eq(pv_size_show(cases[i].n, &size), PV_OK);
        cr_assert_eq(pv_buf_append(&size, "", 1), PV_OK);
        cr_assert_str_eq((const char *)size.data, cases[i].size);
        cr_assert_eq(pv_size_parse(&n, (const char *)size.data), PV_OK);
        cr_assert_eq(n, cases[i].n);
        cr_assert_eq(pv_duration_show(cases[i].n, &duration), PV_OK);
        cr_assert_eq(pv_buf_append(&duration, "", 1), PV_OK);
        cr_assert_str_eq((const char *)duration.data, cases[i].duration);
        cr_assert_eq(pv_duration_parse(&n, (const char *)duration.data), PV_OK);
        cr_assert_eq(n, cases[i].n);
        pv_buf_release(&size);
        pv_buf_release(&duration);
    }
    uint64_t n = 77;
    cr_assert_eq(pv_size_parse(&n, "16777215T"), PV_OK);
    cr_assert_eq(pv_size_parse(&n, "16777216T"), PV_E_INVALID);
    cr_assert_eq(pv_size_parse(&n, "18446744073709551616"), PV_E_INVALID);
    cr_assert_eq(pv_size_parse(&n, "99999999999999999999"), PV_E_INVALID);
    cr_assert_eq(pv_size_parse(&n, " 1"), PV_E_INVALID);
    cr_assert_eq(pv_size_parse(&n, "K"), PV_E_INVALID);
    cr_assert_eq(pv_size_parse(&n, "1KB"), PV_E_INVALID);
    cr_assert_eq(n, UINT64_C(16777215) << 40, "written in spite of an error");
}

/* ---- secrets ---- */

static const char key_text[] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
static const char token_text[] = "correct horse battery staple";

static void count_warning(void *ctx, const char *text)
{
    struct fixture *f = ctx;
    f->warnings++;
    snprintf(f->warning, sizeof f->warning, "%s", text);
}

static enum pv_err load_secrets(struct fixture *f)
{
    memset(&f->secrets, 0, sizeof f->secrets);
    f->warnings = 0;
    return pv_config_secrets_load(&f->secrets, &f->source, count_warning, f, f->why);
}

static void assert_secrets_fail(struct fixture *f, enum pv_err expected, const char *part)
{
    static const struct pv_config_secrets none;
    cr_assert_eq(load_secrets(f), expected);
    assert_one_line(f->why, part);
    cr_assert_not(has(f->why, "001122"), "a secret in a message");
    cr_assert_arr_eq((char *)&f->secrets, (const char *)&none, sizeof none, "not wiped");
}

Test(config, secrets_come_from_the_environment)
{
    struct fixture *f = fixture_new();
    cr_assert_eq(load_secrets(f), PV_OK);
    cr_assert_str_eq(f->secrets.cluster_key, "");
    cr_assert_str_eq(f->secrets.token, "");
    set_env(f, "PEERVAULT_CLUSTER_KEY", key_text);
    set_env(f, "PEERVAULT_AUTH_TOKEN", token_text);
    cr_assert_eq(load_secrets(f), PV_OK);
    cr_assert_str_eq(f->secrets.cluster_key, key_text);
    cr_assert_str_eq(f->secrets.token, token_text);
    cr_assert_eq(f->warnings, 0);
    fixture_free(f);
}

Test(config, given_secrets_beat_the_environment_and_are_checked)
{
    struct fixture *f = fixture_new();
    set_env(f, "PEERVAULT_AUTH_TOKEN", "from the environment, long enough");
    strcpy(f->secrets.token, token_text);
    cr_assert_eq(pv_config_secrets_load(&f->secrets, &f->source, NULL, NULL, f->why), PV_OK);
    cr_assert_str_eq(f->secrets.token, token_text);
    strcpy(f->secrets.cluster_key, "123");
    cr_assert_eq(pv_config_secrets_load(&f->secrets, &f->source, NULL, NULL, f->why), PV_E_INVALID);
    assert_one_line(f->why, "64 hex digits");
    fixture_free(f);
}

Test(config, secrets_come_from_files)
{
    struct fixture *f = fixture_new();
    char key_path[400], token_path[400], link_path[420];
    snprintf(key_path, sizeof key_path, "%s", write_bytes(f, "key", key_text, 64));
    snprintf(token_path, sizeof token_path, "%s",
             write_bytes(f, "token", " correct horse battery staple \r\n", 32));
    snprintf(link_path, sizeof link_path, "%s.link", key_path);
    cr_assert_eq(symlink("key", link_path), 0);
    set_env(f, "PEERVAULT_CLUSTER_KEY_FILE", link_path);
    set_env(f, "PEERVAULT_AUTH_TOKEN_FILE", token_path);
    set_env(f, "PEERVAULT_AUTH_TOKEN", "");
    cr_assert_eq(load_secrets(f), PV_OK, "%s", f->why);
    cr_assert_str_eq(f->secrets.cluster_key, key_text);
    cr_assert_str_eq(f->secrets.token, token_text);
    cr_assert_eq(f->warnings, 0);

    cr_assert_eq(chmod(key_path, 0640), 0);
    cr_assert_eq(load_secrets(f), PV_OK);
    cr_assert_eq(f->warnings, 1);
    assert_one_line(f->warning, "readable by others");
    fixture_free(f);
}

Test(config, secret_files_that_are_none_are_refused)
{
    struct fixture *f = fixture_new();
    size_t fds = pvt_open_fds();
    char path[400];
    snprintf(path, sizeof path, "%s/secret", f->dir.path);
    set_env(f, "PEERVAULT_AUTH_TOKEN_FILE", path);
    assert_secrets_fail(f, PV_E_NOT_FOUND, "PEERVAULT_AUTH_TOKEN_FILE: ");
    static const char *const texts[] = {"", "\n \n", "two\nlines"};
    for (size_t i = 0; i < PV_COUNT(texts); i++) {
        write_bytes(f, "secret", texts[i], strlen(texts[i]));
        assert_secrets_fail(f, PV_E_INVALID, "one line");
    }
    write_bytes(f, "secret", "zero\0byte in the middle", 23);
    assert_secrets_fail(f, PV_E_INVALID, "one line");
    char big[PV_TOKEN_LEN_MAX + 300];
    memset(big, 't', sizeof big);
    write_bytes(f, "secret", big, PV_TOKEN_LEN_MAX);
    cr_assert_eq(load_secrets(f), PV_OK, "%s", f->why);
    write_bytes(f, "secret", big, PV_TOKEN_LEN_MAX + 1);
    assert_secrets_fail(f, PV_E_INVALID, "one line");
    write_bytes(f, "secret", big, sizeof big);
    assert_secrets_fail(f, PV_E_INVALID, "one line");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
    assert_secrets_fail(f, PV_E_INVALID, "one line");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    assert_secrets_fail(f, PV_E_INVALID, "one line");
    cr_assert_eq(pvt_open_fds(), fds);
    fixture_free(f);
}

Test(config, malformed_secrets_are_refused)
{
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    struct fixture *f = fixture_new();
    char token[PV_TOKEN_LEN_MAX + 2], generated[PV_TOKEN_TEXT_LEN + 1];
    struct pvt_env env;
    set_env(f, "PEERVAULT_CLUSTER_KEY", key_text + 1);
    assert_secrets_fail(f, PV_E_INVALID, "64 hex digits");
    f->env[0][1] = zeros;
    assert_secrets_fail(f, PV_E_INVALID, "weak cluster key");
    f->env[0][1] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF0";
    assert_secrets_fail(f, PV_E_INVALID, "longer than 64");
    f->env[0][1] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFG";
    assert_secrets_fail(f, PV_E_INVALID, "64 hex digits");

    f->env[0][1] = key_text;
    set_env(f, "PEERVAULT_AUTH_TOKEN", key_text);
    assert_secrets_fail(f, PV_E_INVALID, "must not be the cluster key");
    f->env[1][1] = "tab\tinside a token of some length";
    assert_secrets_fail(f, PV_E_INVALID, "control character");
    memset(token, 't', sizeof token);
    token[PV_TOKEN_LEN_MAX + 1] = '\0';
    f->env[1][1] = token;
    assert_secrets_fail(f, PV_E_INVALID, "longer than 1024");
    pvt_env_init(&env, 1, NULL);
    pv_token_generate(generated, &env.env);
    f->env[1][1] = generated;
    cr_assert_eq(load_secrets(f), PV_OK);
    cr_assert_eq(f->warnings, 0);
    generated[20] = generated[20] == 'a' ? 'b' : 'a';
    assert_secrets_fail(f, PV_E_INVALID, "malformed token");

    f->env[1][1] = "short";
    cr_assert_eq(load_secrets(f), PV_OK);
    cr_assert_eq(f->warnings, 1);
    assert_one_line(f->warning, "short");
    set_env(f, "PEERVAULT_AUTH_TOKEN_FILE", "/nowhere");
    assert_secrets_fail(f, PV_E_INVALID, "both set");
    fixture_free(f);
}
