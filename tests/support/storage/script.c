/* What happens in a world, and the model of it. */
#include "tests/support/storage/world_private.h"
#include "crypto/blob.h"
#include "crypto/hash.h"
#include "storage/check.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- the cast ---- */

enum { FILE_A = 0, NAME_A = 1, MEMBER = 2, FILE_B = 3, NAME_B = 4, TRY_OUT = PVT_REGISTERS - 1 };

static const uint8_t types[PVT_REGISTERS] = {
    [FILE_A] = PV_RECORD_FILE, [NAME_A] = PV_RECORD_NAME,  [MEMBER] = PV_RECORD_MEMBER,
    [FILE_B] = PV_RECORD_FILE, [NAME_B] = PV_RECORD_NAME,  [5] = PV_RECORD_ADDRESS,
    [6] = PV_RECORD_CLUSTER,   [TRY_OUT] = PV_RECORD_FILE,
};

/* Rows and files by turns; some rows are long, so that the log gets long. */
static const uint32_t blob_lens[PVT_BLOBS] = {
    1000, 66000, 70000, 3000,  67000, 66000, 500,   30000, 30000, 30000, 30000, 30000,
    900,  5000,  66500, 66000, 700,   65536, 65535, 400,   66000, 66000, 800,   68000,
};

static void make_blob(struct pvt_cast_blob *b, unsigned no)
{
    uint64_t x = no * UINT64_C(0x9e3779b97f4a7c15) + 1;
    b->len = blob_lens[no];
    b->bytes = malloc(b->len);
    PV_ASSERT(b->bytes != NULL);
    for (size_t i = 0; i < b->len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b->bytes[i] = (uint8_t)x;
    }
    pv_sha256(b->id.b, b->bytes, b->len);
}

static void make_record(struct pvt_cast_record *r, unsigned reg, unsigned version)
{
    static const uint8_t key[PV_KEY_LEN] = {1, 2, 3}, seed[PV_SEED_LEN] = {9};
    static uint8_t env[PV_RECORD_LEN_MAX];
    struct pv_cluster_keys keys;
    uint8_t salt[32] = {(uint8_t)version};
    struct pv_record_draft draft = {
        .type = types[reg],
        .flags = version == PVT_VERSIONS ? PV_RECORD_TOMBSTONE : 0,
        .hlc = (UINT64_C(1700000000000) + version) << 16,
        .epoch = UINT64_C(1767225600),
        .body = (const uint8_t *)"body",
        .body_len = 4,
    };
    if (types[reg] > PV_RECORD_NAME) {
        draft.flags |= PV_RECORD_CLEAR;
        draft.epoch = 0;
    }
    pv_rid_clear(&draft.rid, types[reg], &reg, sizeof reg);
    enum pv_err err = pv_cluster_keys_derive(&keys, key);
    if (err == PV_OK)
        err = pv_record_seal(env, &r->len, &draft, &keys, seed, salt);
    PV_ASSERT(err == PV_OK && r->len <= sizeof r->env);
    memcpy(r->env, env, r->len);
    err = pv_record_parse(&r->rec, r->env, r->len);
    PV_ASSERT(err == PV_OK);
}

const struct pvt_cast *pvt_cast(void)
{
    static struct pvt_cast cast;
    static bool made;
    for (unsigned i = 0; i < PVT_BLOBS && !made; i++)
        make_blob(&cast.blobs[i], i);
    for (unsigned i = 0; i < PVT_REGISTERS && !made; i++)
        for (unsigned v = 0; v < PVT_VERSIONS; v++)
            make_record(&cast.records[i][v], i, v + 1);
    made = true;
    return &cast;
}

unsigned pvt_cast_link(unsigned reg, unsigned version)
{
    if (version == PVT_VERSIONS)
        return PVT_REGISTERS;
    return reg == NAME_A ? FILE_A : reg == NAME_B ? FILE_B : PVT_REGISTERS;
}

bool pvt_cast_is_file(unsigned blob)
{
    return blob_lens[blob] >= PV_BLOB_FILE_MIN;
}

struct pv_id pvt_cast_node(unsigned node)
{
    return (struct pv_id){{0xee, (uint8_t)node}};
}

/* ---- the script ---- */

