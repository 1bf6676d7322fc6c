/* What opens a handshake with this node: its tokens, and the invites that are out. */
#include "internal/server/uv_server_impl.h"

#include <stdio.h>
#include <string.h>

/* Stretching a passphrase takes a quarter of a second: it is done once. */
static enum pv_err derive_token(struct server *s, struct pv_token_keys *out, const char *text)
{
    const struct pv_env *env = s->config->env;
    for (size_t i = 0; i < PV_COUNT(s->derived); i++) {
        if (strcmp(s->derived[i].text, text) == 0) {
            *out = s->derived[i].keys;
            return PV_OK;
        }
    }
    bool weak = false;
    enum pv_err err = pv_token_derive(out, text, &weak);
    if (err != PV_OK)
        return err;
    if (weak)
        PV_LOG(env->log, PV_LOG_WARN, PV_SUB_MAIN,
               "the token is a short passphrase: `peervault token rotate` makes a strong one");
    s->derived[1] = s->derived[0];
    (void)snprintf(s->derived[0].text, sizeof s->derived[0].text, "%s", text);
    s->derived[0].keys = *out;
    return PV_OK;
}

/* What opens a handshake: the tokens and invites of the keyring. Those under way keep theirs. An
 * embedded server talks to nobody. */
enum pv_err pv_server_open_doors(struct server *s)
{
    const struct pv_keyring *k = &s->config->setup->keyring;
    struct pv_handshake_context *h = &s->sessions.handshake;
    struct pv_token_keys tokens[PV_HS_TOKENS_MAX];
    enum pv_err err = PV_OK;
    if (!s->config->daemon)
        return PV_OK;
    for (size_t i = 0; err == PV_OK && i < k->token_count; i++)
        err = derive_token(s, &tokens[i], k->tokens[i].text);
    if (err == PV_OK) {
        memcpy(h->tokens, tokens, sizeof h->tokens);
        h->token_count = k->token_count;
    }
    h->invite_count = k->invite_count;
    for (size_t i = 0; i < k->invite_count; i++) {
        memcpy(h->invites[i].id, k->invites[i].id, sizeof h->invites[i].id);
        pv_invite_keys(&h->invites[i].keys, k->invites[i].id, k->invites[i].secret);
    }
    pv_wipe(tokens, sizeof tokens);
    return err;
}

void pv_server_doors_changed(void *arg)
{
    struct server *s = arg;
    enum pv_err err = pv_server_open_doors(s);
    if (err != PV_OK)
        PV_LOG(s->config->env->log, PV_LOG_ERROR, PV_SUB_MAIN,
               "the tokens stay as they were until a restart", "cause", pv_err_text(err));
}
