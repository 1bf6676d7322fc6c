/* What `status` and `peers` say of the server itself. */
#include "internal/server/uv_server_impl.h"

#include <string.h>
#include <unistd.h>

static json_t *describe_confined(const struct pv_confined *c)
{
    char text[PV_CONFINED_TEXT_MAX];
    pv_confined_text(text, c);
    return json_pack("{s:i, s:b, s:b, s:I, s:s}", "landlock", (int)c->landlock, "seccomp",
                     (int)c->seccomp, "no_new_privileges", (int)c->no_new_privs, "capabilities",
                     (json_int_t)c->capabilities, "text", text);
}

static json_t *describe_bandwidth(const struct pv_bandwidth *b)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:b}", "up", (json_int_t)b->up, "down",
                     (json_int_t)b->down, "peer_up", (json_int_t)b->peer_up, "peer_down",
                     (json_int_t)b->peer_down, "lan", (int)(b->lan != 0));
}

void pv_server_describe_status(void *arg, json_t *status)
{
    struct server *s = arg;
    const struct pv_server_config *c = s->config;
    json_object_set_new(status, "version", json_string(PV_VERSION));
    json_object_set_new(status, "daemon", json_boolean(c->daemon));
    json_object_set_new(status, "pid", json_integer(getpid()));
    uint64_t up_ms = pv_env_mono_ms(c->env) - s->started_ms;
    json_object_set_new(status, "uptime_s", json_integer((json_int_t)(up_ms / 1000)));
    const char *listening = s->tcp == NULL ? NULL : pv_tcp_listening(s->tcp);
    if (listening != NULL)
        json_object_set_new(status, "listen", json_string(listening));
    pv_json_set_name(status, c->vault_path, strlen(c->vault_path));
    json_object_set(status, "vault", json_object_get(status, "name"));
    json_object_del(status, "name");
    json_object_set_new(status, "role", json_string(pv_role_name(c->role)));
    const struct pv_id *twice_by = pv_node_said_twice_by(s->node);
    if (twice_by != NULL) {
        char text[PV_NODE_TEXT_LEN];
        pv_node_id_format(text, twice_by);
        json_object_set_new(status, "said_twice_by", json_string(text));
    }
    json_object_set_new(status, "mem_limit_bytes", json_integer((json_int_t)c->mem_limit_bytes));
    json_object_set_new(status, "bandwidth", describe_bandwidth(&s->bandwidth));
    json_object_set_new(status, "disk_limit", json_integer((json_int_t)s->disk_limit_bytes));
    if (c->confined != NULL)
        json_object_set_new(status, "confined", describe_confined(c->confined));
}

void pv_server_describe_link(void *arg, pv_link link, json_t *peer)
{
    struct server *s = arg;
    struct pv_tcp_traffic traffic;
    if (s->tcp == NULL || !pv_tcp_traffic(s->tcp, link, &traffic))
        return;
    json_object_set_new(peer, "skew_ms", json_integer((json_int_t)traffic.skew_ms));
    json_object_set_new(peer, "in_bytes", json_integer((json_int_t)traffic.in_bytes));
    json_object_set_new(peer, "out_bytes", json_integer((json_int_t)traffic.out_bytes));
    json_object_set_new(peer, "in_rate", json_integer((json_int_t)traffic.in_rate));
    json_object_set_new(peer, "out_rate", json_integer((json_int_t)traffic.out_rate));
}

static bool is_text(const json_t *o, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(o, key));
    return value != NULL && strcmp(value, text) == 0;
}

/* A member at addresses of its own record: it is in the list already, where it is not connected. */
static void describe_learned(json_t *peers, const struct pv_tcp_peer_status *st)
{
    char text[PV_NODE_TEXT_LEN];
    size_t i;
    json_t *p;
    pv_node_id_format(text, st->node_id);
    json_array_foreach(peers, i, p)
    {
        if (!is_text(p, "node", text) || !is_text(p, "state", "absent"))
            continue;
        json_object_set_new(p, "address", json_string(st->address));
        if (st->last_error != NULL)
            json_object_set_new(p, "last_error", json_string(st->last_error));
    }
}

/* Configured addresses behind which no member is connected. */
void pv_server_describe_peers(void *arg, json_t *peers)
{
    struct server *s = arg;
    size_t count = s->tcp == NULL ? 0 : pv_tcp_peer_count(s->tcp);
    for (size_t i = 0; i < count; i++) {
        struct pv_tcp_peer_status st;
        pv_tcp_peer_status(s->tcp, i, &st);
        if (st.connected || st.retired)
            continue;
        if (st.learned) {
            describe_learned(peers, &st);
            continue;
        }
        json_t *p = json_object();
        json_object_set_new(p, "address", json_string(st.address));
        json_object_set_new(p, "state", json_string(st.next_dial_ms == 0 ? "dialling" : "waiting"));
        if (st.node_id != NULL) {
            char text[PV_NODE_TEXT_LEN];
            pv_node_id_format(text, st.node_id);
            json_object_set_new(p, "node", json_string(text));
        }
        if (st.last_error != NULL)
            json_object_set_new(p, "last_error", json_string(st.last_error));
        json_array_append_new(peers, p);
    }
}
