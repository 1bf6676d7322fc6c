#include "tests/unit/internal_config_fixture.h"

TestSuite(config, .timeout = 20);

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
                                                           [PV_CONFIG_KEY_GRACE] = "90d",
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
    cr_assert_eq(c->key_grace_ms, UINT64_C(90) * 86400000);
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
                                                            [PV_CONFIG_KEY_GRACE] = "1s",
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
