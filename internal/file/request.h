/*
 * Requests of local clients: the seam between the control socket and what answers it.
 *
 * The control connection parses a request (internal/control.md), owns this structure and hands it
 * to pv_files_request. The operation answers through the functions below; after the final reply,
 * or after cancel, it does not touch the request again. All on the loop thread.
 */
#ifndef PV_FILE_REQUEST_H
#define PV_FILE_REQUEST_H

#include "internal/base/list.h"
#include "internal/exit.h"
#include <jansson.h>
#include <stdint.h>

struct pv_request;

struct pv_request_io { /* set by the owner */
    /* Sends {"id":..} merged into message (stolen, may be NULL for out of memory). */
    void (*event)(struct pv_request *rq, json_t *message);
    void (*data)(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end);
    /* The final reply: frees the request, perhaps later. */
    void (*finish)(struct pv_request *rq, json_t *message);
    bool (*writable)(const struct pv_request *rq);     /* else wait for on_writable */
    void (*pause)(struct pv_request *rq, bool paused); /* the client's upload is not read */
};

struct pv_request_ops { /* set by the operation */
    void (*on_data)(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end);
    void (*on_writable)(struct pv_request *rq);
    /* The client is gone: stop, free op; do not answer. */
    void (*on_cancel)(struct pv_request *rq);
};

struct pv_request {
    const struct pv_request_io *io;
    void *owner;
    json_int_t id;
    json_t *args; /* the whole request object; valid until finish or cancel returns */
    const struct pv_request_ops *ops; /* NULL members: ignored (on_data: a protocol error) */
    void *op;
    struct pv_list link; /* the owner's */
};

/* {"ok":false,"exit":..,"error":..}; the text is one line, printf-like. */
void pv_request_fail(struct pv_request *rq, enum pv_exit exit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Final reply {"ok":true} merged into message (stolen). NULL, which is what jansson gives when out
 * of memory: the reply is a refusal. */
void pv_request_ok(struct pv_request *rq, json_t *message);

/* Name or target as bytes: key or key_hex. PV_E_NOT_FOUND: neither given; PV_E_INVALID. The
 * result is at most cap bytes, may contain anything but NUL, and gets a NUL after it: dst has room
 * for cap + 1. */
PV_MUST enum pv_err pv_request_bytes(const struct pv_request *rq, const char *key, char *dst,
                                     size_t cap, size_t *len);
/* *out stays as it is where key is not given. False: it is no bool. */
bool pv_request_bool(const struct pv_request *rq, const char *key, bool *out);
/* Sets name, or name_hex when the bytes are not UTF-8. */
void pv_json_set_name(json_t *object, const char *name, size_t len);

#endif
