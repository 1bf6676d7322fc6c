/*
 * Fuzz targets: each tests/fuzz/NAME.c defines LLVMFuzzerTestOneInput, which takes any bytes and
 * ends the process when something is wrong. `make fuzz TARGET=NAME TIME=seconds` looks for such
 * bytes with libFuzzer; `make fuzz-smoke` replays those in tests/fuzz/corpus/NAME, with any
 * compiler (replay.c).
 *
 * A target gives the same for the same bytes: clocks stand still, random bytes come from a seed.
 * Inputs that are lists of events are read with pv_rd, until it is bad or at its end. The asserts
 * are those of the unit tests (cr_assert), so that their fixtures serve here, too.
 */
#ifndef PV_TESTS_FUZZ_H
#define PV_TESTS_FUZZ_H

#include "internal/base/mem.h"
#include "internal/base/rd.h"
#include "internal/base/wr.h"
#include "tests/support/simfs.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>

int LLVMFuzzerInitialize(int *argc, char ***argv); /* both: for all targets, in fuzz.c */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A folder in memory. */
struct pvf_folder {
    struct pvt_simfs *disk;
    const struct pv_fs *fs;
    pv_fd dir;
};
void pvf_folder_init(struct pvf_folder *f);
void pvf_folder_release(struct pvf_folder *f);
void pvf_folder_put(struct pvf_folder *f, const char *name, const void *bytes, size_t len);

/* len bytes with a NUL behind them, as the texts of people come; to be freed with pv_free. */
char *pvf_text(const uint8_t *bytes, size_t len);

/* Bytes in use, where a sanitizer counts them; else 0. */
size_t pvf_heap(void);

#endif
