/*
 * set, unset and undo: what a name means is looked at and the new record sealed in one job, then
 * committed, then published.
 *
 *   [memory, the value's bytes] -> clock -> look and seal (job) -> commit -> publish, reply
 *
 * A write with a condition is committed only if what the job looked at is still what is current, so
 * of any number of them at once on this node one is done and the others are told. What another
 * member writes at the same time is not seen by that: it is merged when it arrives, and the later
 * of the two wins.
 *
 * What was written is pending until another member has it, as a file is: so it outlives a long
 * absence of this node (publish.h). Once the commit has been submitted it is written, whether
 * or not somebody still waits for the reply.
 */
#include "internal/file/file_records.h"
#include "internal/file/files_private.h"
#include "internal/file/meaning.h"
#include "internal/file/versions.h"

#include <string.h>
#include <strings.h>

enum {
    VERSION_DIGITS_MIN = 8,
    MEMORY = 2 * 65536, /* a value and its envelope */
};

enum write { SET, UNSET, UNDO };

struct writing {
    struct pv_files *files;
    struct pv_request *rq; /* NULL: cancelled */
    struct pv_job job;
    enum write what;
    bool running, is_paused, is_whole; /* whole: the value's end has come */
    struct pv_budget_wait wait;
    size_t reserved;
    char name[PV_NAME_MAX + 1];
    size_t name_len;
    struct pv_buf value;
    bool replace, if_absent, has_if;
    struct pv_id if_sha256;
    char version[PV_ID_HEX_LEN + 1]; /* undo: the beginning of a value's SHA-256; "": none */
    pv_hlc hlc;

    /* By the job. */
    enum {
        WRITES,
        IS_FILE,      /* the name means a file */
        IS_OTHER,     /* the condition does not hold */
        IS_NOTHING,   /* there is nothing to be removed, or to go back to */
        WAS_FILE,     /* undo: the version before is a file, file_key */
        IS_AMBIGUOUS, /* undo: several values begin so */
    } outcome;
    struct pv_id file_key;
    bool removes;        /* the new record is a tombstone */
    bool is_conditional; /* only if `expected` is current under rid */
    struct pv_id expected, rid, hash, sha256;
    uint8_t *env, *body, *plain; /* body and plain inside the job: PV_RECORD_BODY_MAX each */
    size_t env_len;
    struct pv_commit_op op;
};

/* ---- the job: is it to be done? ---- */

static bool means_that(const struct pv_meaning *m, const struct pv_id *sha256)
{
    struct pv_id current;
    if (m->what != PV_MEANS_VALUE)
        return false;
    pv_sha256(current.b, m->body.value, m->body.value_len);
    return pv_id_equal(&current, sha256);
}

static void judge(struct writing *w, const struct pv_meaning *m)
{
    w->outcome = WRITES;
    w->is_conditional = w->if_absent || w->has_if || w->what == UNDO;
    if (w->what == UNSET)
        w->removes = true;
    if (m->what == PV_MEANS_FILE) {
        w->outcome = IS_FILE;
        w->file_key = m->body.file_sha256;
    }
    if (w->if_absent ? m->what != PV_MEANS_NOTHING : w->has_if && !means_that(m, &w->if_sha256))
        w->outcome = IS_OTHER;
    else if (w->what == SET && w->replace)
        w->outcome = WRITES;
    else if (w->what == UNSET && m->what == PV_MEANS_NOTHING)
        w->outcome = IS_NOTHING;
}

/* ---- the job: undo ---- */

/* The newest value that begins so, or what was before the current one. count: none. */
static size_t choose(struct writing *w, const struct pv_versions *v)
{
    size_t chosen = v->count, current = 0;
    while (current < v->count && !v->list[current].is_current)
        current++;
    if (w->version[0] == '\0')
        return current + 1 < v->count ? current + 1 : v->count;
    for (size_t i = 0; i < v->count; i++) {
        char hex[PV_ID_HEX_LEN + 1];
        pv_id_hex(hex, &v->list[i].sha256);
        if (!v->list[i].is_value || v->list[i].is_removal ||
            strncasecmp(hex, w->version, strlen(w->version)) != 0)
            continue;
        if (chosen == v->count)
            chosen = i;
        else if (!pv_id_equal(&v->list[i].sha256, &v->list[chosen].sha256))
            w->outcome = IS_AMBIGUOUS;
    }
    return chosen;
}