enum act {
    END,
    PUT,     /* blob a */
    FROM,    /* blob a, of node b */
    REPLACE, /* blob a */
    RECORD,  /* register a, version b */
    PENDING, /* the same, pending */
    PUBLISH, /* register a, version b */
    HELD,    /* node a has blob b */
    HAS_ALL, /* node a has them all */
    UNHELD,  /* node a does not have blob b */
    LEASE,   /* blob a */
    FAIL,    /* the commit fails: NOT_FOUND */
    META,    /* value a */
    EXPIRE,  /* all leases are over */
    COLLECT, /* blob a */
    LEAVE,   /* blob a, if it is bad; alone in its batch */
};

struct item {
    enum act act;
    unsigned a, b;
};

enum kind { COMMITS, CREATE, OPEN, REOPEN, CHECKPOINT, BREAK, STRAY, SWEEP, READ };
enum { COMMITS_MAX = 3, ITEMS_MAX = 8, STRAY_BLOB = 20 };

struct step {
    const char *name;
    enum kind kind;
    struct item commits[COMMITS_MAX][ITEMS_MAX]; /* BREAK: the blob */
};

static const struct step script[] = {
    {.name = "create", .kind = CREATE},
    {.name = "first opening", .kind = OPEN},
    {"row", COMMITS, {{{PUT, 0, 0}}}},
    {"file", COMMITS, {{{PUT, 1, 0}}}},
    {"batch",
     COMMITS,
     {{{PUT, 2, 0}, {PUT, 3, 0}, {PENDING, FILE_A, 1}},
      {{FROM, 17, 0}, {PUT, 2, 0}, {PENDING, NAME_A, 1}},
      {{RECORD, MEMBER, 1}}}},
    {"publish", COMMITS, {{{PUBLISH, FILE_A, 1}, {PUBLISH, NAME_A, 1}}}},
    {"held", COMMITS, {{{HELD, 0, 0}, {HELD, 0, 2}}, {{HAS_ALL, 1, 0}}}},
    {"unheld", COMMITS, {{{UNHELD, 1, 0}}}},
    {"lease", COMMITS, {{{LEASE, 0, 0}, {LEASE, 1, 0}}}},
    {"one of a batch fails",
     COMMITS,
     {{{PUT, 4, 0}, {RECORD, FILE_B, 1}, {FAIL, 0, 0}}, {{PUT, 5, 0}}, {{PUT, 6, 0}}}},
    {.name = "checkpoint", .kind = CHECKPOINT},
    {"new version", COMMITS, {{{RECORD, NAME_A, 2}}, {{PENDING, FILE_B, 1}}}},
    {"old version", COMMITS, {{{RECORD, NAME_A, 1}, {RECORD, MEMBER, 2}}}},
    {"removal", COMMITS, {{{RECORD, NAME_A, 3}, {RECORD, FILE_A, 3}}}},
    {"rot", BREAK, {{{PUT, 1, 0}}}},
    {"replace a file", COMMITS, {{{REPLACE, 1, 0}}}},
    {"replace a row", COMMITS, {{{REPLACE, 0, 0}, {PUT, 22, 0}}}},
    {"replace what is good", COMMITS, {{{REPLACE, 2, 0}, {REPLACE, 1, 0}, {REPLACE, 3, 0}}}},
    {"rot again", BREAK, {{{PUT, 17, 0}}}},
    {"what is bad leaves", COMMITS, {{{LEAVE, 17, 0}}}},
    {"what is good stays", COMMITS, {{{LEAVE, 2, 0}}}},
    {"and comes back", COMMITS, {{{PUT, 17, 0}}}},
    {.name = "stray file", .kind = STRAY},
    {.name = "sweep", .kind = SWEEP},
    {"meta", COMMITS, {{{META, 1, 0}}}},
    {"long log",
     COMMITS,
     {{{PUT, 7, 0}, {PUT, 8, 0}, {PUT, 9, 0}, {PUT, 10, 0}}, {{PUT, 11, 0}}, {{PUT, 12, 0}}}},
    {"new log", COMMITS, {{{PUT, 13, 0}, {PENDING, NAME_B, 1}}}},
    {.name = "second checkpoint", .kind = CHECKPOINT},
    {"after it", COMMITS, {{{PUT, 14, 0}, {META, 2, 0}}}},
    {"collection", COMMITS, {{{EXPIRE, 0, 0}}, {{COLLECT, 5, 0}}, {{COLLECT, 6, 0}, {PUT, 4, 0}}}},
    {"used again", COMMITS, {{{LEASE, 0, 0}, {FROM, 2, 1}}, {{PUT, 5, 0}, {COLLECT, 3, 0}}}},
    {.name = "reopen", .kind = REOPEN},
    {.name = "read everything", .kind = READ},
    {"after reopening", COMMITS, {{{PUT, 15, 0}, {PUBLISH, FILE_B, 1}}}},
    {"last", COMMITS, {{{PUT, 16, 0}, {LEASE, 7, 0}}, {{PUT, 18, 0}}}},
};

