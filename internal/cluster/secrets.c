#include "internal/cluster/secrets.h"

#include "internal/cluster/cluster_private.h"

#include <string.h>

struct change {
    struct pv_job job;
    struct pv_list link; /* of cluster->changes */
    struct pv_cluster *cluster;
    pv_secrets_apply apply;
    pv_secrets_done done;
    void *arg;
    enum pv_err err;
    struct pv_keyring keyring;
};

static void begin(struct change *ch);

static void save_run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct change *ch = PV_CONTAINER_OF(job, struct change, job);
    const struct pv_vault *v = ch->cluster->config.vault;
    (void)ctx;
    if (ch->err == PV_OK)
        ch->err = pv_keyring_save(&ch->keyring, v->fs, v->dir);
}

static void save_done(struct pv_job *job)
{
    struct change *ch = PV_CONTAINER_OF(job, struct change, job);
    struct pv_cluster *c = ch->cluster;
    if (ch->err == PV_OK) {
        struct pv_keyring *k = c->config.keyring;
        bool keys = k->key_count != ch->keyring.key_count ||
                    memcmp(k->keys, ch->keyring.keys, sizeof k->keys) != 0 ||
                    memcmp(&k->dedup_kid, &ch->keyring.dedup_kid, sizeof k->dedup_kid) != 0;
        *k = ch->keyring;
        if (keys && c->config.keys_changed != NULL)
            c->config.keys_changed(c->config.arg);
        if (c->config.doors_changed != NULL)
            c->config.doors_changed(c->config.arg);
    }
    pv_list_remove(&ch->link);
    if (!pv_list_empty(&c->changes))
        begin(PV_LIST_ENTRY(c->changes.next, struct change, link));
    ch->done(ch->arg, ch->err);
    pv_keyring_wipe(&ch->keyring);
    pv_free(ch);
}

/* The copy is made when its turn comes, so that it has what the change before did. */
static void begin(struct change *ch)
{
    ch->keyring = *ch->cluster->config.keyring;
    ch->err = ch->apply(&ch->keyring, ch->arg);
    ch->job.run = save_run;
    ch->job.done = save_done;
    pv_node_submit(pv_cluster_node(ch->cluster), &ch->job);
}

enum pv_err pv_secrets_change(struct pv_cluster *c, pv_secrets_apply apply, pv_secrets_done done,
                              void *arg)
{
    struct change *ch = pv_calloc(1, sizeof *ch);
    if (ch == NULL)
        return PV_E_NOMEM;
    ch->cluster = c;
    ch->apply = apply;
    ch->done = done;
    ch->arg = arg;
    bool is_first = pv_list_empty(&c->changes);
    pv_list_push_back(&c->changes, &ch->link);
    if (is_first)
        begin(ch);
    return PV_OK;
}
