/*
 * The entries of `ls` in pages, for commands that do something with each of very many: the next
 * page is asked for when there is room for what it brings.
 *
 *     before pumping:         if there is room   pv_listing_ask
 *     for each message:       pv_listing_take, true: it was one of the list's
 */
#ifndef PV_CMD_LISTING_H
#define PV_CMD_LISTING_H

#include "cmd/peervault/client.h"

/* What one page brings at most: the server ends one behind the job in which it has got as many as
 * were asked for. */
enum { PV_LISTING_ASKED = 256, PV_LISTING_PAGE_MAX = 2 * PV_LISTING_ASKED };

struct pv_listing {
    struct pv_client *client;
    const char *prefix;
    void (*entry)(void *ctx, const json_t *entry);
    void *ctx;
    /* private: */
    json_int_t id; /* of the page that is being listed; 0: none */
    char next[80]; /* where the one after it begins */
    /* out: */
    bool ended; /* it is all listed, or failed */
    enum pv_exit exit;
    uint64_t unreadable; /* records */
};

/* Asks for a page if none is awaited and the list goes on. False: out of memory. */
bool pv_listing_ask(struct pv_listing *l);
bool pv_listing_take(struct pv_listing *l, const json_t *message);
void pv_listing_note(const struct pv_listing *l,
                     const struct pv_cli *cli); /* of what is unreadable */

#endif
