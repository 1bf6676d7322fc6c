/* `key export` and `key import`: what is printed is read back, typing errors are refused. */
#include "cmd/peervault/secrets_text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

TestSuite(secrets_text, .timeout = 10);

static struct pv_config_secrets s;

static enum pv_err parse(const char *text, unsigned *line)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", text);
    return pv_secrets_parse(&s, copy, line);
}

Test(secrets_text, reads_lines_of_an_environment_file)
{
    unsigned line;
    cr_assert_eq(parse("PEERVAULT_CLUSTER_KEY=" KEY "\nPEERVAULT_AUTH_TOKEN=pvt1-abc\n", &line),
                 PV_OK);
    cr_assert_str_eq(s.cluster_key, KEY);
    cr_assert_str_eq(s.token, "pvt1-abc");
    cr_assert_eq(parse("# mine\r\n\r\n  export PEERVAULT_AUTH_TOKEN=x y\r\n", &line), PV_OK);
    cr_assert_str_eq(s.token, "x y");
    cr_assert_str_eq(s.cluster_key, "");
    cr_assert_eq(parse("", &line), PV_OK);
}

static void refused(const char *text, unsigned at)
{
    unsigned line = 0;
    memset(&s, 1, sizeof s);
    cr_assert_eq(parse(text, &line), PV_E_INVALID, "%s", text);
    cr_assert_eq(line, at, "%s", text);
    cr_assert_eq(s.token[0], '\0');
    cr_assert_eq(s.cluster_key[0], '\0');
}

Test(secrets_text, refuses_all_else_by_line)
{
    refused("prose\nPEERVAULT_VAULT=/x\n", 2);
    refused("PEERVAULT_CLUSTER_KEI=" KEY "\n", 1);
    refused("PEERVAULT_CLUSTER_KEY=\\\n" KEY "\\\n0\nprose\n", 1);
    refused("PEERVAULT_CLUSTER_KEY=\\\n" KEY "\nPEERVAULT_X\n", 3);
    refused("PEERVAULT_CHECK=123456789\n", 1);
    refused("PEERVAULT_AUTH_TOKEN=\n", 1);
    refused("PEERVAULT_AUTH_TOKEN\n", 1);
    refused("PEERVAULT_AUTH_TOKEN=a\nPEERVAULT_AUTH_TOKEN=b\n", 2);
    refused("PEERVAULT_CLUSTER_KEY=" KEY "0\n", 1);
    refused("PEERVAULT_AUTH_TOKEN='open\n", 1);
    refused("PEERVAULT_AUTH_TOKEN='a'b\n", 1);
    refused("PEERVAULT_AUTH_TOKEN=a'b\n", 1);
    refused("PEERVAULT_AUTH_TOKEN=''\n", 1);
}

/* The rows of a sheet, as people and scanners give them back. */
Test(secrets_text, reads_rows_of_a_sheet)
{
    static const char *const texts[] = {
        "PeerVault recovery sheet\n\nPEERVAULT_CLUSTER_KEY=\\\n  00112233 44556677 8899aabb "
        "ccddeeff"
        "\\\n  00112233 44556677 8899aabb ccddeeff\nPEERVAULT_AUTH_TOKEN=\\\n  pvt1-\\\n  abc\n"
        "PEERVAULT_CHECK=da8d6986\n\n1. Remove the sheet.\n",
        "PEERVAULT_CLUSTER_KEY= \\  \r\n\t 00112233445566778899AABBCCDDEEFF0011223344556677\\\r\n"
        "8899AABBCCDDEEFF\r\n  PEERVAULT_CHECK=DA8D 6986\r\nPEERVAULT_AUTH_TOKEN=pvt1-abc",
        "PEERVAULT_AUTH_TOKEN=pvt1-abc\nPEERVAULT_CLUSTER_KEY=" KEY "\n",
    };
    unsigned line;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_assert_eq(parse(texts[i], &line), PV_OK, "%s", texts[i]);
        cr_assert_str_eq(s.cluster_key, KEY);
        cr_assert_str_eq(s.token, "pvt1-abc");
    }
}

Test(secrets_text, a_wrong_digit_is_found)
{
    static const char good[] = "PEERVAULT_CLUSTER_KEY=" KEY "\nPEERVAULT_AUTH_TOKEN=a b\n"
                               "PEERVAULT_CHECK=";
    char check[PV_SECRETS_CHECK_LEN + 1], text[400];
    unsigned line;
    pv_secrets_check(check, KEY, "a b");
    snprintf(text, sizeof text, "%s%s\n", good, check);
    cr_assert_eq(parse(text, &line), PV_OK);
    for (size_t i = strlen("PEERVAULT_CLUSTER_KEY="); i < strlen(text) - 1; i++) {
        char *at = text + i, was = *at;
        if (strchr("abcdef0123456789", was) == NULL || strncmp(at, "b\n", 2) == 0)
            continue; /* a name, or a row's end */
        *at = was == '0' ? '1' : '0';
        cr_assert_neq(parse(text, &line), PV_OK, "%s", text);
        cr_assert_eq(s.cluster_key[0], '\0');
        *at = was;
    }
}

Test(secrets_text, bounds_the_token)
{
    char text[2 * PV_TOKEN_LEN_MAX];
    unsigned line;
    int n = snprintf(text, sizeof text, "PEERVAULT_AUTH_TOKEN=");
    memset(text + n, 't', PV_TOKEN_LEN_MAX + 1);
    text[n + PV_TOKEN_LEN_MAX + 1] = '\0';
    cr_assert_eq(parse(text, &line), PV_E_INVALID);
    text[n + PV_TOKEN_LEN_MAX] = '\0';
    cr_assert_eq(parse(text, &line), PV_OK);
    cr_assert_eq(strlen(s.token), PV_TOKEN_LEN_MAX);
}

Test(secrets_text, reads_back_what_it_quotes)
{
    static const char *const tokens[] = {"pvt1-abcdef",     "two words", "it's",        "'",
                                         "a; rm -rf $HOME", "\"\\`",     "caf\xc3\xa9", "''''"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        struct pv_buf b;
        unsigned line;
        pv_buf_init(&b, 4096);
        cr_assert_eq(pv_buf_printf(&b, "PEERVAULT_AUTH_TOKEN="), PV_OK);
        cr_assert_eq(pv_append_shell_word(&b, tokens[i]), PV_OK);
        cr_assert_eq(pv_buf_append(&b, "\n", 2), PV_OK);
        cr_assert_eq(parse((const char *)b.data, &line), PV_OK, "%s", b.data);
        cr_assert_str_eq(s.token, tokens[i]);
        pv_buf_release(&b);
    }
}
