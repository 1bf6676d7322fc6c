/*
 * The keyring belongs to the loop's thread, which changes it. Jobs read a copy: each change makes
 * another one, and those before stay until the end, since jobs and uploads may still use them. Keys
 * change a few times in a rotation.
 */
#include "internal/server/uv_server_impl.h"

struct job_keys {
    struct job_keys *next;
    struct pv_keyring keyring;
    struct pv_chunker_key chunker_key;
};

enum pv_err pv_server_take_keys(struct server *s)
{
    struct job_keys *keys = pv_calloc(1, sizeof *keys);
    uint8_t material[PV_CHUNKER_KEY_LEN];
    if (keys == NULL)
        return PV_E_NOMEM;
    keys->keyring = s->config->setup->keyring;
    const struct pv_cluster_keys *dedup = pv_keyring_dedup(&keys->keyring);
    if (dedup != NULL) {
        pv_keys_chunker(material, dedup);
        pv_chunker_key_setup(&keys->chunker_key, material);
        pv_wipe(material, sizeof material);
    }
    keys->next = s->job_keys;
    s->job_keys = keys;
    s->jobs.keyring = &keys->keyring;
    s->jobs.chunker_key = dedup != NULL ? &keys->chunker_key : NULL;
    return PV_OK;
}

void pv_server_prove_keys(struct server *s)
{
    const struct pv_keyring *k = &s->config->setup->keyring;
    s->sessions.readable = s->readable;
    s->sessions.readable_count = 0;
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state != PV_KEY_RETIRED)
            s->readable[s->sessions.readable_count++] = &k->keys[i].keys;
}

void pv_server_keys_changed(void *arg)
{
    struct server *s = arg;
    if (pv_server_take_keys(s) == PV_OK)
        pv_pool_set_context(s->pool, &s->jobs);
    else
        PV_LOG(s->config->env->log, PV_LOG_ERROR, PV_SUB_MAIN,
               "no memory: cluster keys are used as they were until a restart");
    pv_server_prove_keys(s);
}

void pv_server_free_keys(struct server *s)
{
    while (s->job_keys != NULL) {
        struct job_keys *keys = s->job_keys;
        s->job_keys = keys->next;
        pv_wipe(keys, sizeof *keys);
        pv_free(keys);
    }
}
