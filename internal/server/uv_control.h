/*
 * The control socket's only input and output: a Unix listener, and connections that pump bytes
 * between their pipe and a control engine (control.h). Loop thread only.
 */
#ifndef PV_SERVER_UV_CONTROL_H
#define PV_SERVER_UV_CONTROL_H

#include "internal/server/control.h"
#include <uv.h>

struct pv_control_server;

/* One client more than clients_max waits, unserved, until another has gone. */
PV_MUST enum pv_err pv_control_server_new(struct pv_control_server **out, uv_loop_t *loop,
                                          const struct pv_services *services,
                                          const struct pv_env *env, unsigned clients_max);
/*
 * Binds <vault_path>/control.sock (mode 0600), replacing a stale one: only for the holder of the
 * vault lock. A path too long for a socket address is reached through /proc/self/fd/<vault_fd>.
 */
PV_MUST enum pv_err pv_control_server_listen(struct pv_control_server *s, const char *vault_path,
                                             int vault_fd);
/* Serves one connected socket; fd is taken over. ended (may be NULL) runs when it is closed. */
PV_MUST enum pv_err pv_control_server_adopt(struct pv_control_server *s, int fd,
                                            void (*ended)(void *arg), void *arg);
/* Cancels all requests, closes everything, unlinks the socket; closed runs once, later. */
void pv_control_server_close(struct pv_control_server *s, void (*closed)(void *arg), void *arg);
void pv_control_server_free(struct pv_control_server *s); /* after closed */

#endif