static enum pv_err take_version(struct writing *w, struct pv_versions *v, size_t chosen,
                                const struct pv_job_context *ctx)
{
    struct pv_version was = v->list[chosen];
    w->removes = was.is_removal;
    if (!was.is_value && !was.is_removal) {
        w->outcome = WAS_FILE;
        w->file_key = was.sha256;
    }
    if (w->outcome != WRITES || w->removes)
        return PV_OK;
    pv_versions_release(v);
    *v = (struct pv_versions){.wanted = was.hash};
    enum pv_err err = pv_versions_read(v, w->name, w->name_len, ctx);
    for (size_t i = 0; err == PV_OK && i < v->count; i++)
        if (v->list[i].has_bytes)
            return pv_buf_append(&w->value, v->bytes.data, v->bytes.len);
    return err != PV_OK ? err : PV_E_NOMEM;
}

static enum pv_err go_back(struct writing *w, const struct pv_job_context *ctx)
{
    struct pv_versions *v = pv_calloc(1, sizeof *v);
    enum pv_err err = v == NULL ? PV_E_NOMEM : pv_versions_read(v, w->name, w->name_len, ctx);
    size_t chosen = err == PV_OK ? choose(w, v) : 0;
    if (err == PV_OK && chosen == v->count)
        w->outcome = IS_NOTHING;
    else if (err == PV_OK)
        err = take_version(w, v, chosen, ctx);
    if (v != NULL)
        pv_versions_release(v);
    pv_free(v);
    return err;
}

/* ---- the job: the record ---- */

/* What must be current for the commit: under the active key's rid there may be an older record, or
 * none, while the deciding one is under another key. */
static enum pv_err expect(struct writing *w, const struct pv_meaning *m,
                          const struct pv_job_context *ctx)
{
    struct pv_record rec;
    bool pending;
    size_t len = PV_RECORD_LEN_MAX;
    w->expected = (struct pv_id){{0}};
    if (m->hlc != 0 && pv_id_equal(&m->rid, &w->rid)) {
        w->expected = m->hash;
        return PV_OK;
    }
    uint8_t *env = pv_malloc(PV_RECORD_LEN_MAX);
    if (env == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_store_record(ctx->store, &w->rid, env, &len, &pending);
    if (err == PV_OK && pv_record_parse(&rec, env, len) != PV_OK)
        err = PV_E_CORRUPT;
    if (err == PV_OK)
        w->expected = rec.hash;
    pv_free(env);
    return err == PV_E_NOT_FOUND ? PV_OK : err;
}

static enum pv_err seal(struct writing *w, const struct pv_job_context *ctx)
{
    struct pv_name_body body = {
        .author = {.hlc = w->hlc, .flags = w->removes ? PV_RECORD_TOMBSTONE : 0},
        .name = w->name,
        .name_len = w->name_len,
        .is_value = true,
        .value = w->value.data,
        .value_len = w->removes ? 0 : w->value.len,
    };
    struct pv_record_draft draft = {.type = PV_RECORD_NAME,
                                    .flags = body.author.flags,
                                    .rid = w->rid,
                                    .hlc = w->hlc,
                                    .epoch = pv_epoch_of(pv_env_wall_ms(ctx->env)),
                                    .body = w->body};
    pv_sha256(w->sha256.b, body.value, body.value_len);
    enum pv_err err = pv_name_body_encode(w->body, &draft.body_len, &body, ctx->identity->seed);
    return err != PV_OK ? err
                        : pv_seal_record(&w->env, &w->env_len, &w->hash, &draft,
                                         pv_keyring_active(ctx->keyring), ctx);
}

/* What cannot be read may be replaced, if that is wanted. */
static enum pv_err look(struct writing *w, struct pv_meaning *m, const struct pv_job_context *ctx)
{
    enum pv_err err = pv_meaning_read(m, w->plain, w->name, w->name_len, ctx);
    if ((err == PV_E_UNSUPPORTED || err == PV_E_CORRUPT) && w->replace && !w->has_if &&
        !w->if_absent)
        err = PV_OK;
    if (err == PV_OK)
        judge(w, m);
    if (err == PV_OK && w->what == UNDO && w->outcome == WRITES)
        err = go_back(w, ctx);
    return err;
}

static void run(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct writing *w = PV_CONTAINER_OF(job, struct writing, job);
    struct pv_meaning m;
    w->body = pv_malloc(PV_RECORD_BODY_MAX);
    w->plain = pv_malloc(PV_RECORD_BODY_MAX);
    pv_rid_name(&w->rid, pv_keyring_active(ctx->keyring), w->name, w->name_len);
    job->err = w->body == NULL || w->plain == NULL ? PV_E_NOMEM : look(w, &m, ctx);
    if (job->err == PV_OK && w->outcome == WRITES && w->is_conditional)
        job->err = expect(w, &m, ctx);
    if (job->err == PV_OK && w->outcome == WRITES)
        job->err = seal(w, ctx);
    if (w->body != NULL)
        pv_wipe(w->body, PV_RECORD_BODY_MAX);
    if (w->plain != NULL)
        pv_wipe(w->plain, PV_RECORD_BODY_MAX);
    pv_free(w->body);
    pv_free(w->plain);
    w->body = w->plain = NULL;
}

/* ---- the reply ---- */

static void release(struct writing *w)
{
    struct pv_files *f = w->files;
    size_t reserved = w->reserved;
    pv_budget_cancel(&w->wait);
    pv_buf_release(&w->value);
    pv_free(w->env);
    pv_free(w);
    pv_budget_give(&f->memory, reserved);
}

static void refuse(struct writing *w)
{
    static const char *const file_text[] = {
        [SET] = "this name means a file: set another one, or --replace",
        [UNSET] = "this name means a file: `peervault rm` removes it",
        [UNDO] = "this name means a file: see `peervault restore`",
    };
    struct pv_lookup none = {.target = NULL};
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &w->file_key);
    if (w->outcome == IS_FILE)
        pv_request_fail(w->rq, PV_EXIT_FAILED, "%s", file_text[w->what]);
    else if (w->outcome == IS_OTHER)
        pv_request_fail(w->rq, PV_EXIT_FAILED, "not written: %s",
                        w->if_absent ? "this name means something already"
                                     : "the value is not the one that was given");
    else if (w->outcome == WAS_FILE)
        pv_request_fail(w->rq, PV_EXIT_FAILED,
                        "before, this name meant a file: `peervault restore NAME --key %.16s` "
                        "goes back to that",
                        hex);
    else if (w->outcome == IS_AMBIGUOUS)
        pv_request_fail(w->rq, PV_EXIT_USAGE, "several values begin so: give more digits");
    else if (w->what == UNDO)
        pv_request_fail(w->rq, PV_EXIT_NOT_FOUND,
                        "this node knows no such version (see `peervault ls --history NAME`)");
    else
        pv_lookup_refuse(w->files, w->rq, &none, PV_E_NOT_FOUND);
}

