/* invite: a code that lets one machine join. */
#include "internal/cluster/cluster_private.h"
#include "internal/cluster/secrets.h"
#include "internal/config_value.h"

#include <stdio.h>

enum { TTL_S_DEFAULT = 3600, TTL_S_MAX = 30 * 24 * 3600, CODE_MAX = 1024 };

struct invitation {
    struct pv_cluster *cluster;
    struct pv_request *rq; /* NULL: cancelled; the invite lapses by itself */
    struct pv_invite invite;
    bool confirm;
    char code[CODE_MAX];
};

static enum pv_err add(struct pv_keyring *k, void *arg)
{
    struct invitation *v = arg;
    pv_keyring_drop_invites(k, pv_env_wall_s(pv_cluster_env(v->cluster)));
    enum pv_err err = pv_keyring_add_invite(k, &v->invite);
    if (err == PV_OK)
        pv_keyring_find_invite(k, v->invite.id)->confirm = v->confirm;
    return err;
}

static void added(void *arg, enum pv_err err)
{
    struct invitation *v = arg;
    struct pv_request *rq = v->rq;
    if (rq != NULL && err == PV_OK)
        pv_request_ok(rq, json_pack("{s:s, s:s, s:I}", "code", v->code, "role",
                                    pv_role_name(v->invite.role), "expires_ms",
                                    (json_int_t)v->invite.expires_s * 1000));
    else if (rq != NULL && err == PV_E_LIMIT)
        pv_request_fail(rq, PV_EXIT_FAILED, "%d invites are open: wait until one has expired",
                        PV_INVITES_MAX);
    else if (rq != NULL)
        pv_request_fail(rq, pv_exit_of(err), "the keyring could not be written: %s",
                        pv_err_text(err));
    pv_wipe(v, sizeof *v);
    pv_free(v);
}

static void on_cancel(struct pv_request *rq)
{
    struct invitation *v = rq->op;
    v->rq = NULL;
}

static const struct pv_request_ops ops = {.on_cancel = on_cancel};

/* The code, and where to go with it. False: nowhere, or no room. */
static bool write_code(struct invitation *v, const char *address)
{
    struct pv_address_body list = {.count = 0};
    const struct pv_cluster_config *config = &v->cluster->config;
    char digits[PV_INVITE_TEXT_LEN + 1];
    if (address == NULL && config->own_addresses != NULL)
        config->own_addresses(config->arg, &list);
    if (address != NULL)
        (void)snprintf(list.addresses[list.count++], sizeof list.addresses[0], "%s", address);
    pv_invite_format(digits, &v->invite);
    int len = snprintf(v->code, sizeof v->code, "%s@", digits);
    pv_wipe(digits, sizeof digits);
    for (size_t i = 0; i < list.count && len >= 0 && (size_t)len < sizeof v->code; i++)
        len += snprintf(v->code + len, sizeof v->code - (size_t)len, "%s%s", i > 0 ? "," : "",
                        list.addresses[i]);
    return list.count > 0 && len >= 0 && (size_t)len < sizeof v->code;
}

static bool parse(struct invitation *v, const json_t *args)
{
    uint8_t role = pv_role_find(json_string_value(json_object_get(args, "role")));
    const json_t *ttl = json_object_get(args, "ttl_s");
    json_int_t ttl_s = ttl == NULL ? TTL_S_DEFAULT : json_integer_value(ttl);
    if (role == 0 || ttl_s < 1 || ttl_s > TTL_S_MAX)
        return false;
    v->confirm = json_is_true(json_object_get(args, "confirm"));
    const struct pv_env *env = pv_cluster_env(v->cluster);
    const struct pv_node *n = pv_cluster_node(v->cluster);
    pv_invite_make(&v->invite, role, &pv_node_config(n)->identity->node_id,
                   pv_env_wall_s(env) + (uint64_t)ttl_s, env);
    return true;
}

void pv_query_invite(struct pv_cluster *c, struct pv_request *rq)
{
    const char *address = json_string_value(json_object_get(rq->args, "address"));
    struct invitation *v = NULL;
    if (pv_keyring_active(pv_node_config(pv_cluster_node(c))->keyring) == NULL) {
        pv_request_fail(rq, PV_EXIT_DENIED, "a blind node cannot invite: ask a keyed one");
        return;
    }
    if (address != NULL && pv_address_form(address, 1) != PV_OK) {
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed address: it must be HOST:PORT");
        return;
    }
    v = pv_calloc(1, sizeof *v);
    if (v == NULL) {
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
        return;
    }
    v->cluster = c;
    v->rq = rq;
    rq->op = v;
    rq->ops = &ops;
    if (!parse(v, rq->args))
        pv_request_fail(rq, PV_EXIT_USAGE, "malformed: role keyed or blind, up to 30 days");
    else if (!write_code(v, address))
        pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                        "nobody could reach this node: a daemon must run and listen; or say where "
                        "with --address");
    else if (pv_secrets_change(c, add, added, v) == PV_OK)
        return;
    else
        pv_request_fail(rq, PV_EXIT_FAILED, "out of memory");
    pv_wipe(v, sizeof *v);
    pv_free(v);
}
