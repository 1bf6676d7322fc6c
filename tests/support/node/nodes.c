/* A cluster in one process: cores, links and steps; see the header. */
#include "tests/support/node/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call)                     \
    do {                               \
        enum pv_err must_err_ = call;  \
        PV_ASSERT(must_err_ == PV_OK); \
    } while (0)

static enum pv_err no_sync(void *ctx, pv_fd fd)
{
    (void)ctx;
    (void)fd;
    return PV_OK;
}

static const struct pv_fs *unsynced_fs(void)
{
    static struct pv_fs fs;
    fs = *pv_fs_real();
    fs.sync = no_sync;
    fs.sync_all = NULL;
    return &fs;
}

/* ---- links --------------------------------------------------------------------------------- */

static struct pvt_link *find_link(struct pvt_nodes *net, pv_link number)
{
    for (unsigned i = 0; i < net->link_count; i++)
        if (net->links[i].number == number)
            return &net->links[i];
    return NULL;
}

static struct pvt_end *end_of(struct pvt_link *l, const struct pvt_node *n, bool other)
{
    unsigned mine = l->ends[0].node == n ? 0 : 1;
    return &l->ends[other ? 1 - mine : mine];
}

static void clear_input(struct pvt_end *e)
{
    while (e->in != NULL) {
        struct pvt_message *m = e->in;
        e->in = m->next;
        free(m);
    }
    e->in_tail = &e->in;
    e->in_bytes = 0;
}

static enum pv_err enqueue(struct pvt_node *n, pv_link number, const struct pvt_message *head,
                           const uint8_t *bytes, size_t len)
{
    struct pvt_link *l = find_link(n->net, number);
    if (l == NULL || l->cut || end_of(l, n, false)->gone || end_of(l, n, true)->gone)
        return PV_E_CLOSED;
    struct pvt_end *to = end_of(l, n, true);
    if (to->in_bytes + len > PV_SESSION_OUT_MAX) {
        l->ends[0].down_due = l->ends[1].down_due = true;
        return PV_E_LIMIT;
    }
    struct pvt_message *m = malloc(sizeof *m + len);
    PV_ASSERT(m != NULL);
    *m = *head;
    m->next = NULL;
    m->len = len;
    if (len > 0)
        memcpy(m->bytes, bytes, len);
    *to->in_tail = m;
    to->in_tail = &m->next;
    to->in_bytes += len;
    if (to->in_bytes >= PV_SESSION_OUT_HIGH)
        end_of(l, n, false)->was_full = true;
    return PV_OK;
}

static void io_submit(void *ctx, struct pv_job *job)
{
    struct pvt_node *n = ctx;
    job->next = NULL;
    *n->jobs_tail = job;
    n->jobs_tail = &job->next;
}

static enum pv_err io_send(void *ctx, pv_link link, const uint8_t *payload, size_t len)
{
    PV_ASSERT(len > 0 && len <= PV_FRAME_PLAIN_MAX);
    struct pvt_message m = {.type = payload[0]};
    return enqueue(ctx, link, &m, payload + 1, len - 1);
}

static enum pv_err io_send_data(void *ctx, pv_link link, uint32_t stream, uint8_t flags,
                                const uint8_t *data, size_t len)
{
    PV_ASSERT(len <= PV_STREAM_DATA_MAX);
    struct pvt_message m = {.is_data = true, .stream = stream, .flags = flags};
    return enqueue(ctx, link, &m, data, len);
}

static enum pv_err io_ping(void *ctx, pv_link link)
{
    struct pvt_node *n = ctx;
    struct pvt_link *l = find_link(n->net, link);
    if (l == NULL || end_of(l, n, false)->gone)
        return PV_E_CLOSED;
    end_of(l, n, false)->pong_due = true;
    return PV_OK;
}

