/*
 * The server owns its end of the socketpair and may end without having looked at it (a vault that
 * cannot be opened). A duplicate of that end is therefore shut down when the server has returned,
 * and the client sees the end in every case.
 */
#include "cmd/peervault/embedded.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pv_embedded {
    struct pv_access access;
    struct pv_server_config config;
    const char *peers[PV_STATIC_PEERS_MAX];
    pthread_t thread;
    int server_end;
    enum pv_err err;
    char why[PV_SETUP_TEXT_MAX];
};

static void *serve(void *arg)
{
    struct pv_embedded *e = arg;
    e->err = pv_server_run(&e->config, e->why);
    (void)shutdown(e->server_end, SHUT_RDWR);
    return NULL;
}

static void embedded_free(struct pv_embedded *e)
{
    if (e->server_end >= 0)
        (void)close(e->server_end);
    pv_access_close(&e->access);
    pv_wipe(e, sizeof *e);
    pv_free(e);
}

enum pv_exit pv_embedded_start(struct pv_embedded **out, struct pv_access *access,
                               const struct pv_cli *cli, int *fd)
{
    int pair[2];
    struct pv_embedded *e = pv_calloc(1, sizeof *e);
    if (e == NULL) {
        pv_access_close(access);
        return pv_out_no_memory();
    }
    e->access = *access;
    pv_wipe(access, sizeof *access);
    e->server_end = -1;
    (void)snprintf(e->why, sizeof e->why, "out of memory");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        enum pv_exit exit =
            pv_out_fail(PV_EXIT_FAILED, "cannot make a socket: %s", strerror(errno));
        embedded_free(e);
        return exit;
    }
    e->config = pv_access_server(&e->access, cli, e->peers);
    e->config.client_fd = pair[1];
    e->server_end = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
    int rc = e->server_end < 0 ? errno : pthread_create(&e->thread, NULL, serve, e);
    if (rc != 0) {
        enum pv_exit exit = pv_out_fail(PV_EXIT_FAILED, "cannot start a thread: %s", strerror(rc));
        (void)close(pair[0]);
        (void)close(pair[1]);
        embedded_free(e);
        return exit;
    }
    *fd = pair[0];
    *out = e;
    return PV_EXIT_OK;
}

enum pv_exit pv_embedded_stop(struct pv_embedded *e)
{
    enum pv_exit exit = PV_EXIT_OK;
    if (e == NULL)
        return exit;
    int rc = pthread_join(e->thread, NULL);
    PV_ASSERT(rc == 0);
    if (e->err != PV_OK)
        exit = pv_out_fail(pv_exit_of(e->err), "%s", e->why);
    embedded_free(e);
    return exit;
}
