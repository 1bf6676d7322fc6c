/* What a name means here: nothing, a file, or a value. Blocking, for use inside a job. */
#ifndef PV_FILE_MEANING_H
#define PV_FILE_MEANING_H

#include "internal/file/lookup.h"

struct pv_meaning {
    enum { PV_MEANS_NOTHING, PV_MEANS_FILE, PV_MEANS_VALUE } what; /* removed ones mean nothing */
    bool was_value;           /* means nothing any more: this was a value before */
    pv_hlc hlc;               /* of the record that decides; 0: there is none */
    struct pv_id rid, hash;   /* of that record */
    struct pv_name_body body; /* unless there is none; borrowed parts point into plain */
};

/* plain has room for PV_RECORD_BODY_MAX. UNSUPPORTED: of a later version, or under a cluster key
 * that we have not got. CORRUPT, NOMEM. */
PV_MUST enum pv_err pv_meaning_read(struct pv_meaning *m, uint8_t *plain, const char *name,
                                    size_t len, const struct pv_job_context *ctx);
/* The name means a value. What cannot be read does not count. NOMEM, IO. */
PV_MUST enum pv_err pv_meaning_is_value(bool *is, const char *name, size_t len,
                                        const struct pv_job_context *ctx);
/* {"sha256", "size", "written_ms", "author"} of a value, merged into the event (stolen). NULL: no
 * memory. */
json_t *pv_meaning_describe(const struct pv_name_body *body, json_t *event);

#endif
