/* Token and cluster key: where they come from, and what is refused. */
#include "tests/unit/internal_config_fixture.h"

TestSuite(config_secrets, .timeout = 20);

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

Test(config_secrets, secrets_come_from_the_environment)
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

Test(config_secrets, given_secrets_beat_the_environment_and_are_checked)
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

Test(config_secrets, secrets_come_from_files)
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

Test(config_secrets, secret_files_that_are_none_are_refused)
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

Test(config_secrets, malformed_secrets_are_refused)
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
