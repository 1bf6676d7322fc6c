/* What the script (script.c) and the comparison (world.c) share: the blobs and records there are.
 */
#ifndef PV_TESTS_STORAGE_WORLD_PRIVATE_H
#define PV_TESTS_STORAGE_WORLD_PRIVATE_H

#include "tests/support/storage/world.h"

enum { PVT_ENVELOPE_MAX = 1024 };

struct pvt_cast_blob {
    struct pv_id id;
    size_t len;
    uint8_t *bytes;
};

struct pvt_cast_record {
    uint8_t env[PVT_ENVELOPE_MAX];
    size_t len;
    struct pv_record rec;
};

struct pvt_cast {
    struct pvt_cast_blob blobs[PVT_BLOBS];
    struct pvt_cast_record records[PVT_REGISTERS][PVT_VERSIONS];
};

/* Made once, never freed. */
const struct pvt_cast *pvt_cast(void);
/* A live name: the register of the file it points to; else PVT_REGISTERS. */
unsigned pvt_cast_link(unsigned reg, unsigned version);
bool pvt_cast_is_file(unsigned blob); /* not a row */
struct pv_id pvt_cast_node(unsigned node);

/* Sets w->finding; false. */
bool pvt_wrong(struct pvt_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
