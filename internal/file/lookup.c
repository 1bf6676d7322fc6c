/*
 * From a target to an opened file record, inside a job.
 *
 * A key is looked for under its rid first; private files have a random rid and are found through
 * the key-prefix index, as abbreviated keys are. Every readable cluster key is tried, because
 * records may lie under an older one until they are re-sealed. So a file or a name may have several
 * registers, and the newest record in them decides, be it a tombstone. Keys that retired open
 * nothing, but older names still point to where a file was under them.
 */
#include "internal/file/lookup.h"
#include "internal/file/open_record.h"

#include <string.h>

enum { PREFIX_DIGITS_MIN = 8, PREFIX_ROWS_MAX = 64, NAMES_MIN = 64 };

static bool readable(const struct pv_keyring_key *k)
{
    return k->state != PV_KEY_RETIRED;
}

static enum pv_err make_room(struct pv_lookup *l)
{
    if (l->plain == NULL)
        l->plain = pv_malloc(PV_RECORD_BODY_MAX);
    return l->plain != NULL ? PV_OK : PV_E_NOMEM;
}

/* The clear part of the record under a rid, live or not; it borrows nothing. NOT_FOUND. */
static enum pv_err record_at(struct pv_record *rec, const struct pv_id *rid,
                             const struct pv_job_context *ctx)
{
    size_t len = PV_RECORD_LEN_MAX;
    bool pending;
    PV_AUTO_FREE uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_record(ctx->store, rid, env, &len, &pending);
    if (err == PV_OK && pv_record_parse(rec, env, len) != PV_OK)
        err = PV_E_CORRUPT;
    rec->body = NULL;
    return err;
}

/* Of two registers of one thing. Of equal records, which are counterparts, the older stays. */
static bool beats(const struct pv_record *a, const struct pv_record *b)
{
    bool a_dead = (a->flags & PV_RECORD_TOMBSTONE) != 0;
    bool b_dead = (b->flags & PV_RECORD_TOMBSTONE) != 0;
    return a->hlc != b->hlc ? a->hlc > b->hlc : a_dead && !b_dead;
}

static enum pv_err open_rid(struct pv_lookup *l, const struct pv_id *rid,
                            const struct pv_job_context *ctx)
{
    struct pv_record rec;
    enum pv_err err = make_room(l);
    if (err == PV_OK)
        err = pv_open_live(l->plain, &rec, &l->pending, rid, ctx);
    if (err != PV_OK)
        return err;
    if (rec.type != PV_RECORD_FILE)
        return PV_E_CORRUPT;
    l->rid = *rid;
    l->hash = rec.hash;
    l->hlc = rec.hlc;
    err = pv_file_body_decode(&l->body, l->plain, rec.body_len, false);
    return err == PV_OK && l->body.is_purged ? PV_E_CORRUPT : err; /* and yet it is live */
}

enum pv_err pv_lookup_decides(struct pv_id *out, bool *is_live, const struct pv_id *rids,
                              size_t count, const struct pv_job_context *ctx)
{
    struct pv_record best = {.hlc = 0}, rec;
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        enum pv_err err = record_at(&rec, &rids[i], ctx);
        if (err == PV_E_NOT_FOUND)
            continue;
        if (err != PV_OK)
            return err;
        if (!found || beats(&rec, &best)) {
            found = true;
            best = rec;
            *out = rids[i];
        }
    }
    *is_live = found && (best.flags & PV_RECORD_TOMBSTONE) == 0;
    return found ? PV_OK : PV_E_NOT_FOUND;
}

enum pv_err pv_lookup_rid(struct pv_lookup *l, const struct pv_id *rid,
                          const struct pv_job_context *ctx)
{
    struct pv_id rids[PV_LOOKUP_RIDS_MAX], decides;
    bool is_live;
    enum pv_err err = open_rid(l, rid, ctx);
    if (err != PV_OK)
        return err;
    size_t count = pv_lookup_registers(l, rids, ctx);
    if (count < 2)
        return PV_OK;
    err = pv_lookup_decides(&decides, &is_live, rids, count, ctx);
    if (err == PV_OK && !is_live)
        err = PV_E_NOT_FOUND;
    return err == PV_OK && !pv_id_equal(&decides, rid) ? open_rid(l, &decides, ctx) : err;
}

void pv_lookup_release(struct pv_lookup *l)
{
    if (l->plain != NULL)
        pv_wipe(l->plain, PV_RECORD_BODY_MAX);
    pv_free(l->plain);
    pv_wipe(l, sizeof *l);
}

