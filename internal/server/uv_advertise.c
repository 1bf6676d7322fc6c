/*
 * Where other members can reach this node: what the operator says, else the address listened on,
 * else, where that is "all of them", those that the machine's interfaces have now. Behind a router
 * that translates addresses only the operator knows.
 */
#include "internal/node/addresses.h"
#include "internal/server/uv_server_impl.h"
#include "transport/address.h"

#include <stdio.h>
#include <string.h>

static void add(struct pv_address_body *to, const char *text)
{
    size_t len = strlen(text);
    if (to->count < PV_ADDRESSES_MAX && len <= PV_ADDRESS_MAX)
        memcpy(to->addresses[to->count++], text, len + 1);
}

/* One that only this machine, or only its link, knows is of no use to others. */
static bool is_of_use(const uv_interface_address_t *i, bool v6_too)
{
    if (i->is_internal)
        return false;
    if (i->address.address4.sin_family == AF_INET)
        return ntohl(i->address.address4.sin_addr.s_addr) >> 16 != 0xa9fe;
    return v6_too && i->address.address4.sin_family == AF_INET6 &&
           !IN6_IS_ADDR_LINKLOCAL(&i->address.address6.sin6_addr);
}

static void add_interfaces(struct pv_address_body *to, uint16_t port, bool v6_too)
{
    uv_interface_address_t *all;
    int count;
    if (uv_interface_addresses(&all, &count) != 0)
        return; /* a filter of system calls may not allow it */
    for (int i = 0; i < count; i++) {
        char host[INET6_ADDRSTRLEN], text[PV_ADDRESS_TEXT_LEN];
        const struct sockaddr *a = (const struct sockaddr *)&all[i].address;
        if (!is_of_use(&all[i], v6_too) || uv_ip_name(a, host, sizeof host) != 0)
            continue;
        pv_address_format(text, host, port);
        add(to, text);
    }
    uv_free_interface_addresses(all, count);
}

void pv_server_own_addresses(void *arg, struct pv_address_body *out)
{
    const struct server *s = arg;
    const struct pv_server_config *c = s->config;
    const char *listening = s->tcp == NULL ? NULL : pv_tcp_listening(s->tcp);
    struct pv_address at;
    bool none = c->advertise_count == 1 && strcmp(c->advertise[0], "none") == 0;
    for (size_t i = 0; i < c->advertise_count && !none; i++)
        add(out, c->advertise[i]);
    if (c->advertise_count == 0 && listening != NULL && pv_address_parse(&at, listening) == PV_OK) {
        bool all_v6 = strcmp(at.host, "::") == 0;
        if (all_v6 || strcmp(at.host, "0.0.0.0") == 0)
            add_interfaces(out, at.port, all_v6);
        else
            add(out, listening);
    }
}

void pv_server_advertise(struct server *s)
{
    struct pv_address_body self = {.capacity_bytes = s->disk_limit_bytes};
    pv_server_own_addresses(s, &self);
    pv_node_advertise(s->node, &self);
}

void pv_server_member_addresses(void *arg, struct pv_address_body *out)
{
    const struct server *s = arg;
    pv_server_own_addresses(arg, out);
    size_t count = s->tcp == NULL ? 0 : pv_tcp_peer_count(s->tcp);
    for (size_t i = 0; i < count; i++) {
        struct pv_tcp_peer_status st;
        pv_tcp_peer_status(s->tcp, i, &st);
        if (st.connected)
            add(out, st.address);
    }
}
