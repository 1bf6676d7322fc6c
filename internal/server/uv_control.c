/*
 * A connection: read -> pv_control_feed; whenever the engine changed, an idle-turn later, output is
 * taken and written, and reading follows pv_control_wants_input. One write at a time, from a buffer
 * that is swapped with the engine's. A closed pipe frees the engine (which cancels its requests) at
 * once, and the connection in the close callback.
 *
 * With as many clients as may be, the next one is left with the listener: libuv holds it and takes
 * no other until we do. Those behind it wait in the socket's backlog, or in connect.
 */
#include "internal/server/uv_control.h"

#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct pv_control_server {
    uv_loop_t *loop;
    struct pv_services services;
    const struct pv_env *env;
    uv_pipe_t listener;
    bool listening;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    struct pv_list connections;
    unsigned count, max;
    bool waits; /* the listener has a client that is not accepted yet, and holds back the others */
    uv_check_t check; /* runs after the callbacks of a turn: pumps what changed */
    uv_idle_t idle;   /* active while something changed, so that the turn does not block */
    unsigned handles; /* still open, when closing */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    char scratch[65536];
};

struct connection {
    struct pv_control_server *server;
    struct pv_list link;
    uv_pipe_t pipe;
    uv_write_t write;
    bool writing, reading, changed, closing;
    struct pv_control *control;
    struct pv_buf sending;
    void (*ended)(void *arg);
    void *ended_arg;
};

static void handle_closed(struct pv_control_server *s)
{
    s->handles--;
    if (s->closing && s->handles == 0)
        s->closed(s->closed_arg);
}

static void on_connection_closed(uv_handle_t *h)
{
    struct connection *c = h->data;
    struct pv_control_server *s = c->server;
    void (*ended)(void *arg) = c->ended;
    void *arg = c->ended_arg;
    pv_buf_release(&c->sending);
    pv_free(c);
    if (ended != NULL)
        ended(arg);
    handle_closed(s);
}

static void on_idle(uv_idle_t *h)
{
    (void)h; /* it only keeps the loop from blocking before the next check */
}

static void connection_close(struct connection *c)
{
    struct pv_control_server *s = c->server;
    if (c->closing)
        return;
    c->closing = true;
    pv_control_free(c->control);
    c->control = NULL;
    pv_list_remove(&c->link);
    s->count--;
    if (s->waits && !s->closing)
        uv_idle_start(&s->idle, on_idle);
    uv_close((uv_handle_t *)&c->pipe, on_connection_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct connection *c = h->data;
    *buf = uv_buf_init(c->server->scratch, sizeof c->server->scratch);
}

static void stop_reading(struct connection *c)
{
    if (c->reading && uv_read_stop((uv_stream_t *)&c->pipe) == 0)
        c->reading = false;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (c->closing || n == 0)
        return;
    if (n < 0 || pv_control_feed(c->control, (const uint8_t *)buf->base, (size_t)n) != PV_OK)
        connection_close(c);
    else if (!pv_control_wants_input(c->control))
        stop_reading(c); /* at once: libuv would read on, many times in this turn */
}

static void changed(void *ctx)
{
    struct connection *c = ctx;
    c->changed = true;
    if (!c->server->closing)
        uv_idle_start(&c->server->idle, on_idle);
}

static void on_written(uv_write_t *req, int status)
{
    struct connection *c = req->data;
    c->writing = false;
    pv_buf_reset(&c->sending);
    if (c->closing)
        return;
    if (status != 0) {
        connection_close(c);
        return;
    }
    pv_control_drained(c->control);
    changed(c);
}

static void pump(struct connection *c)
{
    c->changed = false;
    /* Frames that waited in the engine's buffer while input was not wanted. */
    if (pv_control_feed(c->control, (const uint8_t *)"", 0) != PV_OK) {
        connection_close(c);
        return;
    }
    if (!c->writing && pv_control_take_output(c->control, &c->sending)) {
        uv_buf_t buf = uv_buf_init((char *)c->sending.data, (unsigned)c->sending.len);
        c->write.data = c;
        c->writing = uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written) == 0;
        if (!c->writing) {
            connection_close(c);
            return;
        }
    }
    bool want = pv_control_wants_input(c->control);
    if (want && !c->reading)
        c->reading = uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) == 0;
    else if (!want)
        stop_reading(c);
}

/* Peer credentials: this user or root, whatever the file's mode says. */
static bool peer_allowed(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == 0 || cred.uid == geteuid());
}