/* ---- the model ---- */

static uint64_t lease_until(struct pvt_world *w)
{
    return pv_store_time_ms(w->store) + (uint64_t)PV_LEASE_HOURS * 3600 * 1000;
}

/* One whose lease is over arrives anew. */
static void use_in_model(struct pvt_world *w, struct pvt_model_blob *b)
{
    if (b->here && !b->expired)
        return;
    *b = (struct pvt_model_blob){
        .here = true, .damaged = b->damaged, .lease_until_ms = lease_until(w)};
}

static uint64_t holder_in_model(struct pvt_model *m, unsigned node)
{
    uint8_t most = 0;
    for (unsigned i = 0; i < PVT_HOLDER_NODES; i++)
        most = m->bits[i] > most ? m->bits[i] : most;
    if (m->bits[node] == 0)
        m->bits[node] = (uint8_t)(most + 1);
    return UINT64_C(1) << (m->bits[node] - 1);
}

static void put_in_model(struct pvt_world *w, struct pvt_model *m, const struct item *i)
{
    struct pvt_model_blob *b = &m->blobs[i->a];
    use_in_model(w, b);
    b->damaged = b->damaged && i->act != REPLACE;
    if (i->act == FROM)
        b->held |= holder_in_model(m, i->b);
}

static void record_in_model(struct pvt_model *m, const struct item *i)
{
    struct pvt_model_record *r = &m->records[i->a];
    pv_hlc hlc = pvt_cast()->records[i->a][i->b - 1].rec.hlc;
    bool name = types[i->a] == PV_RECORD_NAME;
    m->hlc = hlc > m->hlc ? hlc : m->hlc;
    if (i->b == r->version)
        return;
    if (i->b < r->version) {
        r->history |= (uint8_t)(name ? 1U << i->b : 0);
        return;
    }
    r->history |= (uint8_t)(name && r->version > 0 ? 1U << r->version : 0);
    r->version = (uint8_t)i->b;
    r->pending = i->act == PENDING;
}

static void held_in_model(struct pvt_model *m, const struct item *i)
{
    uint64_t bit = i->act == UNHELD && m->bits[i->a] == 0 ? 0 : holder_in_model(m, i->a);
    for (unsigned b = 0; b < PVT_BLOBS; b++)
        if (m->blobs[b].here && (b == i->b || i->act == HAS_ALL))
            m->blobs[b].held = i->act == UNHELD ? m->blobs[b].held & ~bit : m->blobs[b].held | bit;
}

static void expire_in_model(struct pvt_model *m)
{
    for (unsigned b = 0; b < PVT_BLOBS; b++)
        m->blobs[b].expired = m->blobs[b].here;
}

/* False: the commit fails with NOT_FOUND. */
static bool item_in_model(struct pvt_world *w, struct pvt_model *m, const struct item *i)
{
    switch (i->act) {
    case PUT:
    case FROM:
    case REPLACE:
        put_in_model(w, m, i);
        break;
    case RECORD:
    case PENDING:
        record_in_model(m, i);
        break;
    case PUBLISH:
        m->records[i->a].pending = m->records[i->a].pending && m->records[i->a].version != i->b;
        break;
    case HELD:
    case HAS_ALL:
    case UNHELD:
        held_in_model(m, i);
        break;
    case META:
        m->meta = (uint8_t)i->a;
        break;
    case LEASE:
        if (!m->blobs[i->a].here)
            return false;
        use_in_model(w, &m->blobs[i->a]);
        break;
    case EXPIRE:
        expire_in_model(m);
        break;
    case COLLECT:
        if (m->blobs[i->a].expired)
            m->blobs[i->a] = (struct pvt_model_blob){.here = false};
        break;
    case LEAVE:
        if (m->blobs[i->a].damaged)
            m->blobs[i->a] = (struct pvt_model_blob){.here = false};
        break;
    case FAIL:
        return false;
    case END:
        break;
    }
    return true;
}

