/*
 * What stands beside records and blobs, when every byte is asked for:
 *
 *   pages of vault.db (jobs) -> for each backup: jobs -> it is bad: written anew, if that was asked
 *   for
 */
#include "internal/upkeep/backup.h"
#include "internal/upkeep/verify_private.h"

static void tell(struct pv_verify *v, const char *what, const char *cause, const char *result)
{
    v->rq->io->event(v->rq, json_pack("{s:s, s:s, s:s, s:s*}", "event", "problem", "what", what,
                                      "cause", cause, "result", result));
}

/* ---- backups ---- */

static void check_backup(struct pv_verify *v);

static void next_backup(struct pv_verify *v)
{
    bool was_last = v->backup.what == PV_BACKUP_COUNT - 1;
    v->backup.what++;
    pv_verify_go_on(v, was_last ? pv_verify_blobs : check_backup);
}

static void backup_settled(struct pv_verify *v, bool renewed)
{
    v->counts.bad_backup = v->counts.bad_backup || !renewed;
    tell(v, pv_backup_file(v->backup.what), "the bytes are wrong",
         renewed     ? "repaired"
         : v->repair ? "failed"
                     : NULL);
    next_backup(v);
}

static void on_renewed(void *ctx, enum pv_err err)
{
    struct pv_verify *v = ctx;
    v->renewing = NULL;
    backup_settled(v, err == PV_OK);
}

static void run_backup(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    job->err = PV_OK;
    if (v->backup.fs == NULL)
        job->err = pv_backup_check_begin(ctx->store, v->backup.what, &v->backup);
    if (job->err == PV_OK && !v->backup.end)
        job->err = pv_backup_check_step(ctx->store, &v->backup);
}

static void on_backup(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    if (!v->backup.end) {
        pv_verify_go_on(v, check_backup);
        return;
    }
    pv_backup_check_close(&v->backup);
    if (!v->backup.bad) {
        next_backup(v);
        return;
    }
    if (v->repair)
        v->renewing = pv_backup_renew(v->upkeep, v->backup.what, on_renewed, v);
    if (v->renewing == NULL)
        backup_settled(v, false);
}

static void check_backup(struct pv_verify *v)
{
    pv_verify_submit(v, run_backup, on_backup);
}

/* ---- vault.db ---- */

static void run_pages(struct pv_job *job, const struct pv_job_context *ctx)
{
    struct pv_verify *v = PV_CONTAINER_OF(job, struct pv_verify, job);
    job->err = pv_store_check_pages(ctx->store, &v->pages);
}

static void check_pages(struct pv_verify *v);

static void on_pages(struct pv_verify *v, enum pv_err err)
{
    if (err != PV_OK) {
        pv_verify_fail(v, err);
        return;
    }
    if (v->pages.bad) {
        v->counts.bad_pages = true;
        tell(v, "vault.db", "a page that is in use is damaged", NULL);
    }
    pv_verify_go_on(v, v->pages.end ? check_backup : check_pages);
}

static void check_pages(struct pv_verify *v)
{
    pv_verify_submit(v, run_pages, on_pages);
}

void pv_verify_side(struct pv_verify *v)
{
    if (v->deep)
        check_pages(v);
    else
        pv_verify_blobs(v);
}

void pv_verify_side_abandon(struct pv_verify *v)
{
    if (v->renewing != NULL)
        pv_backup_let_go(v->renewing);
    v->renewing = NULL;
}
