/* Reading and opening one sealed record inside a job; shared by lookup, listing and removal. */
#ifndef PV_FILE_OPEN_RECORD_H
#define PV_FILE_OPEN_RECORD_H

#include "crypto/body.h"
#include "internal/node/job.h"

/*
 * Opens an envelope of a type 1 or 2 record into plain (PV_RECORD_BODY_MAX bytes), with whatever
 * key of the keyring it names. NOT_FOUND: a tombstone, or under a key that has retired;
 * UNSUPPORTED: a key we have not got; CORRUPT.
 */
PV_MUST enum pv_err pv_open_envelope(uint8_t *plain, struct pv_record *rec, const uint8_t *env,
                                     size_t len, const struct pv_job_context *ctx);
/* The same, and tombstones are opened too (rec->flags tells). */
PV_MUST enum pv_err pv_open_any(uint8_t *plain, struct pv_record *rec, const uint8_t *env,
                                size_t len, const struct pv_job_context *ctx);
/* The record that is current under a rid, be it a tombstone. *rec borrows nothing. */
PV_MUST enum pv_err pv_open_current(uint8_t *plain, struct pv_record *rec, bool *pending,
                                    const struct pv_id *rid, const struct pv_job_context *ctx);
/* The same, but a tombstone is NOT_FOUND. */
PV_MUST enum pv_err pv_open_live(uint8_t *plain, struct pv_record *rec, bool *pending,
                                 const struct pv_id *rid, const struct pv_job_context *ctx);

#endif
