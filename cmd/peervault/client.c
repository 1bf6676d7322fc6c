/*
 * Both buffers have a fixed size: out takes a few frames and is refilled when there is room for one
 * more, in takes at least one whole frame, which is handled in place.
 *
 * Connecting: the daemon first; then the vault lock, whose holder is either another command (it
 * will be done soon) or a daemon that is starting (its socket will appear): so both are tried in
 * turn until PV_LOCK_WAIT_MS have passed.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/embedded.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/unanswered.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"
#include "transport/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    FRAME_MAX = PV_FRAME_HEADER_LEN + PV_CONTROL_JSON_MAX,
    OUT_CAP = 8 * FRAME_MAX,
    IN_CAP = 4 * FRAME_MAX,
    LOOK_AGAIN_MS = 50,
};

struct pv_client {
    const struct pv_cli *cli;
    int flags, fd;
    struct pv_embedded *embedded; /* NULL: a daemon */
    json_int_t next_id;
    struct pv_unanswered unanswered;
    size_t out_at, out_len, in_len;
    uint8_t out[OUT_CAP], in[IN_CAP];
};

/* ---- connecting ---- */

/* errno of the failure, 0 when connected. */
static int connect_daemon(const char *vault, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t cap = sizeof address.sun_path;
    int folder = -1, error = 0;
    int n = snprintf(address.sun_path, cap, "%s/control.sock", vault);
    if (n < 0 || (size_t)n >= cap) { /* too long for an address: go through the open folder */
        folder = open(vault, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
            return errno;
        (void)snprintf(address.sun_path, cap, "/proc/self/fd/%d/control.sock", folder);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        error = errno;
    if (folder >= 0)
        (void)close(folder);
    if (error != 0 && fd >= 0)
        (void)close(fd);
    if (error == 0)
        *out = fd;
    return error;
}

bool pv_client_reachable(const char *vault)
{
    int fd = -1;
    if (connect_daemon(vault, &fd) != 0)
        return false;
    (void)close(fd);
    return true;
}

static enum pv_exit no_daemon(const struct pv_cli *cli)
{
    return pv_out_fail(PV_EXIT_UNAVAILABLE,
                       "no daemon is running on the vault %s: start one with `peervault daemon`",
                       cli->vault);
}

static enum pv_exit try_daemon(struct pv_client *c, bool *found)
{
    int error = connect_daemon(c->cli->vault, &c->fd);
    *found = error == 0;
    if (error == 0 || error == ENOENT || error == ECONNREFUSED || error == ENOTDIR)
        return PV_EXIT_OK;
    enum pv_exit exit = error == EACCES || error == EPERM ? PV_EXIT_DENIED : PV_EXIT_UNAVAILABLE;
    return pv_out_fail(exit, "cannot connect to %s/control.sock: %s%s", c->cli->vault,
                       strerror(error),
                       exit == PV_EXIT_DENIED ? ": it belongs to another user" : "");
}

/* Takes the lock, or finds the daemon that has it. access is taken over when embedded starts. */
static enum pv_exit lock_or_connect(struct pv_client *c, struct pv_access *access)
{
    const struct pv_env *env = &c->cli->env;
    uint64_t until = pv_env_mono_ms(env) + PV_LOCK_WAIT_MS;
    for (;;) {
        bool found = false, last = pv_env_mono_ms(env) >= until;
        long pid = 0;
        enum pv_exit exit = PV_EXIT_OK;
        enum pv_err err = last ? PV_E_BUSY : pv_setup_lock(&access->setup, 0, env, &pid);
        bool locked = err == PV_OK;
        if (last || (!locked && err != PV_E_BUSY)) { /* says who has it, or what is wrong */
            exit = pv_access_lock(access, c->cli, 0);
            locked = exit == PV_EXIT_OK;
        }
        if (locked)
            return pv_embedded_start(&c->embedded, access, c->cli, &c->fd);
        if (exit == PV_EXIT_OK)
            exit = try_daemon(c, &found);
        if (exit != PV_EXIT_OK || found) {
            pv_access_close(access);
            return exit;
        }
        (void)poll(NULL, 0, LOOK_AGAIN_MS); /* neither lock nor socket announces itself */
    }
}

static enum pv_exit establish(struct pv_client *c)
{
    bool found = false;
    enum pv_exit exit = try_daemon(c, &found);
    if (exit != PV_EXIT_OK || found)
        return exit;
    struct pv_access *access = pv_calloc(1, sizeof *access);
    if (access == NULL)
        return pv_out_no_memory();
    const struct pv_access_options options = {.create = (c->flags & PV_CLIENT_CREATE) != 0};
    exit = pv_access_open(access, c->cli, &options);
    if (exit == PV_EXIT_OK && !(c->flags & PV_CLIENT_EMBED)) {
        pv_access_close(access);
        exit = no_daemon(c->cli);
    } else if (exit == PV_EXIT_OK) {
        exit = lock_or_connect(c, access);
    }
    pv_wipe(access, sizeof *access);
    pv_free(access);
    return exit;
}

static enum pv_exit start(struct pv_client *c)
{
    c->out_at = c->out_len = c->in_len = 0;
    enum pv_exit exit = establish(c);
    if (exit == PV_EXIT_OK && fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        exit = pv_out_fail(PV_EXIT_FAILED, "fcntl: %s", strerror(errno));
    return exit;
}

static enum pv_exit end(struct pv_client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    enum pv_exit exit = pv_embedded_stop(c->embedded);
    c->embedded = NULL;
    pv_unanswered_clear(&c->unanswered);
    return exit;
}

static bool keeping;
static struct pv_client *kept; /* its cli is gone */

static void drop_kept(void)
{
    if (kept != NULL)
        (void)end(kept);
    pv_free(kept);
    kept = NULL;
}

void pv_client_keep(bool keep)
{
    keeping = keep;
    drop_kept();
}

bool pv_client_keeps(void)
{
    return keeping;
}

/* A shell is on one vault, so the kept one is the right one, if the daemon is still there: nothing
 * can have come, for nothing was asked, but its end. */
static bool take_kept(struct pv_client **out, const struct pv_cli *cli, int flags)
{
    struct pollfd in = {.events = POLLIN};
    if (kept == NULL)
        return false;
    in.fd = kept->fd;
    if (poll(&in, 1, 0) != 0) {
        drop_kept();
        return false;
    }
    kept->cli = cli;
    kept->flags = flags;
    *out = kept;
    kept = NULL;
    return true;
}

static bool may_be_kept(const struct pv_client *c)
{
    return keeping && kept == NULL && c->fd >= 0 && c->embedded == NULL &&
           c->unanswered.count == 0 && c->in_len == 0 && pv_client_idle(c);
}

enum pv_exit pv_client_open(struct pv_client **out, const struct pv_cli *cli, int flags)
{
    if (take_kept(out, cli, flags))
        return PV_EXIT_OK;
    struct pv_client *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return pv_out_no_memory();
    c->cli = cli;
    c->flags = flags;
    c->fd = -1;
    enum pv_exit exit = start(c);
    if (exit != PV_EXIT_OK)
        return pv_client_close(c, exit);
    *out = c;
    return PV_EXIT_OK;
}

enum pv_exit pv_client_close(struct pv_client *c, enum pv_exit exit)
{
    if (c == NULL)
        return exit;
    if (may_be_kept(c)) {
        c->cli = NULL;
        kept = c;
        return exit;
    }
    enum pv_exit ended = end(c);
    pv_free(c);
    return exit != PV_EXIT_OK ? exit : ended;
}

enum pv_exit pv_client_reopen(struct pv_client *c)
{
    enum pv_exit exit = end(c);
    return exit != PV_EXIT_OK ? exit : start(c);
}

bool pv_client_embedded(const struct pv_client *c)
{
    return c->embedded != NULL;
}

enum pv_exit pv_client_lost(struct pv_client *c)
{
    char text[PV_UNANSWERED_TEXT];
    bool embedded = pv_client_embedded(c);
    pv_unanswered_explain(&c->unanswered, text);
    enum pv_exit exit = end(c);
    if (exit != PV_EXIT_OK)
        return exit;
    if (embedded)
        return pv_out_fail(PV_EXIT_INTERNAL, "the server in this process ended early");
    return pv_out_fail(PV_EXIT_UNAVAILABLE, "%s", text);
}

/* ---- sending ---- */

bool pv_client_room(const struct pv_client *c)
{
    return OUT_CAP - c->out_len >= FRAME_MAX;
}

bool pv_client_room_two(const struct pv_client *c)
{
    return OUT_CAP - c->out_len >= 2 * FRAME_MAX;
}

bool pv_client_idle(const struct pv_client *c)
{
    return c->out_len == 0;
}

json_int_t pv_client_send(struct pv_client *c, json_t *request)
{
    json_int_t id = ++c->next_id;
    char *place = (char *)c->out + c->out_len + PV_FRAME_HEADER_LEN;
    size_t len = 0;
    PV_ASSERT(pv_client_room(c));
    if (request != NULL && json_object_set_new(request, "id", json_integer(id)) == 0)
        len = json_dumpb(request, place, PV_CONTROL_JSON_MAX, JSON_COMPACT);
    if (len == 0 || len > PV_CONTROL_JSON_MAX) {
        json_decref(request);
        return 0;
    }
    pv_unanswered_add(&c->unanswered, id, request);
    json_decref(request);
    pv_frame_header_encode(c->out + c->out_len, PV_FRAME_MESSAGE, (uint32_t)len);
    c->out_len += PV_FRAME_HEADER_LEN + len;
    return id;
}

uint8_t *pv_client_data(struct pv_client *c)
{
    PV_ASSERT(pv_client_room(c));
    return c->out + c->out_len + PV_FRAME_HEADER_LEN + 1;
}

void pv_client_commit(struct pv_client *c, size_t len, bool is_end)
{
    uint8_t *frame = c->out + c->out_len;
    PV_ASSERT(pv_client_room(c) && len <= PV_CONTROL_DATA_MAX);
    pv_frame_header_encode(frame, PV_FRAME_STREAM, (uint32_t)len + 1);
    frame[PV_FRAME_HEADER_LEN] = is_end ? 1 : 0;
    c->out_len += PV_FRAME_HEADER_LEN + 1 + len;
}

static enum pv_err send_some(struct pv_client *c)
{
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? PV_OK : PV_E_CLOSED;
    c->out_at += (size_t)n;
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = 0;
    return PV_OK;
}

/* ---- receiving ---- */

static enum pv_err dispatch(struct pv_client *c, const struct pv_client_handler *h,
                            enum pv_frame_type type, const uint8_t *payload, size_t len)
{
    if (type == PV_FRAME_STREAM) {
        if (payload[0] > 1 || h->data == NULL)
            return PV_E_PROTOCOL;
        h->data(h->ctx, payload + 1, len - 1, payload[0] == 1);
        return PV_OK;
    }
    json_t *message = json_loadb((const char *)payload, len, 0, NULL);
    if (!json_is_object(message)) {
        json_decref(message);
        return PV_E_PROTOCOL;
    }
    pv_unanswered_note(&c->unanswered, message);
    h->message(h->ctx, message);
    json_decref(message);
    return PV_OK;
}

static enum pv_err receive_some(struct pv_client *c, const struct pv_client_handler *h)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_CAP - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return PV_OK;
    if (n <= 0)
        return PV_E_CLOSED;
    c->in_len += (size_t)n;
    size_t at = 0;
    enum pv_err err = PV_OK;
    while (err == PV_OK && c->in_len - at >= PV_FRAME_HEADER_LEN) {
        struct pv_frame_header header;
        err = pv_frame_header_decode(&header, c->in + at, 1, PV_CONTROL_JSON_MAX);
        if (err != PV_OK || c->in_len - at - PV_FRAME_HEADER_LEN < header.len)
            break;
        at += PV_FRAME_HEADER_LEN;
        err = dispatch(c, h, header.type, c->in + at, header.len);
        at += header.len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    return err;
}

enum pv_err pv_client_pump(struct pv_client *c, const struct pv_client_handler *handler,
                           int input_fd)
{
    struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = input_fd, .events = POLLIN}};
    if (!pv_client_idle(c))
        fds[0].events |= POLLOUT;
    if (poll(fds, 2, -1) < 0)
        return errno == EINTR ? PV_OK : PV_E_IO;
    enum pv_err err = PV_OK;
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) /* first: the last words before an end */
        err = receive_some(c, handler);
    if (err == PV_OK && (fds[0].revents & POLLOUT))
        err = send_some(c);
    return err;
}