/* False, and m as before: the commit fails. */
static bool commit_in_model(struct pvt_world *w, struct pvt_model *m, const struct item *items)
{
    struct pvt_model before = *m;
    m->time_ms = pv_store_time_ms(w->store);
    for (unsigned i = 0; i < ITEMS_MAX; i++) {
        if (!item_in_model(w, m, &items[i])) {
            *m = before;
            return false;
        }
    }
    return true;
}

/* ---- commits ---- */

static struct pv_commit_op blob_op(const struct item *i)
{
    const struct pvt_cast_blob *b = &pvt_cast()->blobs[i->a];
    struct pv_commit_op op = {
        .type = PV_COMMIT_BLOB,
        .u.blob = {.id = b->id,
                   .kind = PV_BLOB_CHUNK,
                   .replace = i->act == REPLACE,
                   .has_holder = i->act == FROM,
                   .bytes = b->bytes,
                   .len = b->len},
    };
    if (i->act == FROM)
        op.u.blob.holder = pvt_cast_node(i->b);
    return op;
}

static struct pv_commit_op record_op(const struct item *i)
{
    const struct pvt_cast_record *r = &pvt_cast()->records[i->a][i->b - 1];
    unsigned link = pvt_cast_link(i->a, i->b);
    struct pv_commit_op op = {
        .type = PV_COMMIT_RECORD,
        .u.record = {.env = r->env,
                     .len = r->len,
                     .pending = i->act == PENDING,
                     .has_link = link != PVT_REGISTERS,
                     .has_prefix = types[i->a] == PV_RECORD_FILE && i->b < PVT_VERSIONS,
                     .prefix_tag = i->a},
    };
    if (link != PVT_REGISTERS)
        op.u.record.link_file_rid = pvt_cast()->records[link][0].rec.rid;
    return op;
}

static struct pv_commit_op held_op(const struct item *i)
{
    struct pv_commit_op op = {
        .type = PV_COMMIT_HELD,
        .u.held = {.node_id = pvt_cast_node(i->a),
                   .ids = &pvt_cast()->blobs[i->b].id,
                   .count = 1,
                   .held = i->act != UNHELD,
                   .all = i->act == HAS_ALL},
    };
    return op;
}

static struct pv_commit_op op_of(const struct item *i)
{
    static const struct pv_id nobody = {{0xfe}};
    static const uint8_t values[] = {0, 1, 2, 3};
    switch (i->act) {
    case PUT:
    case FROM:
    case REPLACE:
        return blob_op(i);
    case RECORD:
    case PENDING:
        return record_op(i);
    case HELD:
    case HAS_ALL:
    case UNHELD:
        return held_op(i);
    case PUBLISH:
        return (struct pv_commit_op){
            .type = PV_COMMIT_PUBLISH,
            .u.publish = {pvt_cast()->records[i->a][0].rec.rid,
                          pvt_cast()->records[i->a][i->b - 1].rec.hash},
        };
    case META:
        return (struct pv_commit_op){.type = PV_COMMIT_META, .u.meta = {"test", &values[i->a], 1}};
    case EXPIRE:
        return (struct pv_commit_op){.type = PV_COMMIT_EXPIRE};
    case COLLECT:
        return (struct pv_commit_op){
            .type = PV_COMMIT_SWEEP,
            .u.sweep = {.ids = &pvt_cast()->blobs[i->a].id, .count = 1, .record_seq = INT64_MAX}};
    case LEAVE:
        return (struct pv_commit_op){.type = PV_COMMIT_BAD, .u.bad.id = pvt_cast()->blobs[i->a].id};
    case LEASE:
    case FAIL:
    case END:
        break;
    }
    const struct pv_id *id = i->act == LEASE ? &pvt_cast()->blobs[i->a].id : &nobody;
    return (struct pv_commit_op){.type = PV_COMMIT_LEASE, .u.lease = {id, 1}};
}

