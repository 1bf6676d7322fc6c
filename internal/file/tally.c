/* See the header. */
#include "internal/file/tally.h"

enum { ROWS_A_SLICE = 512 };

static void count(struct pv_tally *t, const struct pv_blob_info *blob)
{
    const struct pv_places *p = &t->places;
    struct pv_place place;
    pv_places_find(p, blob, &place);
    uint64_t self = p->placed ? UINT64_C(1) << p->self : 0;
    uint64_t copies = (place.holders & ~p->away) | self;
    bool is_ours = (place.targets & self) != 0 || p->table.count == 0;
    t->under_replicated += (size_t)__builtin_popcountll(copies) < place.order.owners;
    t->undelivered += (place.targets & ~place.holders & ~self & ~p->away) != 0;
    t->extra += !is_ours;
    t->extra_bytes += is_ours ? 0 : blob->size;
}

enum pv_err pv_tally_slice(struct pv_tally *t, struct pv_store *s)
{
    struct pv_blob_row_info *rows = pv_calloc(ROWS_A_SLICE, sizeof *rows);
    size_t found = 0;
    if (rows == NULL)
        return PV_E_NOMEM;
    enum pv_err err = pv_places_load(&t->places, s);
    if (err == PV_OK)
        err = pv_store_blobs(s, &t->cursor, rows, ROWS_A_SLICE, &found, &t->end);
    for (size_t i = 0; err == PV_OK && i < found; i++)
        count(t, &rows[i].blob);
    pv_free(rows);
    return err;
}