static bool io_writable(void *ctx, pv_link link)
{
    struct pvt_node *n = ctx;
    struct pvt_link *l = find_link(n->net, link);
    return l != NULL && !l->cut && !end_of(l, n, false)->gone &&
           end_of(l, n, true)->in_bytes < PV_SESSION_OUT_HIGH;
}

static void io_pause(void *ctx, pv_link link, bool paused)
{
    struct pvt_node *n = ctx;
    struct pvt_link *l = find_link(n->net, link);
    if (l != NULL)
        end_of(l, n, false)->paused = paused;
}

/* What was sent before still arrives, as it does over TCP. */
static void io_drop(void *ctx, pv_link link, uint8_t goodbye)
{
    struct pvt_node *n = ctx;
    struct pvt_link *l = find_link(n->net, link);
    n->drops++;
    n->last_goodbye = goodbye;
    if (l == NULL)
        return;
    struct pvt_end *mine = end_of(l, n, false);
    clear_input(mine);
    mine->down_due = end_of(l, n, true)->down_due = true;
}

static void make_peer(struct pv_session_peer *out, const struct pvt_node *of,
                      const struct pvt_node *seen_by, const uint8_t *hash)
{
    struct pv_store_origin origin = pv_store_origin(of->store);
    memset(out, 0, sizeof *out);
    out->handshake.node_id = of->identity.node_id;
    memcpy(out->handshake.pub, of->identity.pub, PV_PUB_LEN);
    out->handshake.role = PV_ROLE_KEYED;
    out->handshake.skew_ms = (int64_t)of->env.wall_ms - (int64_t)seen_by->env.wall_ms;
    out->hello.version = PV_HELLO_VERSION;
    out->hello.role = PV_ROLE_KEYED;
    memcpy(out->hello.store_uuid, origin.uuid, sizeof origin.uuid);
    out->hello.open_count = origin.open_count;
    memcpy(out->hello.boot_random, of->boot_random, sizeof of->boot_random);
    out->keyed = memcmp(pv_keyring_active(&of->keyring)->kid.b,
                        pv_keyring_active(&seen_by->keyring)->kid.b, PV_KID_LEN) == 0;
    memcpy(out->hash, hash, PV_HASH_LEN);
}

pv_link pvt_connect(struct pvt_nodes *net, unsigned a, unsigned b)
{
    PV_ASSERT(net->link_count < PVT_LINKS_MAX && a != b);
    struct pvt_link *l = &net->links[net->link_count++];
    struct pv_session_peer peer;
    uint8_t hash[PV_HASH_LEN];
    char address[32];
    memset(l, 0, sizeof *l);
    l->number = net->link_count;
    memset(hash, (int)l->number, sizeof hash);
    for (unsigned i = 0; i < 2; i++) {
        l->ends[i].node = &net->nodes[i == 0 ? a : b];
        l->ends[i].in_tail = &l->ends[i].in;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct pvt_node *n = l->ends[i].node, *other = l->ends[1 - i].node;
        make_peer(&peer, other, n, hash);
        peer.dialled = i == 0;
        (void)snprintf(address, sizeof address, "test:%u", other->index);
        if (!l->ends[i].down_due)
            pv_node_peer_up(n->node, l->number, &peer, address);
    }
    return l->number;
}

void pvt_connect_all(struct pvt_nodes *net)
{
    for (unsigned a = 0; a < net->count; a++)
        for (unsigned b = a + 1; b < net->count; b++)
            if (net->nodes[a].up && net->nodes[b].up && !pvt_connected(net, a, b))
                (void)pvt_connect(net, a, b);
}

static bool joins(const struct pvt_link *l, const struct pvt_node *a, const struct pvt_node *b)
{
    return (l->ends[0].node == a && l->ends[1].node == b) ||
           (l->ends[0].node == b && l->ends[1].node == a);
}

static bool is_open(const struct pvt_link *l)
{
    return !l->cut && !l->ends[0].down_due && !l->ends[1].down_due && !l->ends[0].gone &&
           !l->ends[1].gone;
}