static void rid_under(struct pv_id *rid, const struct pv_lookup *l, const struct pv_keyring_key *k)
{
    if (l->body.is_private)
        pv_rid_private(rid, &k->keys, l->body.private_salt);
    else
        pv_rid_file(rid, &k->keys, &l->body.sha256);
}

size_t pv_lookup_registers(const struct pv_lookup *l, struct pv_id rids[static PV_LOOKUP_RIDS_MAX],
                           const struct pv_job_context *ctx)
{
    size_t count = 0;
    for (size_t i = 0; i < ctx->keyring->key_count; i++)
        if (readable(&ctx->keyring->keys[i]))
            rid_under(&rids[count++], l, &ctx->keyring->keys[i]);
    return count;
}

size_t pv_lookup_rids(const struct pv_lookup *l, struct pv_id rids[static PV_LOOKUP_RIDS_MAX],
                      const struct pv_job_context *ctx)
{
    size_t count = 0;
    rids[count++] = l->rid;
    for (size_t i = 0; i < ctx->keyring->key_count; i++) {
        rid_under(&rids[count], l, &ctx->keyring->keys[i]);
        count += !pv_id_equal(&rids[count], &l->rid);
    }
    return count;
}

size_t pv_lookup_name_registers(struct pv_id rids[static PV_LOOKUP_RIDS_MAX], const char *name,
                                size_t len, const struct pv_job_context *ctx)
{
    size_t count = 0;
    for (size_t i = 0; i < ctx->keyring->key_count; i++)
        if (readable(&ctx->keyring->keys[i]))
            pv_rid_name(&rids[count++], &ctx->keyring->keys[i].keys, name, len);
    return count;
}

enum pv_err pv_lookup_name_rid(struct pv_id *out, const char *name, size_t len,
                               const struct pv_job_context *ctx)
{
    struct pv_id rids[PV_LOOKUP_RIDS_MAX];
    bool is_live;
    size_t count = pv_lookup_name_registers(rids, name, len, ctx);
    return pv_lookup_decides(out, &is_live, rids, count, ctx);
}

/* Whether this live record is the one that decides what its name means; else, or where it cannot
 * be read, it is none of anybody's names. */
static enum pv_err is_name(bool *is, const struct pv_id *rid, uint8_t *plain,
                           const struct pv_job_context *ctx)
{
    struct pv_record rec;
    struct pv_name_body name;
    struct pv_id decides;
    bool pending;
    enum pv_err err = pv_open_live(plain, &rec, &pending, rid, ctx);
    if (err == PV_OK)
        err = pv_name_body_decode(&name, plain, rec.body_len, false);
    if (err == PV_OK)
        err = pv_lookup_name_rid(&decides, name.name, name.name_len, ctx);
    *is = err == PV_OK && pv_id_equal(&decides, rid);
    return err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT ? PV_OK : err;
}

enum pv_err pv_lookup_names(const struct pv_lookup *l, struct pv_id *names, size_t max,
                            size_t *count, const struct pv_job_context *ctx)
{
    struct pv_id rids[PV_LOOKUP_RIDS_MAX];
    size_t registers = pv_lookup_rids(l, rids, ctx), n;
    size_t room = max > NAMES_MIN ? max : NAMES_MIN;
    enum pv_err err = PV_OK;
    PV_AUTO_FREE uint8_t *plain = pv_malloc(PV_RECORD_BODY_MAX);
    PV_AUTO_FREE struct pv_id *found = pv_malloc(room * sizeof *found);
    *count = 0;
    if (plain == NULL || found == NULL)
        return PV_E_NOMEM;
    for (size_t i = 0; err == PV_OK && i < registers && *count < max; i++) {
        err = pv_store_names_of(ctx->store, &rids[i], found, room, &n);
        for (size_t k = 0; err == PV_OK && k < n && *count < max; k++) {
            bool is = true;
            if (ctx->keyring->key_count > 1)
                err = is_name(&is, &found[k], plain, ctx);
            if (is)
                names[(*count)++] = found[k];
        }
    }
    pv_wipe(plain, PV_RECORD_BODY_MAX);
    return err;
}

