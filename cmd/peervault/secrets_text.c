/*
 * Whatever a secret was copied into is wiped by who copied it; stdout's buffer is not ours to wipe.
 */
#include "cmd/peervault/secrets_text.h"
#include "cmd/peervault/output.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER_KEY "PEERVAULT_CLUSTER_KEY"
#define AUTH_TOKEN "PEERVAULT_AUTH_TOKEN"
#define CHECK "PEERVAULT_CHECK"

enum { TEXT_MAX = 16 * 1024 };

static bool plain(const char *word)
{
    for (const char *c = word; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-_.:/+=@%,", *c) == NULL)
            return false;
    return true;
}

enum pv_err pv_append_shell_word(struct pv_buf *out, const char *word)
{
    if (plain(word))
        return pv_buf_append(out, word, strlen(word));
    enum pv_err err = pv_buf_append(out, "'", 1);
    for (const char *c = word; *c != '\0' && err == PV_OK; c++)
        err = *c == '\'' ? pv_buf_append(out, "'\\''", 4) : pv_buf_append(out, c, 1);
    return err == PV_OK ? pv_buf_append(out, "'", 1) : err;
}

enum pv_exit pv_secrets_print(const char *cluster_key, const char *token)
{
    struct pv_buf text;
    pv_buf_init(&text, TEXT_MAX);
    enum pv_err err = PV_OK;
    if (cluster_key != NULL)
        err = pv_buf_printf(&text, CLUSTER_KEY "=%s\n", cluster_key);
    if (err == PV_OK)
        err = pv_buf_printf(&text, AUTH_TOKEN "=");
    if (err == PV_OK)
        err = pv_append_shell_word(&text, token);
    if (err == PV_OK) {
        fwrite(text.data, 1, text.len, stdout);
        fputc('\n', stdout);
    }
    pv_buf_release(&text);
    return err == PV_OK ? pv_out_flush() : pv_out_no_memory();
}

/* Takes the quotes off, as a shell would; only whole-word quotes are known. */
static bool unquote(char *value)
{
    char *to = value;
    if (value[0] != '\'')
        return strchr(value, '\'') == NULL;
    for (const char *c = value + 1;;) {
        if (*c == '\0')
            return false;
        if (*c != '\'') {
            *to++ = *c++;
        } else if (strncmp(c, "'\\''", 4) == 0) {
            *to++ = '\'';
            c += 4;
        } else {
            *to = '\0';
            return c[1] == '\0';
        }
    }
}

static enum pv_err take(char *dst, size_t dst_cap, char *value)
{
    if (dst[0] != '\0' || !unquote(value) || value[0] == '\0' || strlen(value) >= dst_cap)
        return PV_E_INVALID;
    memcpy(dst, value, strlen(value) + 1);
    return PV_OK;
}

void pv_secrets_check(char out[static PV_SECRETS_CHECK_LEN + 1], const char *cluster_key,
                      const char *token)
{
    static const char label[] = "PV1/sheet"; /* with its zero byte */
    const struct pv_part parts[] = {{label, sizeof label},
                                    {cluster_key, strlen(cluster_key)},
                                    {"\n", 1},
                                    {token, strlen(token)}};
    uint8_t sum[PV_HASH_LEN];
    pv_sha256_parts(sum, parts, PV_COUNT(parts));
    pv_hex_encode(out, sum, PV_SECRETS_CHECK_LEN / 2);
}

struct parse {
    struct pv_config_secrets *out;
    char check[PV_SECRETS_CHECK_LEN + 1]; /* "" = not given */
};

/* In lower case, too: paper is read back in many ways. */
static void drop_blanks(char *hex)
{
    char *to = hex;
    for (const char *c = hex; *c != '\0'; c++)
        if (*c != ' ' && *c != '\t')
            *to++ = (char)tolower((unsigned char)*c);
    *to = '\0';
}

static enum pv_err parse_line(struct parse *p, char *text)
{
    static const char prefix[] = "PEERVAULT_", export[] = "export ";
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    text += strspn(text, " \t");
    if (strncmp(text, export, sizeof export - 1) == 0)
        text += sizeof export - 1;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return PV_OK;
    char *value = strchr(text, '=');
    if (value == NULL)
        return PV_E_INVALID;
    *value++ = '\0';
    if (strcmp(text, AUTH_TOKEN) == 0)
        return take(p->out->token, sizeof p->out->token, value);
    drop_blanks(value);
    if (strcmp(text, CLUSTER_KEY) == 0)
        return take(p->out->cluster_key, sizeof p->out->cluster_key, value);
    return strcmp(text, CHECK) == 0 ? take(p->check, sizeof p->check, value) : PV_E_INVALID;
}

/* Whether the line that ends before *to goes on in the next: then its \ is taken off. */
static bool goes_on(const char *text, char **to)
{
    char *end = *to;
    while (end > text && (end[-1] == ' ' || end[-1] == '\r'))
        end--;
    if (end == text || end[-1] != '\\')
        return false;
    *to = end - 1;
    return true;
}

/* Puts a NUL behind the line at text and the *rows it has, joined. What comes next; NULL: none. */
static char *end_line(char *text, unsigned *rows)
{
    char *to = text;
    *rows = 1;
    for (char *from = text; *from != '\0'; from++) {
        if (*from != '\n') {
            *to++ = *from;
        } else if (goes_on(text, &to)) {
            from += strspn(from + 1, " \t");
            ++*rows;
        } else {
            *to = '\0';
            return from + 1;
        }
    }
    *to = '\0';
    return NULL;
}

enum pv_err pv_secrets_parse(struct pv_config_secrets *out, char *text, unsigned *line)
{
    struct parse p = {.out = out};
    char check[PV_SECRETS_CHECK_LEN + 1];
    unsigned rows = 0;
    enum pv_err err = PV_OK;
    memset(out, 0, sizeof *out);
    *line = 1;
    for (char *at = text; err == PV_OK && at != NULL;) {
        char *next = end_line(at, &rows);
        err = parse_line(&p, at);
        at = next;
        *line += err == PV_OK ? rows : 0;
    }
    pv_secrets_check(check, out->cluster_key, out->token);
    if (err == PV_OK && p.check[0] != '\0' && strcmp(p.check, check) != 0)
        err = PV_E_CORRUPT;
    if (err != PV_OK)
        pv_config_secrets_wipe(out);
    return err;
}

/* Reads all of fd, up to TEXT_MAX - 1 bytes; adds a NUL. */
static int read_all(int fd, char *text, size_t *len)
{
    *len = 0;
    while (*len < TEXT_MAX) {
        ssize_t n = read(fd, text + *len, TEXT_MAX - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0) {
            text[*len] = '\0';
            return strlen(text) == *len ? 0 : EINVAL;
        }
        *len += (size_t)n;
    }
    return EFBIG;
}

enum pv_exit pv_secrets_read(struct pv_config_secrets *out, const char *source)
{
    char text[TEXT_MAX] = "";
    size_t len = 0;
    unsigned line = 0;
    bool is_stdin = strcmp(source, "-") == 0;
    if (!is_stdin && source[0] != '@')
        return pv_out_fail(PV_EXIT_USAGE, "key import: give - for standard input, or @FILE");
    const char *shown = is_stdin ? "standard input" : source + 1;
    int fd = is_stdin ? STDIN_FILENO : open(source + 1, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int error = fd < 0 ? errno : read_all(fd, text, &len);
    if (fd >= 0 && !is_stdin)
        (void)close(fd);
    enum pv_exit exit = PV_EXIT_OK;
    enum pv_err err = PV_OK;
    if (error != 0)
        exit = pv_out_fail(PV_EXIT_FAILED, "%s: cannot be read: %s", shown, strerror(error));
    else
        err = pv_secrets_parse(out, text, &line);
    if (err == PV_E_CORRUPT)
        exit = pv_out_fail(PV_EXIT_USAGE,
                           "%s: a digit of the key, the token or the check is wrong: compare them "
                           "with the paper",
                           shown);
    else if (err != PV_OK)
        exit = pv_out_fail(PV_EXIT_USAGE, "%s, line %u: must be a line of `peervault key export`",
                           shown, line);
    pv_wipe(text, sizeof text);
    if (exit != PV_EXIT_OK)
        return exit;
    const char *missing = out->cluster_key[0] == '\0' ? CLUSTER_KEY
                          : out->token[0] == '\0'     ? AUTH_TOKEN
                                                      : NULL;
    if (missing == NULL)
        return PV_EXIT_OK;
    pv_config_secrets_wipe(out);
    return pv_out_fail(PV_EXIT_USAGE, "%s: no %s in it: both secrets are needed", shown, missing);
}