/* A connection whose pipe handle is initialised but not yet open; NULL: out of memory. */
static struct connection *connection_new(struct pv_control_server *s)
{
    struct connection *c = pv_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    struct pv_control_io io = {.ctx = c, .changed = changed};
    if (pv_control_new(&c->control, &s->services, &io, s->env) != PV_OK) {
        pv_free(c);
        return NULL;
    }
    c->server = s;
    pv_buf_init(&c->sending, SIZE_MAX / 2);   /* swapped with the engine's, which has the limit */
    (void)uv_pipe_init(s->loop, &c->pipe, 0); /* cannot fail for this kind of handle */
    c->pipe.data = c;
    s->handles++;
    s->count++;
    pv_list_push_back(&s->connections, &c->link);
    return c;
}

/* Without memory it waits, too. */
static void accept_one(struct pv_control_server *s)
{
    struct connection *c = connection_new(s);
    s->waits = c == NULL;
    if (c == NULL)
        return;
    int fd = -1;
    if (uv_accept((uv_stream_t *)&s->listener, (uv_stream_t *)&c->pipe) != 0 ||
        uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0) {
        connection_close(c);
    } else if (!peer_allowed(fd)) {
        PV_LOG(s->env->log, PV_LOG_WARN, PV_SUB_CONTROL, "client refused", "cause", "other user");
        connection_close(c);
    } else {
        changed(c);
    }
}

static void on_client(uv_stream_t *listener, int status)
{
    struct pv_control_server *s = listener->data;
    if (status != 0 || s->closing)
        return;
    s->waits = s->count >= s->max;
    if (!s->waits)
        accept_one(s);
}

static void on_check(uv_check_t *h)
{
    struct pv_control_server *s = h->data;
    uv_idle_stop(&s->idle);
    PV_LIST_EACH(&s->connections, e)
    {
        struct connection *c = PV_LIST_ENTRY(e, struct connection, link);
        if (c->changed)
            pump(c);
    }
    if (s->waits && s->count < s->max && !s->closing)
        accept_one(s);
}

enum pv_err pv_control_server_new(struct pv_control_server **out, uv_loop_t *loop,
                                  const struct pv_services *services, const struct pv_env *env,
                                  unsigned clients_max)
{
    struct pv_control_server *s = pv_calloc(1, sizeof *s);
    if (s == NULL)
        return PV_E_NOMEM;
    s->loop = loop;
    s->services = *services;
    s->env = env;
    s->max = clients_max;
    pv_list_init(&s->connections);
    uv_check_init(loop, &s->check);
    uv_idle_init(loop, &s->idle);
    uv_pipe_init(loop, &s->listener, 0);
    s->check.data = s->idle.data = s->listener.data = s;
    s->handles = 3;
    uv_check_start(&s->check, on_check);
    *out = s;
    return PV_OK;
}

enum pv_err pv_control_server_listen(struct pv_control_server *s, const char *vault_path,
                                     int vault_fd)
{
    int n = snprintf(s->path, sizeof s->path, "%s/control.sock", vault_path);
    if (n < 0 || (size_t)n >= sizeof s->path)
        (void)snprintf(s->path, sizeof s->path, "/proc/self/fd/%d/control.sock", vault_fd);
    (void)unlink(s->path); /* stale: its daemon had the lock that we hold now */
    mode_t before = umask(0177);
    int rc = uv_pipe_bind(&s->listener, s->path);
    (void)umask(before);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, 64, on_client);
    s->listening = rc == 0;
    return rc == 0 ? PV_OK : pv_err_from_errno(-rc);
}

enum pv_err pv_control_server_adopt(struct pv_control_server *s, int fd, void (*ended)(void *arg),
                                    void *arg)
{
    struct connection *c = connection_new(s);
    int rc = c == NULL ? UV_ENOMEM : uv_pipe_open(&c->pipe, fd);
    if (rc != 0) {
        (void)close(fd);
        if (c != NULL)
            connection_close(c);
        return pv_err_from_errno(-rc);
    }
    c->ended = ended;
    c->ended_arg = arg;
    changed(c);
    return PV_OK;
}

static void on_handle_closed(uv_handle_t *h)
{
    handle_closed(h->data);
}

void pv_control_server_close(struct pv_control_server *s, void (*closed)(void *arg), void *arg)
{
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    while (!pv_list_empty(&s->connections))
        connection_close(PV_LIST_ENTRY(s->connections.next, struct connection, link));
    if (s->listening)
        (void)unlink(s->path);
    uv_close((uv_handle_t *)&s->listener, on_handle_closed);
    uv_close((uv_handle_t *)&s->check, on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, on_handle_closed);
}

void pv_control_server_free(struct pv_control_server *s)
{
    pv_free(s);
}