static enum pv_err find_name(struct pv_lookup *l, const struct pv_job_context *ctx,
                             struct pv_name_body *body)
{
    struct pv_record rec;
    bool pending;
    struct pv_id rids[PV_LOOKUP_RIDS_MAX];
    bool is_live = true;
    enum pv_err err = make_room(l);
    size_t count = pv_lookup_name_registers(rids, l->target, l->target_len, ctx);
    for (unsigned tries = 0; err == PV_OK && tries < 3; tries++) {
        err = pv_lookup_decides(&l->name_rid, &is_live, rids, count, ctx);
        if (err == PV_OK)
            err = pv_open_live(l->plain, &rec, &pending, &l->name_rid, ctx);
        if (err != PV_E_NOT_FOUND || !is_live)
            break;
        err = tries + 1 < 3 ? PV_OK : err; /* its key has retired between the two */
    }
    return err == PV_OK ? pv_name_body_decode(body, l->plain, rec.body_len, false) : err;
}

/* Whether the key of the file in l begins with these digits. */
static bool key_matches(const struct pv_lookup *l, const char *digits, size_t len)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &l->body.sha256);
    for (size_t i = 0; i < len; i++) {
        char c = digits[i];
        if ((c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c) != hex[i])
            return false;
    }
    return true;
}

static void add_candidate(struct pv_lookup *l)
{
    for (size_t i = 0; i < l->candidate_count; i++)
        if (pv_id_equal(&l->candidates[i], &l->body.sha256))
            return;
    if (l->candidate_count < PV_LOOKUP_CANDIDATES)
        l->candidates[l->candidate_count++] = l->body.sha256;
}

/* All files whose key begins with these 8 to 64 digits. */
static enum pv_err by_prefix(struct pv_lookup *l, const char *digits, size_t len,
                             const struct pv_job_context *ctx)
{
    uint8_t first4[4];
    struct pv_id rids[PREFIX_ROWS_MAX], found;
    enum pv_err nothing = PV_E_NOT_FOUND; /* what it means to find none */
    l->candidate_count = 0;
    enum pv_err err = pv_hex_decode(first4, sizeof first4, digits, 2 * sizeof first4);
    for (size_t i = 0; err == PV_OK && i < ctx->keyring->key_count; i++) {
        size_t count = 0;
        if (!readable(&ctx->keyring->keys[i]))
            continue;
        uint64_t tag = pv_key_prefix_tag(&ctx->keyring->keys[i].keys, first4);
        err = pv_store_by_prefix(ctx->store, tag, rids, PREFIX_ROWS_MAX, &count);
        for (size_t r = 0; err == PV_OK && r < count; r++) {
            err = pv_lookup_rid(l, &rids[r], ctx);
            if (err == PV_OK && key_matches(l, digits, len)) {
                add_candidate(l);
                found = l->rid;
            }
            if (err == PV_E_CORRUPT) /* it may not be the one that is looked for */
                nothing = err;
            if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT)
                err = PV_OK; /* removed meanwhile, or under a key we have not got */
        }
    }
    if (err != PV_OK)
        return err;
    if (l->candidate_count == 0)
        return nothing;
    return l->candidate_count > 1 ? PV_E_INVALID : pv_lookup_rid(l, &found, ctx);
}

static bool all_hex(const char *s, size_t len)
{
    return strspn(s, "0123456789abcdefABCDEF") >= len;
}

/* The file that everybody has under this key, not a private copy of it. */
static enum pv_err shared_file(struct pv_lookup *l, const struct pv_id *sha256,
                               const struct pv_job_context *ctx)
{
    enum pv_err err = PV_E_NOT_FOUND;
    for (size_t i = 0; err == PV_E_NOT_FOUND && i < ctx->keyring->key_count; i++) {
        struct pv_id rid;
        if (!readable(&ctx->keyring->keys[i]))
            continue;
        pv_rid_file(&rid, &ctx->keyring->keys[i].keys, sha256);
        err = pv_lookup_rid(l, &rid, ctx);
    }
    return err;
}

enum pv_err pv_lookup_key(struct pv_lookup *l, const struct pv_id *sha256,
                          const struct pv_job_context *ctx)
{
    char hex[PV_ID_HEX_LEN + 1];
    l->by_name = false;
    enum pv_err err = shared_file(l, sha256, ctx);
    if (err != PV_E_NOT_FOUND)
        return err;
    pv_id_hex(hex, sha256);
    return by_prefix(l, hex, PV_ID_HEX_LEN, ctx);
}

