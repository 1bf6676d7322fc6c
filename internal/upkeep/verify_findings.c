/* What was found is settled one slice at a time: up to PV_VERIFY_REPAIRS repairs run at once. */
#include "internal/upkeep/verify_private.h"

static int bad_value, needed_value;

bool pv_verify_is_needed(const struct pv_verify *v, const struct pv_id *id)
{
    return pv_map_get(&v->bad, id->b) == &needed_value;
}

void pv_verify_note_bad(struct pv_verify *v, const struct pv_id *id, bool needed)
{
    if (needed)
        (void)pv_map_remove(&v->bad, id->b);
    enum pv_err err = pv_map_put(&v->bad, id->b, needed ? &needed_value : &bad_value);
    v->bad_is_full = v->bad_is_full || (err != PV_OK && err != PV_E_EXISTS);
}

bool pv_verify_is_bad(struct pv_verify *v, const struct pv_id *id)
{
    void *value = pv_map_get(&v->bad, id->b);
    if (value == &bad_value)
        pv_verify_note_bad(v, id, true);
    return value != NULL;
}

static const char *end_text(enum pv_repair_end end)
{
    switch (end) {
    case PV_REPAIR_GOOD:
    case PV_REPAIR_DONE:
        return "repaired";
    case PV_REPAIR_LOST:
        return "lost";
    case PV_REPAIR_UNREADABLE:
        return "unreadable";
    case PV_REPAIR_FAILED:
        break;
    }
    return "failed";
}

static void tell(struct pv_verify *v, const struct pv_verify_finding *f, const char *result)
{
    char id[PV_ID_HEX_LEN + 1];
    const char *cause = f->malformed ? "it is not what its file says"
                                     : pv_check_text((enum pv_check_result)f->blob.result);
    pv_id_hex(id, &f->blob.id);
    v->rq->io->event(v->rq, json_pack("{s:s, s:s, s:s, s:s, s:s*}", "event", "problem", "what",
                                      "blob", "blob", id, "cause", cause, "result", result));
}

static void end_finding(struct pv_verify *v, struct pv_verify_finding *f, bool good,
                        const char *result)
{
    f->ended = true;
    f->good = good;
    v->counts.bad_blobs++;
    v->counts.repaired += good;
    if (!good)
        pv_verify_note_bad(v, &f->blob.id, f->wanted);
    tell(v, f, result);
}

static void pump(struct pv_verify *v);

static void repaired(void *ctx, enum pv_repair_end end)
{
    struct pv_verify_slot *slot = ctx;
    struct pv_verify *v = slot->v;
    struct pv_verify_finding *f = &v->findings[slot->finding];
    slot->repair = NULL;
    /* A node of which every byte is right, and which cannot be opened, stays what it is. */
    f->malformed = end == PV_REPAIR_GOOD && f->blob.kind == PV_BLOB_NODE && f->wanted &&
                   f->blob.result == PV_CHECK_BYTES;
    bool good = (end == PV_REPAIR_GOOD || end == PV_REPAIR_DONE) && !f->malformed;
    end_finding(v, f, good, f->malformed ? "failed" : end_text(end));
    pump(v);
}

static struct pv_verify_slot *free_slot(struct pv_verify *v, bool *busy)
{
    struct pv_verify_slot *slot = NULL;
    for (size_t i = 0; i < PV_VERIFY_REPAIRS; i++) {
        if (v->slots[i].repair == NULL)
            slot = &v->slots[i];
        else
            *busy = true;
    }
    return slot;
}

static void pump(struct pv_verify *v)
{
    bool busy = false;
    for (size_t i = 0; i < v->finding_count; i++) {
        struct pv_verify_finding *f = &v->findings[i];
        struct pv_verify_slot *slot = free_slot(v, &busy);
        if (slot == NULL)
            return;
        if (f->started)
            continue;
        struct pv_repair_what what = {f->blob.id, f->wanted, f->blob.size, f->blob.kind};
        slot->v = v;
        slot->finding = i;
        slot->repair = pv_repair_start(v->files->config.node, &what, repaired, slot);
        if (slot->repair == NULL && busy)
            return; /* when one of ours ends */
        f->started = true;
        if (slot->repair == NULL)
            end_finding(v, f, false, end_text(PV_REPAIR_FAILED));
    }
    busy = false;
    (void)free_slot(v, &busy);
    if (!busy)
        v->findings_done(v);
}

void pv_verify_settle(struct pv_verify *v, void (*done)(struct pv_verify *v))
{
    v->findings_done = done;
    if (v->repair) {
        pump(v);
        return;
    }
    for (size_t i = 0; i < v->finding_count; i++) {
        struct pv_verify_finding *f = &v->findings[i];
        f->malformed = v->deep && f->wanted && f->blob.result == PV_CHECK_BYTES; /* it was read */
        end_finding(v, f, false, NULL);
    }
    done(v);
}

void pv_verify_abandon(struct pv_verify *v)
{
    for (size_t i = 0; i < PV_VERIFY_REPAIRS; i++)
        if (v->slots[i].repair != NULL)
            pv_repair_abandon(v->slots[i].repair);
}
