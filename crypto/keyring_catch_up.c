/* Keys that are there already stay as they are, unless one of them is active now; so nothing that
 * could be read before becomes unreadable. */
#include "crypto/keyring.h"

static enum pv_err take_key(struct pv_keyring *k, const struct pv_keyring_key *granted)
{
    enum pv_err err =
        pv_keyring_add_key(k, granted->keys.cluster_key, granted->state, granted->created_s);
    if (err != PV_E_EXISTS)
        return err;
    return granted->state == PV_KEY_ACTIVE ? pv_keyring_activate(k, &granted->keys.kid) : PV_OK;
}

static enum pv_err take_token(struct pv_keyring *k, const struct pv_keyring_token *granted)
{
    if (k->token_count > 0 && k->tokens[0].created_s > granted->created_s)
        return PV_OK;
    enum pv_err err = pv_keyring_add_token(k, granted->text, granted->created_s);
    if (err == PV_OK)
        pv_keyring_drop_old_tokens(k);
    return err == PV_E_EXISTS ? PV_OK : err;
}

enum pv_err pv_keyring_catch_up(struct pv_keyring *k, const struct pv_keyring *granted)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; err == PV_OK && i < granted->key_count; i++)
        err = take_key(k, &granted->keys[i]);
    if (err == PV_OK && granted->key_count > 0)
        err = pv_keyring_set_dedup(k, &granted->dedup_kid);
    return err == PV_OK && granted->token_count > 0 ? take_token(k, &granted->tokens[0]) : err;
}