/* The private copy that was under this rid, of a key that has retired. */
static enum pv_err moved_file(struct pv_lookup *l, const struct pv_id *old,
                              const struct pv_id *sha256, const struct pv_job_context *ctx)
{
    struct pv_id rids[PREFIX_ROWS_MAX], all[PV_LOOKUP_RIDS_MAX];
    size_t count = 0;
    const struct pv_cluster_keys *active = pv_keyring_active(ctx->keyring);
    enum pv_err err = PV_E_NOT_FOUND;
    if (active == NULL)
        return err;
    err = pv_store_by_prefix(ctx->store, pv_key_prefix_tag(active, sha256->b), rids,
                             PREFIX_ROWS_MAX, &count);
    for (size_t r = 0; err == PV_OK && r < count; r++) {
        err = pv_lookup_rid(l, &rids[r], ctx);
        size_t n = err == PV_OK && l->body.is_private ? pv_lookup_rids(l, all, ctx) : 0;
        for (size_t i = 0; i < n; i++)
            if (pv_id_equal(&all[i], old))
                return PV_OK;
        if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT)
            err = PV_OK;
    }
    return err == PV_OK ? PV_E_NOT_FOUND : err;
}

enum pv_err pv_lookup_named(struct pv_lookup *l, const struct pv_name_body *name,
                            const struct pv_job_context *ctx)
{
    struct pv_id rid = name->file_rid, sha256 = name->file_sha256; /* name may be in l->plain */
    enum pv_err err = pv_lookup_rid(l, &rid, ctx);
    if (err == PV_E_NOT_FOUND && ctx->keyring->key_count > 1)
        err = moved_file(l, &rid, &sha256, ctx);
    return err == PV_E_NOT_FOUND ? shared_file(l, &sha256, ctx) : err;
}

enum pv_err pv_lookup_run(struct pv_lookup *l, const struct pv_job_context *ctx)
{
    struct pv_id id;
    struct pv_name_body name;
    enum pv_err err;
    l->by_name = false;
    if (l->target_len == PV_ID_HEX_LEN && pv_id_parse(&id, l->target) == PV_OK) {
        err = pv_lookup_key(l, &id, ctx);
        if (err != PV_E_NOT_FOUND)
            return err;
    }
    err = find_name(l, ctx, &name);
    l->is_value = err == PV_OK && name.is_value;
    if (l->is_value)
        return PV_E_NOT_FOUND;
    if (err == PV_OK) {
        l->by_name = true;
        l->name_sha256 = name.file_sha256;
        l->name_file_rid = name.file_rid;
        return pv_lookup_named(l, &name, ctx);
    }
    if (err == PV_E_NOT_FOUND && l->target_len >= PREFIX_DIGITS_MIN &&
        l->target_len < PV_ID_HEX_LEN && all_hex(l->target, l->target_len))
        err = by_prefix(l, l->target, l->target_len, ctx);
    return err;
}

void pv_lookup_refuse(struct pv_files *f, struct pv_request *rq, const struct pv_lookup *l,
                      enum pv_err err)
{
    if (err == PV_E_NOT_FOUND && l->is_value) {
        pv_request_fail(rq, PV_EXIT_NOT_FOUND,
                        "this name means a value, no file: see `peervault value`, `unset` and "
                        "`undo`");
        return;
    }
    if (err == PV_E_NOT_FOUND) {
        size_t unheard = pv_members_unheard(f->config.node);
        if (unheard == 0)
            pv_request_fail(rq, PV_EXIT_NOT_FOUND, "not found: no member has it");
        else
            pv_request_fail(rq, PV_EXIT_UNAVAILABLE,
                            "not found here, but %zu of %zu members could not be asked: try again "
                            "when they are connected (see `peervault peers`)",
                            unheard, pv_members_active(f->config.node));
        return;
    }
    if (err == PV_E_UNSUPPORTED) {
        pv_request_fail(rq, PV_EXIT_DENIED,
                        "the record is sealed under a cluster key that this node has not got");
        return;
    }
    if (err != PV_E_INVALID) {
        pv_request_fail(rq, pv_exit_of(err), "cannot read the record: %s", pv_err_text(err));
        return;
    }
    json_t *keys = json_array();
    for (size_t i = 0; i < l->candidate_count; i++) {
        char hex[PV_ID_HEX_LEN + 1];
        pv_id_hex(hex, &l->candidates[i]);
        json_array_append_new(keys, json_string(hex));
    }
    rq->io->finish(rq,
                   json_pack("{s:b, s:i, s:s, s:o}", "ok", 0, "exit", (int)PV_EXIT_USAGE, "error",
                             "ambiguous prefix: give more digits of the key", "candidates", keys));
}