struct running {
    struct pvt_world *w;
    const struct item (*items)[ITEMS_MAX];
    struct pv_commit commits[COMMITS_MAX];
    struct pv_commit_op ops[COMMITS_MAX][ITEMS_MAX];
    bool fails[COMMITS_MAX]; /* as the model says */
    unsigned acked;          /* bits */
    enum pv_err err;         /* the first that the script does not expect */
};

static void acknowledged(struct pv_commit *c)
{
    struct running *r = c->ctx;
    ptrdiff_t no = c - r->commits;
    enum pv_err expected = r->fails[no] ? PV_E_NOT_FOUND : PV_OK;
    /* A bad blob that cannot be read stays, which is no error; here it is a step to be repeated. */
    if (r->items[no][0].act == LEAVE && r->ops[no][0].u.bad.result == PV_CHECK_UNREADABLE)
        c->err = c->err == PV_OK ? PV_E_IO : c->err;
    if (c->err == PV_OK) {
        r->acked |= 1U << no;
        (void)commit_in_model(r->w, &r->w->model, r->items[no]);
    }
    if (r->err == PV_OK && c->err != expected)
        r->err = c->err != PV_OK ? c->err : PV_E_INTERNAL;
}

/* What may turn out to be true of commits that were not acknowledged: each may have come about. */
static void tell_outcomes(struct running *r, const struct pvt_model *before, unsigned count)
{
    struct pvt_world *w = r->w;
    for (unsigned set = 0; set < 1U << count; set++) {
        if ((set & r->acked) != r->acked)
            continue;
        struct pvt_model *m = &w->outcomes[w->outcome_count++];
        *m = *before;
        for (unsigned c = 0; c < count; c++)
            if (set >> c & 1)
                (void)commit_in_model(w, m, r->items[c]);
    }
}

static enum pv_err run_commits(struct pvt_world *w, const struct item commits[][ITEMS_MAX])
{
    struct running r = {.w = w, .items = commits};
    struct pv_commit *first = NULL, **end = &first;
    struct pvt_model before = w->model;
    unsigned c = 0;
    for (; c < COMMITS_MAX && commits[c][0].act != END; c++) {
        size_t count = 0;
        for (; count < ITEMS_MAX && commits[c][count].act != END; count++)
            r.ops[c][count] = op_of(&commits[c][count]);
        r.fails[c] = !commit_in_model(w, &w->after, commits[c]);
        r.commits[c] =
            (struct pv_commit){.ops = r.ops[c], .count = count, .done = acknowledged, .ctx = &r};
        *end = &r.commits[c];
        end = &r.commits[c].next;
    }
    w->under_way = true;
    pv_commit_batch(w->store, first);
    w->under_way = false;
    w->outcome_count = 0;
    tell_outcomes(&r, &before, c);
    return r.err;
}

/* ---- other steps ---- */

/* Writes a blob's file and syncs it and its folder. */
static enum pv_err write_file(struct pvt_world *w, unsigned blob, const void *bytes, size_t len)
{
    const struct pv_fs *fs = pvt_simfs_fs(w->disk);
    char path[PV_BLOB_PATH_LEN + 1];
    pv_fd fd, folder;
    pv_blob_path(path, &pvt_cast()->blobs[blob].id);
    enum pv_err err = fs->open(fs->ctx, w->vault.dir, path, PV_FS_WRITE | PV_FS_CREATE, &fd);
    if (err != PV_OK)
        return err;
    err = fs->write(fs->ctx, fd, bytes, len, 0);
    if (err == PV_OK)
        err = fs->sync(fs->ctx, fd);
    (void)fs->close(fs->ctx, fd);
    path[sizeof "blobs/00" - 1] = '\0';
    if (err == PV_OK)
        err = fs->open(fs->ctx, w->vault.dir, path, PV_FS_READ | PV_FS_DIRECTORY, &folder);
    if (err == PV_OK) {
        err = fs->sync(fs->ctx, folder);
        (void)fs->close(fs->ctx, folder);
    }
    return err;
}

