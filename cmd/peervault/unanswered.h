/*
 * What a client has asked and got no final reply to: whose names an error can tell when the
 * connection is lost.
 */
#ifndef PV_CMD_UNANSWERED_H
#define PV_CMD_UNANSWERED_H

#include <jansson.h>
#include <stdbool.h>

enum {
    PV_UNANSWERED_MAX = 64,   /* as many as a server has open at once; further ones are forgotten */
    PV_UNANSWERED_TEXT = 6000 /* a sentence with a name of 4 KiB */
};

struct pv_unanswered {
    struct pv_question {
        json_int_t id;
        char op[8];
        char *subject; /* a target or a name; NULL: none */
        bool durable;  /* of a store: the file itself is safe */
    } items[PV_UNANSWERED_MAX];
    size_t count; /* in the order in which they were asked */
};

void pv_unanswered_add(struct pv_unanswered *u, json_int_t id, const json_t *request);
void pv_unanswered_note(struct pv_unanswered *u, const json_t *message); /* one from the server */
void pv_unanswered_clear(struct pv_unanswered *u);

/* What the loss of the daemon means for the first of them, and what to do, as one line. */
void pv_unanswered_explain(const struct pv_unanswered *u, char out[static PV_UNANSWERED_TEXT]);

#endif
