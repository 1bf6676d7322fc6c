/*
 * Whatever a secret was copied into is wiped by who copied it; stdout's buffer is not ours to wipe.
 */
#include "cmd/peervault/secrets_text.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER_KEY "PEERVAULT_CLUSTER_KEY"
#define AUTH_TOKEN "PEERVAULT_AUTH_TOKEN"

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

static enum pv_err parse_line(struct pv_config_secrets *out, char *text)
{
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    text += strspn(text, " \t");
    if (*text == '\0' || *text == '#')
        return PV_OK;
    if (strncmp(text, "export ", 7) == 0)
        text += 7;
    if (strncmp(text, CLUSTER_KEY "=", sizeof CLUSTER_KEY) == 0)
        return take(out->cluster_key, sizeof out->cluster_key, text + sizeof CLUSTER_KEY);
    if (strncmp(text, AUTH_TOKEN "=", sizeof AUTH_TOKEN) == 0)
        return take(out->token, sizeof out->token, text + sizeof AUTH_TOKEN);
    return PV_E_INVALID;
}

enum pv_err pv_secrets_parse(struct pv_config_secrets *out, char *text, unsigned *line)
{
    enum pv_err err = PV_OK;
    memset(out, 0, sizeof *out);
    *line = 0;
    for (char *next = text; err == PV_OK && next != NULL;) {
        char *at = next;
        next = strchr(at, '\n');
        if (next != NULL)
            *next++ = '\0';
        ++*line;
        err = parse_line(out, at);
    }
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
    char text[TEXT_MAX];
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
    if (error != 0)
        exit = pv_out_fail(PV_EXIT_FAILED, "%s: cannot be read: %s", shown, strerror(error));
    else if (pv_secrets_parse(out, text, &line) != PV_OK)
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
