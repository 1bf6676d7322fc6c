/*
 * Test vectors: JSON files under tests/vectors and the hex strings in them. Tests run in the
 * repository's root. Bytes sit in allocations of exactly their length, so that the address
 * sanitizer sees a read past the end. Failures abort the test.
 */
#ifndef PV_TESTS_VECTORS_H
#define PV_TESTS_VECTORS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pvt_bytes {
    uint8_t *p;
    size_t len;
};

struct pvt_bytes pvt_bytes_of_hex(const char *hex);
struct pvt_bytes pvt_bytes_of_len(size_t len); /* zeroed */
void pvt_bytes_release(struct pvt_bytes *b);
bool pvt_bytes_equal(const struct pvt_bytes *b, const void *p, size_t len);

json_t *pvt_json_load(const char *path);                               /* json_decref it */
const char *pvt_json_text(const json_t *object, const char *name);     /* must be there */
long long pvt_json_number(const json_t *object, const char *name);     /* must be there */
struct pvt_bytes pvt_json_hex(const json_t *object, const char *name); /* must be there */
/* Whether the array of strings object[name] (absent or null: empty) has the text. */
bool pvt_json_has(const json_t *object, const char *name, const char *text);

/*
 * For vectors that say what lies on disks: a difference is not to be mended by other vectors. what
 * and detail are texts; Criterion must be included.
 */
#define PVT_FROZEN(same, what, detail)                                                   \
    cr_assert(same,                                                                      \
              "%s %s is not what existing vaults have: that takes a new version of the " \
              "format (storage/format.md, Versions), not new vectors",                   \
              what, detail)

/* Calls each for every test of every group of a Wycheproof file. */
typedef void (*pvt_wycheproof_fn)(const json_t *group, const json_t *test, void *arg);
void pvt_wycheproof_each(const char *path, pvt_wycheproof_fn each, void *arg);

#endif
