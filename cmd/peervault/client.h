/*
 * The client's side of the control socket (internal/control.md): to the daemon of the vault, or to
 * a server in this process when there is none.
 *
 *   open -> (call | send, data..., pump...)... -> close
 *
 * Nothing here blocks while the server waits for us: pump sends and receives in one poll. What is
 * sent is queued; before queueing, look whether there is room.
 */
#ifndef PV_CMD_CLIENT_H
#define PV_CMD_CLIENT_H

#include "cmd/peervault/cli.h"
#include <jansson.h>

enum {
    PV_CLIENT_EMBED = 1,  /* no daemon: serve the vault in this process; else exit 5 */
    PV_CLIENT_CREATE = 2, /* no vault: make one */
};

struct pv_client;

/* Errors are said. Waits up to 10 s for a vault that another process uses without a daemon. */
enum pv_exit pv_client_open(struct pv_client **out, const struct pv_cli *cli, int flags);
/* Ends the connection and, when embedded, waits for the server. exit: what the command would
 * return; an end in failure replaces OK. c may be NULL. */
enum pv_exit pv_client_close(struct pv_client *c, enum pv_exit exit);
/* Cancels what is unfinished and connects anew. On errors c can only be closed. */
enum pv_exit pv_client_reopen(struct pv_client *c);
/*
 * For a process that runs many commands: from now on (true) a connection to a daemon that has
 * nothing unanswered is kept by close, and is what the next open gives. False: and not any more; a
 * kept one ends.
 */
void pv_client_keep(bool keep);
bool pv_client_keeps(void);
bool pv_client_embedded(const struct pv_client *c);
/* Whether a daemon answers on the vault at this moment. Says nothing. */
bool pv_client_reachable(const char *vault);

/* One request at a time: sends it, hands its events to on_event (may be NULL), returns its final
 * reply, good or not, through *reply (to be released). Not OK: the connection ended; said. */
enum pv_exit pv_client_call(struct pv_client *c, json_t *request,
                            void (*on_event)(void *ctx, const json_t *event), void *ctx,
                            json_t **reply);

/* The same for replies with values: bytes are NULL where an event has none. */
typedef void (*pv_client_event_fn)(void *ctx, const json_t *event, const uint8_t *bytes,
                                   size_t len);
enum pv_exit pv_client_call_values(struct pv_client *c, json_t *request,
                                   pv_client_event_fn on_event, void *ctx, json_t **reply);

/* A question that makes no sense without a daemon, over a connection of its own. What goes wrong is
 * said, of subject if it is not NULL; *reply, NULL before, is to be released in any case. */
enum pv_exit pv_client_ask_daemon(const struct pv_cli *cli, json_t *request,
                                  void (*on_event)(void *ctx, const json_t *event), void *ctx,
                                  const char *subject, json_t **reply);

/* ---- several requests at once, and data ---- */

struct pv_client_handler {
    void *ctx;
    void (*message)(void *ctx, const json_t *message);
    void (*data)(void *ctx, const uint8_t *bytes, size_t len, bool end); /* may be NULL */
};

bool pv_client_room(const struct pv_client *c);     /* for one frame of any size */
bool pv_client_room_two(const struct pv_client *c); /* for a request and a value */
bool pv_client_idle(const struct pv_client *c);     /* everything queued has been sent */
/* Queues a request (stolen) and tells its id. OUT OF MEMORY gives 0. Needs room. */
json_int_t pv_client_send(struct pv_client *c, json_t *request);
/* Data without a copy: fill up to PV_CONTROL_DATA_MAX bytes at the place, then commit. Needs room.
 */
uint8_t *pv_client_data(struct pv_client *c);
void pv_client_commit(struct pv_client *c, size_t len, bool end);
/*
 * Waits until something was sent or received, or input_fd (-1: none) can be read, and handles what
 * came. CLOSED, PROTOCOL: the connection is of no use any more; pv_client_lost says so.
 */
PV_MUST enum pv_err pv_client_pump(struct pv_client *c, const struct pv_client_handler *handler,
                                   int input_fd);
/* Ends a connection that pump gave up, and says what that means for what was asked. */
enum pv_exit pv_client_lost(struct pv_client *c);

/* ---- requests and replies ---- */

/* Sets key, or key_hex when the bytes are not UTF-8. False: out of memory. */
bool pv_json_set_bytes(json_t *object, const char *key, const char *bytes);
bool pv_json_set_value(json_t *object, const char *key, const void *bytes, size_t len);
/* OK, or the error of a final reply as a line ("subject: ..." when not NULL), with candidates. */
enum pv_exit pv_reply_exit(const json_t *reply, const char *subject);
/* Takes out of a reply or an event what belongs to the protocol: id, ok, event. */
void pv_message_strip(json_t *message);
const char *pv_json_text(const json_t *object, const char *key); /* "" when not there */
json_int_t pv_json_int(const json_t *object, const char *key);   /* 0 when not there */
/* What set_bytes set, as bytes with a NUL behind; NULL when it is not there. To be freed. */
char *pv_json_bytes(const json_t *object, const char *key, size_t *len);
/* A file's name in an entry, in the same way. */
char *pv_json_name(const json_t *object, size_t *len);

#endif