static void cut_link(struct pvt_link *l)
{
    l->cut = true;
    for (unsigned i = 0; i < 2; i++) {
        clear_input(&l->ends[i]);
        l->ends[i].down_due = !l->ends[i].gone;
    }
}

void pvt_cut(struct pvt_nodes *net, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < net->link_count; i++)
        if (joins(&net->links[i], &net->nodes[a], &net->nodes[b]) && !net->links[i].cut)
            cut_link(&net->links[i]);
}

bool pvt_connected(const struct pvt_nodes *net, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < net->link_count; i++)
        if (joins(&net->links[i], &net->nodes[a], &net->nodes[b]) && is_open(&net->links[i]))
            return true;
    return false;
}

void pvt_forgive(struct pvt_nodes *net, unsigned i)
{
    net->nodes[i].node->strikes.count = 0;
}

void pvt_inject(struct pvt_nodes *net, unsigned from, unsigned to, const uint8_t *payload,
                size_t len)
{
    for (unsigned i = 0; i < net->link_count; i++) {
        struct pvt_link *l = &net->links[i];
        if (joins(l, &net->nodes[from], &net->nodes[to]) && is_open(l)) {
            MUST(io_send(&net->nodes[from], l->number, payload, len));
            return;
        }
    }
    PV_ASSERT(!"no such link");
}

/* ---- steps --------------------------------------------------------------------------------- */

static void no_done(struct pv_commit *c)
{
    (void)c;
}

static bool run_job(struct pvt_node *n)
{
    struct pv_job *job = n->jobs;
    if (job == NULL)
        return false;
    n->jobs = job->next;
    if (n->jobs == NULL)
        n->jobs_tail = &n->jobs;
    if (job->run != NULL) {
        job->run(job, &n->ctx);
    } else {
        job->commit.done = no_done;
        job->commit.next = NULL;
        pv_commit_batch(n->store, &job->commit);
    }
    job->next = NULL;
    *n->done_tail = job;
    n->done_tail = &job->next;
    return true;
}

static bool finish_job(struct pvt_node *n)
{
    struct pv_job *job = n->done;
    if (job == NULL)
        return false;
    n->done = job->next;
    if (n->done == NULL)
        n->done_tail = &n->done;
    job->done(job);
    return true;
}

static bool deliver(struct pvt_link *l, struct pvt_end *e)
{
    struct pvt_message *m = e->in;
    struct pvt_end *from = end_of(l, e->node, true);
    if (m == NULL || e->paused || e->gone || (e->down_due && l->cut))
        return false;
    e->in = m->next;
    if (e->in == NULL)
        e->in_tail = &e->in;
    e->in_bytes -= m->len;
    e->node->net->messages++;
    if (m->is_data)
        pv_node_peer_data(e->node->node, l->number, m->stream, m->flags, m->bytes, m->len);
    else
        pv_node_peer_message(e->node->node, l->number, m->type, m->bytes, m->len);
    free(m);
    if (from->was_full && e->in_bytes < PV_SESSION_OUT_HIGH && !from->gone) {
        from->was_full = false;
        pv_node_peer_writable(from->node->node, l->number);
    }
    return true;
}

static bool step_end(struct pvt_link *l, struct pvt_end *e)
{
    if (e->gone)
        return false;
    if (e->pong_due) {
        e->pong_due = false;
        pv_node_peer_pong(e->node->node, l->number, 7);
        return true;
    }
    if (deliver(l, e))
        return true;
    if (!e->down_due)
        return false;
    e->gone = true;
    clear_input(e);
    pv_node_peer_down(e->node->node, l->number);
    return true;
}

static bool tick_due(struct pvt_node *n)
{
    if (pv_node_deadline_ms(n->node) > n->env.mono_ms)
        return false;
    pv_node_tick(n->node);
    return true;
}

