/*
 * What vault.db keeps of the inside of a sealed record, so that names and keys can be found: the
 * file that a name points to, and the tag of a file's key. Needs the cluster key.
 */
#ifndef PV_INTERNAL_RECORD_INDEX_H
#define PV_INTERNAL_RECORD_INDEX_H

#include "crypto/keyring.h"
#include "storage/commit.h"

struct pv_record_index {
    bool has_link, has_prefix;
    struct pv_id link_file_rid;
    uint64_t prefix_tag;
};

/*
 * rec: parsed from env, verified. plain: room for PV_RECORD_BODY_MAX, to be wiped. OK also for
 * records without an inside. UNSUPPORTED: under a key that we have not got: kept as it is. CORRUPT:
 * its inside is not what it should be, or not under the rid that belongs to it. NOMEM.
 */
PV_MUST enum pv_err pv_record_index(struct pv_record_index *out, const struct pv_record *rec,
                                    const uint8_t *env, size_t len,
                                    const struct pv_keyring *keyring, uint64_t wall_ms,
                                    uint8_t *plain);
/* The commit of an envelope with its index; not pending. */
struct pv_commit_op pv_record_index_op(const struct pv_record_index *index, const uint8_t *env,
                                       size_t len);

#endif
