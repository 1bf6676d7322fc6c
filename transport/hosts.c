/* A bucket for each host, found by a map, in a list by the time of its last connection. */
#include "transport/hosts.h"
#include "internal/base/throttle.h"
#include "internal/base/list.h"
#include "internal/base/map.h"
#include "internal/base/mem.h"

#include <string.h>

struct known {
    struct pv_list link;
    struct pv_host host;
    struct pv_throttle bucket;
};

struct pv_hosts {
    const struct pv_env *env;
    struct pv_map by_host;
    struct pv_list by_time; /* oldest first */
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

void pv_host_of_ipv4(struct pv_host *out, const uint8_t address[static 4])
{
    memcpy(out->b, mapped, sizeof mapped);
    memcpy(out->b + sizeof mapped, address, 4);
}

void pv_host_of_ipv6(struct pv_host *out, const uint8_t address[static 16])
{
    *out = (struct pv_host){{0}};
    memcpy(out->b, address, memcmp(address, mapped, sizeof mapped) == 0 ? 16 : 8);
}

enum pv_err pv_hosts_new(struct pv_hosts **out, const struct pv_env *env)
{
    uint64_t seed;
    struct pv_hosts *h = pv_calloc(1, sizeof *h);
    if (h == NULL)
        return PV_E_NOMEM;
    pv_env_random(env, &seed, sizeof seed);
    h->env = env;
    pv_map_init(&h->by_host, sizeof(struct pv_host), PV_HOSTS_KNOWN_MAX, seed);
    pv_list_init(&h->by_time);
    *out = h;
    return PV_OK;
}

static void forget_oldest(struct pv_hosts *h)
{
    struct known *k = PV_LIST_ENTRY(h->by_time.next, struct known, link);
    pv_list_remove(&k->link);
    pv_map_remove(&h->by_host, &k->host);
    pv_free(k);
}

void pv_hosts_free(struct pv_hosts *h)
{
    if (h == NULL)
        return;
    while (!pv_list_empty(&h->by_time))
        forget_oldest(h);
    pv_map_release(&h->by_host);
    pv_free(h);
}

static struct known *know(struct pv_hosts *h, const struct pv_host *host, uint64_t now_ms)
{
    struct known *k = pv_map_get(&h->by_host, host);
    if (k != NULL) {
        pv_list_remove(&k->link);
    } else {
        if (h->by_host.count == PV_HOSTS_KNOWN_MAX)
            forget_oldest(h);
        k = pv_calloc(1, sizeof *k);
        if (k == NULL || pv_map_put(&h->by_host, host, k) != PV_OK) {
            pv_free(k);
            return NULL;
        }
        k->host = *host;
        pv_throttle_init(&k->bucket, PV_HANDSHAKES_PER_S, PV_HANDSHAKES_BURST, now_ms);
    }
    pv_list_push_back(&h->by_time, &k->link);
    return k;
}

bool pv_hosts_admit(struct pv_hosts *h, const struct pv_host *host)
{
    uint64_t now_ms = pv_env_mono_ms(h->env);
    struct known *k = know(h, host, now_ms);
    if (k == NULL || pv_throttle_has(&k->bucket, now_ms) == 0)
        return false;
    pv_throttle_take(&k->bucket, 1, now_ms);
    return true;
}
