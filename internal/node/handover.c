/*
 * Secrets that members hand to each other: a new token, and cluster keys that are to be used. Who
 * has proved one cluster key may have the others; what becomes of them here is up to the host.
 */
#include "internal/base/mem.h"
#include "internal/node/node_private.h"

#include <string.h>

/* ---- the token ---- */

/* Only a keyed member may replace the token; it has the cluster key anyway. */
enum pv_err pv_handover_on_token(struct pv_peer *p, struct pv_rd *r)
{
    const struct pv_node_io *io = &p->node->config.io;
    struct pv_msg_token token;
    enum pv_err err = pv_msg_get_token(r, &token);
    if (err == PV_OK && !pv_members_may_write(p->node, p->info.handshake.pub))
        err = PV_E_AUTH;
    if (err == PV_OK && io->token != NULL)
        io->token(io->ctx, &token);
    pv_wipe(&token, sizeof token);
    return err;
}

/* Nothing of it stays in memory. */
static void send_secret(struct pv_peer *p, struct pv_wr *w)
{
    size_t len = pv_wr_len(w);
    pv_peer_send(p, w);
    pv_wipe(p->node->scratch, len);
}

static void send_token(struct pv_peer *p)
{
    const struct pv_keyring *k = p->node->config.keyring;
    struct pv_msg_token token = {.created_s = k->tokens[0].created_s,
                                 .overlap_until_s = k->overlap_until_s};
    struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
    memcpy(token.text, k->tokens[0].text, sizeof token.text);
    pv_msg_put_token(&w, &token);
    send_secret(p, &w);
    pv_wipe(&token, sizeof token);
}

void pv_node_send_token(struct pv_node *n, pv_link link)
{
    struct pv_peer *p;
    if (n->config.keyring->token_count == 0 || pv_keyring_active(n->config.keyring) == NULL)
        return; /* a blind node is not believed */
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;)
        if (link == 0 || p->link == link)
            send_token(p);
}

/* ---- cluster keys ---- */

static bool reads(const struct pv_peer *p, const struct pv_kid *kid)
{
    for (size_t i = 0; i < p->info.proven_count; i++)
        if (memcmp(p->info.proven[i].b, kid->b, PV_KID_LEN) == 0)
            return true;
    return false;
}

/* One of those who may have all keys: it has proved one, and is a member that may write. */
static bool is_trusted(const struct pv_peer *p)
{
    return p->info.keyed && (p->info.hello.features & PV_FEATURE_KEYS) != 0 &&
           pv_members_may_write(p->node, p->info.handshake.pub);
}

static void send_key(struct pv_peer *p, const struct pv_msg_key *key)
{
    struct pv_wr w = pv_wr_of(p->node->scratch, PV_FRAME_PLAIN_MAX);
    pv_msg_put_key(&w, key);
    send_secret(p, &w);
}

void pv_node_send_keys(struct pv_node *n, pv_link link)
{
    const struct pv_keyring *k = n->config.keyring;
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;) {
        if ((link != 0 && p->link != link) || !is_trusted(p))
            continue;
        for (size_t at = 0; at < k->key_count && !p->dropped; at++) {
            const struct pv_keyring_key *e = &k->keys[at];
            struct pv_msg_key give = {.kind = PV_KEY_GIVE, .created_s = e->created_s};
            if (e->state == PV_KEY_RETIRED || reads(p, &e->keys.kid))
                continue;
            memcpy(give.cluster_key, e->keys.cluster_key, PV_KEY_LEN);
            send_key(p, &give);
            pv_wipe(&give, sizeof give);
        }
    }
}

void pv_node_end_sessions(struct pv_node *n)
{
    struct pv_peer *p;
    for (size_t i = 0; (p = pv_node_next_peer(n, &i)) != NULL;)
        pv_peer_drop(p, PV_BYE_SHUTDOWN);
}

void pv_node_have_key(struct pv_node *n, pv_link link, const struct pv_kid *kid)
{
    struct pv_msg_key have = {.kind = PV_KEY_HAVE, .kid = *kid};
    struct pv_peer *p = pv_node_peer(n, link);
    if (p == NULL || !p->admitted)
        return;
    if (!reads(p, kid) && p->info.proven_count < PV_COUNT(p->info.proven))
        p->info.proven[p->info.proven_count++] = *kid; /* it gave us the key */
    send_key(p, &have);
}

bool pv_node_peer_reads(const struct pv_node *n, pv_link link, const struct pv_kid *kid)
{
    const struct pv_peer *p = pv_node_peer(n, link);
    return p != NULL && p->admitted && reads(p, kid);
}

enum pv_err pv_handover_on_key(struct pv_peer *p, struct pv_rd *r)
{
    const struct pv_node_io *io = &p->node->config.io;
    struct pv_msg_key key;
    enum pv_err err = pv_msg_get_key(r, &key);
    if (err == PV_OK && (!is_trusted(p) || pv_keyring_active(p->node->config.keyring) == NULL))
        err = PV_E_AUTH;
    if (err == PV_OK && key.kind == PV_KEY_HAVE && !reads(p, &key.kid) &&
        p->info.proven_count < PV_COUNT(p->info.proven))
        p->info.proven[p->info.proven_count++] = key.kid;
    if (err == PV_OK && io->key != NULL)
        io->key(io->ctx, p->link, &key);
    pv_wipe(&key, sizeof key);
    return err;
}
