/* The file of settings: its faults, its forms, and what is added to it. */
#include "tests/unit/internal_config_fixture.h"

TestSuite(config_file, .timeout = 20);

Test(config_file, faults_of_the_file_are_named_with_key_and_line)
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

Test(config_file, each_malformed_value_is_refused)
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
        "key_grace=0s",
        "key_grace=3651d",
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

Test(config_file, limits_and_forms_of_values_are_accepted)
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

Test(config_file, a_file_from_elsewhere_is_read)
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

Test(config_file, a_file_cut_or_damaged_anywhere_is_read_or_refused_with_a_line)
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

Test(config_file, odd_files_are_refused)
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

Test(config_file, lines_are_added_behind_what_anybody_may_read)
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

Test(config_file, a_file_that_cannot_be_added_to_stays_as_it_is)
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

Test(config_file, lack_of_memory_is_reported_everywhere)
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