static void fail(struct writing *w, enum pv_err err)
{
    struct pv_lookup none = {.target = NULL};
    if (err == PV_E_NOT_FOUND || err == PV_E_UNSUPPORTED)
        pv_lookup_refuse(w->files, w->rq, &none, err);
    else if (err == PV_E_NOSPACE)
        pv_request_fail(w->rq, PV_EXIT_FULL,
                        "storage full: free disk space or raise disk_limit, then try again");
    else if (err == PV_E_CANCELLED)
        pv_request_fail(w->rq, PV_EXIT_UNAVAILABLE, "the server is stopping: try again later");
    else
        pv_request_fail(w->rq, pv_exit_of(err), "cannot write the value: %s", pv_err_text(err));
}

static void answer(struct writing *w)
{
    char hex[PV_ID_HEX_LEN + 1];
    pv_id_hex(hex, &w->sha256);
    if (!w->op.applied && w->is_conditional)
        pv_request_fail(w->rq, PV_EXIT_FAILED, "not written: the name was changed meanwhile");
    else if (w->removes)
        pv_request_ok(w->rq, json_pack("{s:b}", "removed", 1));
    else
        pv_request_ok(w->rq, json_pack("{s:b, s:s, s:I}", "removed", 0, "sha256", hex, "size",
                                       (json_int_t)w->value.len));
}

/* ---- the commit ---- */

static void publish(struct writing *w)
{
    struct pv_node *n = w->files->config.node;
    if (w->op.u.record.pending)
        pv_publish_file(n, &w->rid, &w->hash, NULL);
    else
        pv_publish_now(n, w->env, w->env_len);
}

static void on_committed(struct pv_job *job)
{
    struct writing *w = PV_CONTAINER_OF(job, struct writing, job);
    enum pv_err err = job->commit.err;
    if (err == PV_OK && w->op.applied && !pv_node_closing(w->files->config.node))
        publish(w);
    if (w->rq != NULL && err != PV_OK)
        fail(w, err);
    else if (w->rq != NULL)
        answer(w);
    release(w);
}

static void on_sealed(struct pv_job *job)
{
    struct writing *w = PV_CONTAINER_OF(job, struct writing, job);
    bool writes = w->rq != NULL && job->err == PV_OK && w->outcome == WRITES;
    if (w->rq != NULL && job->err != PV_OK)
        fail(w, job->err);
    else if (w->rq != NULL && !writes)
        refuse(w);
    if (!writes) {
        release(w);
        return;
    }
    w->op = (struct pv_commit_op){.type = PV_COMMIT_RECORD};
    w->op.u.record.env = w->env;
    w->op.u.record.len = w->env_len;
    w->op.u.record.pending = pv_members_active(w->files->config.node) > 1;
    w->op.u.record.expected = w->is_conditional ? &w->expected : NULL;
    w->job = (struct pv_job){.done = on_committed, .commit = {.ops = &w->op, .count = 1}};
    pv_node_submit(w->files->config.node, &w->job);
}

