#include "cmd/peervault/lines.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CAP_MIN = 16 * PATH_MAX };

struct pv_lines {
    int fd;
    char delimiter;
    char *buf;           /* cap bytes */
    size_t cap, at, len; /* what of it is to be used */
    bool end, too_long;
    char *line; /* line_max bytes */
    size_t line_max;
    char why[128];
};

enum pv_exit pv_lines_open(struct pv_lines **out, const char *from, char delimiter, size_t line_max)
{
    struct pv_lines *l = pv_calloc(1, sizeof *l);
    if (l == NULL)
        return pv_out_no_memory();
    l->fd = -1;
    l->delimiter = delimiter;
    l->line_max = line_max;
    l->cap = 2 * line_max > CAP_MIN ? 2 * line_max : CAP_MIN;
    l->buf = pv_malloc(l->cap);
    l->line = pv_malloc(l->line_max);
    if (l->buf == NULL || l->line == NULL) {
        pv_lines_close(l);
        return pv_out_no_memory();
    }
    l->fd = strcmp(from, "-") == 0 ? STDIN_FILENO : open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (l->fd < 0) {
        int error = errno;
        pv_lines_close(l);
        return pv_out_fail(PV_EXIT_FAILED, "%s: cannot be opened: %s", from, strerror(error));
    }
    *out = l;
    return PV_EXIT_OK;
}

void pv_lines_close(struct pv_lines *l)
{
    if (l == NULL)
        return;
    if (l->fd >= 0 && l->fd != STDIN_FILENO)
        (void)close(l->fd);
    pv_free(l->buf);
    pv_free(l->line);
    pv_free(l);
}

int pv_lines_fd(const struct pv_lines *l)
{
    return l->fd;
}

/* A line of the buffer, len bytes without its delimiter. False: an empty one. */
static bool use_line(struct pv_lines *l, size_t len, struct pv_line *line)
{
    size_t kept = len < l->line_max ? len : l->line_max - 1;
    if (len == 0 && !l->too_long)
        return false;
    memcpy(l->line, l->buf + l->at, kept);
    l->line[kept] = '\0';
    *line = (struct pv_line){l->line, len, l->too_long || kept < len};
    l->too_long = false;
    return true;
}

static bool is_quiet(int fd)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

/* False: it cannot be read, line says why. */
static bool read_more(struct pv_lines *l, struct pv_line *line)
{
    memmove(l->buf, l->buf + l->at, l->len - l->at);
    l->len -= l->at;
    l->at = 0;
    if (l->len == l->cap) { /* no end of a line in all of it: its beginning will do */
        l->len = l->line_max;
        l->too_long = true;
    }
    ssize_t n = read(l->fd, l->buf + l->len, l->cap - l->len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    l->end = n <= 0;
    if (n < 0) {
        (void)snprintf(l->why, sizeof l->why, "cannot be read: %s", strerror(errno));
        l->len = 0; /* not a line that was cut short */
        *line = (struct pv_line){.text = l->why};
        return false;
    }
    l->len += (size_t)n;
    return true;
}

enum pv_lines_step pv_lines_next(struct pv_lines *l, struct pv_line *line)
{
    for (;;) {
        const char *from = l->buf + l->at;
        const char *end = memchr(from, l->delimiter, l->len - l->at);
        size_t len = end != NULL ? (size_t)(end - from) : l->len - l->at;
        if (end != NULL || (l->end && len > 0)) {
            bool used = use_line(l, len, line);
            l->at += len + (end != NULL ? 1 : 0);
            if (used)
                return PV_LINES_LINE;
        } else if (l->end) {
            return PV_LINES_END;
        } else if (is_quiet(l->fd)) {
            return PV_LINES_QUIET;
        } else if (!read_more(l, line)) {
            return PV_LINES_FAILED;
        }
    }
}