/* Kinds of steps: three of each node, two of each link. */
static bool step_kind(struct pvt_nodes *net, unsigned kind)
{
    if (kind < 3 * net->count) {
        struct pvt_node *n = &net->nodes[kind / 3];
        if (!n->up)
            return false;
        return kind % 3 == 0 ? run_job(n) : kind % 3 == 1 ? finish_job(n) : tick_due(n);
    }
    kind -= 3 * net->count;
    return step_end(&net->links[kind / 2], &net->links[kind / 2].ends[kind % 2]);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

bool pvt_step(struct pvt_nodes *net)
{
    unsigned kinds = 3 * net->count + 2 * net->link_count;
    if (net->seed != 0)
        net->turn = (unsigned)(next_random(&net->seed) % kinds);
    for (unsigned i = 0; i < kinds; i++) {
        net->turn = (net->turn + 1) % kinds;
        if (!step_kind(net, net->turn))
            continue;
        net->steps++;
        for (unsigned k = 0; k < net->count; k++)
            if (net->nodes[k].up && net->nodes[k].tick != NULL)
                net->nodes[k].tick(&net->nodes[k]);
        return true;
    }
    return false;
}

bool pvt_steps(struct pvt_nodes *net, uint64_t max)
{
    for (uint64_t i = 0; i < max; i++)
        if (!pvt_step(net))
            return false;
    return true;
}

void pvt_settle(struct pvt_nodes *net)
{
    bool more = pvt_steps(net, 10000000);
    PV_ASSERT(!more); /* it goes round in circles */
}

void pvt_advance(struct pvt_nodes *net, uint64_t ms)
{
    pvt_settle(net);
    uint64_t now = net->nodes[0].env.mono_ms, target = now + ms;
    while (now < target) {
        uint64_t next = target;
        for (unsigned i = 0; i < net->count; i++) {
            struct pvt_node *n = &net->nodes[i];
            uint64_t at = n->up ? pv_node_deadline_ms(n->node) : UINT64_MAX;
            next = at < next ? at : next;
        }
        for (unsigned i = 0; i < net->count; i++)
            pvt_env_advance(&net->nodes[i].env, next - now);
        now = next;
        pvt_settle(net);
    }
}

/* ---- nodes --------------------------------------------------------------------------------- */

static void on_ready(void *arg, enum pv_err err)
{
    PV_ASSERT(err == PV_OK);
    *(bool *)arg = true;
}

static void on_closed(void *arg)
{
    ((struct pvt_node *)arg)->closed = true;
}

static void open_store(struct pvt_node *n)
{
    long pid;
    struct pv_store_config config = {.vault = &n->vault,
                                     .env = &n->env.env,
                                     .cache_bytes = 1 << 20,
                                     .reserve_bytes = n->reserve_bytes};
    MUST(pv_vault_open(&n->vault, n->vault_path, unsynced_fs()));
    MUST(pv_vault_lock(&n->vault, &pid));
    MUST(pv_store_open(&n->store, &config));
    n->ctx.store = n->store;
}

static void close_store(struct pvt_node *n)
{
    pv_store_close(n->store);
    pv_vault_close(&n->vault);
    n->store = NULL;
}

void pvt_node_start(struct pvt_node *n)
{
    bool ready = false;
    PV_ASSERT(!n->up);
    open_store(n);
    pv_env_random(&n->env.env, n->boot_random, sizeof n->boot_random);
    struct pv_node_config config = {
        .env = &n->env.env,
        .io = {n, io_submit, io_send, io_send_data, io_ping, io_writable, io_pause, io_drop, NULL},
        .keyring = &n->keyring,
        .identity = &n->identity,
        .replicas = 3,
        .inbound_bytes = 4 << 20,
        .outbound_bytes = 1 << 20,
        .hlc = pv_store_hlc(n->store),
    };
    n->jobs_tail = &n->jobs;
    n->done_tail = &n->done;
    n->closed = false;
    n->up = true;
    MUST(pv_node_new(&n->node, &config));
    pv_node_start(n->node, on_ready, &ready);
    while (run_job(n) || finish_job(n)) {
    }
    PV_ASSERT(ready);
}

void pvt_node_stop(struct pvt_node *n)
{
    PV_ASSERT(n->up);
    for (unsigned i = 0; i < n->net->link_count; i++) {
        struct pvt_link *l = &n->net->links[i];
        if (l->cut || (l->ends[0].node != n && l->ends[1].node != n))
            continue;
        cut_link(l);
        end_of(l, n, false)->gone = true;
    }
    pv_node_close(n->node, on_closed, n);
    while (run_job(n) || finish_job(n)) {
    }
    PV_ASSERT(n->closed);
    pv_node_free(n->node);
    close_store(n);
    n->node = NULL;
    n->up = false;
}

static void found(struct pvt_node *n)
{
    struct pvt_record rec;
    open_store(n);
    MUST(pv_members_found_record(rec.env, &rec.len, &n->identity, pv_hlc_next(0, n->env.wall_ms),
                                 &n->env.env));
    pvt_put(n, &rec, false);
    close_store(n);
}

void pvt_node_lose_store(struct pvt_node *n)
{
    PV_ASSERT(!n->up);
    char *path = pv_asprintf("%s+", n->vault_path);
    PV_ASSERT(path != NULL);
    pv_free(n->vault_path);
    n->vault_path = path;
    MUST(pv_vault_create(n->vault_path, unsynced_fs()));
    found(n);
}

static void node_init(struct pvt_nodes *net, unsigned index, uint8_t key_number)
{
    struct pvt_node *n = &net->nodes[index];
    uint8_t key[PV_KEY_LEN], material[PV_CHUNKER_KEY_LEN];
    n->net = net;
    n->index = index;
    pvt_tmpdir_init(&n->dir);
    n->vault_path = pv_asprintf("%s/vault", n->dir.path);
    PV_ASSERT(n->vault_path != NULL);
    pvt_env_init(&n->env, 1000 + index, net->log.log);
    MUST(pv_vault_create(n->vault_path, unsynced_fs()));
    MUST(pv_identity_create(&n->identity, unsynced_fs(), n->dir.fd, &n->env.env));
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i + key_number * 37U);
    pv_keyring_init(&n->keyring);
    MUST(pv_keyring_add_cluster_key(&n->keyring, key, n->env.wall_ms / 1000));
    pv_keys_chunker(material, pv_keyring_active(&n->keyring));
    pv_chunker_key_setup(&n->chunker_key, material);
    n->ctx = (struct pv_job_context){
        .env = &n->env.env,
        .keyring = &n->keyring,
        .identity = &n->identity,
        .chunker_key = &n->chunker_key,
    };
    found(n);
    pvt_node_start(n);
}

void pvt_nodes_init_keys(struct pvt_nodes *net, unsigned count, const uint8_t *keys)
{
    PV_ASSERT(count > 0 && count <= PVT_NODES_MAX);
    pv_crypto_init();
    memset(net, 0, sizeof *net);
    pvt_log_init(&net->log, false);
    net->count = count;
    for (unsigned i = 0; i < count; i++)
        node_init(net, i, keys[i]);
}

void pvt_nodes_init(struct pvt_nodes *net, unsigned count)
{
    static const uint8_t same[PVT_NODES_MAX];
    pvt_nodes_init_keys(net, count, same);
}

void pvt_nodes_release(struct pvt_nodes *net)
{
    for (unsigned i = 0; i < net->count; i++) {
        struct pvt_node *n = &net->nodes[i];
        if (n->up)
            pvt_node_stop(n);
        pv_keyring_wipe(&n->keyring);
        pv_identity_wipe(&n->identity);
        pvt_tmpdir_release(&n->dir);
        pv_free(n->vault_path);
    }
    for (unsigned i = 0; i < net->link_count; i++) {
        clear_input(&net->links[i].ends[0]);
        clear_input(&net->links[i].ends[1]);
    }
    pvt_log_release(&net->log);
}