/* ---- the beginning ---- */

static void set_paused(struct writing *w, bool paused)
{
    if (w->is_paused == paused)
        return;
    w->is_paused = paused;
    w->rq->io->pause(w->rq, paused);
}

static void begin(struct writing *w)
{
    if (pv_node_next_hlc(w->files->config.node, &w->hlc) != PV_OK) {
        pv_request_fail(w->rq, PV_EXIT_UNAVAILABLE,
                        "this machine's clock is wrong: set it, then try again");
        release(w);
        return;
    }
    w->running = true;
    w->job = (struct pv_job){.run = run, .done = on_sealed};
    pv_node_submit(w->files->config.node, &w->job);
}

static void on_granted(struct pv_budget_wait *wait)
{
    struct writing *w = PV_CONTAINER_OF(wait, struct writing, wait);
    w->reserved = MEMORY;
    set_paused(w, false);
    if (w->is_whole)
        begin(w);
}

static void on_data(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end)
{
    struct writing *w = rq->op;
    bool fits = len <= PV_VALUE_MAX - w->value.len;
    if (fits && pv_buf_append(&w->value, bytes, len) == PV_OK) {
        w->is_whole = end;
        if (end && w->reserved > 0)
            begin(w);
        return;
    }
    if (fits)
        fail(w, PV_E_NOMEM);
    else
        pv_request_fail(rq, PV_EXIT_USAGE,
                        "a value has at most %d bytes: `peervault store` takes more",
                        (int)PV_VALUE_MAX);
    release(w);
}

static void on_cancel(struct pv_request *rq)
{
    struct writing *w = rq->op;
    w->rq = NULL;
    if (!w->running)
        release(w);
}

/* The text of what is wrong, or NULL. */
static const char *parse(struct writing *w, struct pv_request *rq)
{
    size_t len = 0;
    const json_t *hash = json_object_get(rq->args, "if_sha256");
    enum pv_err err = pv_request_bytes(rq, "name", w->name, PV_NAME_MAX, &w->name_len);
    if (err != PV_OK || w->name_len == 0)
        return "a name has 1 to 1024 bytes and no NUL";
    w->has_if = hash != NULL;
    if (w->has_if && (json_string_length(hash) != PV_ID_HEX_LEN ||
                      pv_id_parse(&w->if_sha256, json_string_value(hash)) != PV_OK))
        return "a SHA-256 has 64 hex digits";
    if (!pv_request_bool(rq, "replace", &w->replace) ||
        !pv_request_bool(rq, "if_absent", &w->if_absent))
        return "`replace` and `if_absent` must be true or false";
    if (w->if_absent && (w->has_if || w->what != SET))
        return "a name that means nothing has no value";
    err = pv_request_bytes(rq, "version", w->version, PV_ID_HEX_LEN, &len);
    if (err == PV_OK &&
        (len < VERSION_DIGITS_MIN || strspn(w->version, "0123456789abcdefABCDEF") != len))
        return "a version is named by 8 or more digits of its SHA-256";
    return err == PV_OK || err == PV_E_NOT_FOUND ? NULL : "malformed version";
}

static void start(struct pv_files *f, struct pv_request *rq, struct writing *w)
{
    static const struct pv_request_ops set_ops = {.on_data = on_data, .on_cancel = on_cancel};
    static const struct pv_request_ops other_ops = {.on_cancel = on_cancel};
    const char *wrong = w != NULL ? parse(w, rq) : "out of memory";
    if (wrong != NULL) {
        pv_request_fail(rq, w != NULL ? PV_EXIT_USAGE : PV_EXIT_FAILED, "%s", wrong);
        pv_free(w);
        return;
    }
    w->files = f;
    w->rq = rq;
    w->is_whole = w->what != SET;
    w->wait.granted = on_granted;
    pv_buf_init(&w->value, PV_VALUE_MAX);
    rq->op = w;
    rq->ops = w->what == SET ? &set_ops : &other_ops;
    if (pv_budget_take(&f->memory, MEMORY, &w->wait))
        on_granted(&w->wait);
    else
        set_paused(w, w->what == SET);
}

static struct writing *new_writing(enum write what)
{
    struct writing *w = pv_calloc(1, sizeof *w);
    if (w != NULL)
        w->what = what;
    return w;
}

void pv_write_set(struct pv_files *f, struct pv_request *rq)
{
    start(f, rq, new_writing(SET));
}

void pv_write_unset(struct pv_files *f, struct pv_request *rq)
{
    start(f, rq, new_writing(UNSET));
}

void pv_write_undo(struct pv_files *f, struct pv_request *rq)
{
    start(f, rq, new_writing(UNDO));
}