/* As somebody else would: wrong bytes in place of the right ones, or without a row. */
static enum pv_err write_alien(struct pvt_world *w, unsigned blob, const void *bytes, size_t len)
{
    w->aliens_write = true;
    enum pv_err err = write_file(w, blob, bytes, len);
    w->aliens_write = false;
    return err;
}

static enum pv_err stray(struct pvt_world *w)
{
    const struct pvt_cast_blob *b = &pvt_cast()->blobs[STRAY_BLOB];
    return write_alien(w, STRAY_BLOB, b->bytes, b->len);
}

static enum pv_err sweep(struct pvt_world *w)
{
    return pvt_world_is_tidy(w) ? PV_OK : PV_E_INTERNAL;
}

static enum pv_err reopen(struct pvt_world *w)
{
    unsigned fatals = pvt_world_fatals;
    pvt_world_close(w);
    return pvt_world_fatals == fatals ? pvt_world_open(w) : PV_E_IO; /* there is nobody to open */
}

static enum pv_err create(struct pvt_world *w)
{
    enum pv_err err = pv_vault_create("vault", pvt_simfs_fs(w->disk));
    w->model.created = err == PV_OK;
    return err;
}

size_t pvt_script_len(void)
{
    return PV_COUNT(script);
}

const char *pvt_script_name(size_t step)
{
    return script[step].name;
}

enum pvt_step_state pvt_script_needs(size_t step)
{
    enum kind kind = script[step].kind;
    return kind == CREATE                   ? PVT_STEP_NEW
           : kind == OPEN                   ? PVT_STEP_CLOSED
           : kind == BREAK || kind == STRAY ? PVT_STEP_ALIEN
                                            : PVT_STEP_OPEN;
}

size_t pvt_script_find(const char *name)
{
    size_t i = 0;
    while (i < PV_COUNT(script) && strcmp(script[i].name, name) != 0)
        i++;
    PV_ASSERT(i < PV_COUNT(script));
    return i;
}

bool pvt_script_fits(const struct pvt_world *w, size_t step)
{
    enum pvt_step_state needs = pvt_script_needs(step);
    if (script[step].kind == BREAK) /* nobody but the store makes blob files that are not whole */
        return w->model.blobs[script[step].commits[0][0].a].here;
    return needs == PVT_STEP_OPEN || needs == PVT_STEP_ALIEN;
}

enum pv_err pvt_script_run(struct pvt_world *w, size_t step)
{
    const struct step *s = &script[step];
    pvt_env_advance(&w->env, 1000);
    w->after = w->outcomes[0] = w->model;
    w->outcome_count = 1;
    switch (s->kind) {
    case COMMITS:
        return run_commits(w, s->commits);
    case CREATE:
        return create(w);
    case OPEN:
        return pvt_world_open(w);
    case REOPEN:
        return reopen(w);
    case CHECKPOINT:
        return pv_commit_checkpoint(w->store);
    case BREAK:
        w->model.blobs[s->commits[0][0].a].damaged = true;
        return write_alien(w, s->commits[0][0].a, "rotten", 6);
    case STRAY:
        return stray(w);
    case SWEEP:
        return sweep(w);
    case READ:
        return pvt_world_equals(w, &w->model) ? pv_store_probe(w->store) : PV_E_IO;
    }
    return PV_E_INTERNAL;
}

void pvt_script_run_until(struct pvt_world *w, size_t end)
{
    for (size_t i = 0; i < end; i++) {
        enum pv_err err = pvt_script_run(w, i);
        PV_ASSERT(err == PV_OK);
    }
}

bool pvt_world_try_out(struct pvt_world *w)
{
    bool large = pv_store_origin(w->store).open_count % 2 == 0;
    const struct item items[COMMITS_MAX][ITEMS_MAX] = {
        {{PUT, large ? PVT_BLOBS - 1 : PVT_BLOBS - 5, 0}, {RECORD, TRY_OUT, 1}}};
    pvt_env_advance(&w->env, 1000);
    w->after = w->model;
    enum pv_err err = run_commits(w, items);
    return err == PV_OK ? true : pvt_wrong(w, "it takes nothing new: %s", pv_err_name(err));
}
