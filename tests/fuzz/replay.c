/* Runs a target over files, or all files of folders, without a fuzzer: a crash is the finding. */
#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <stdio.h>

static unsigned long inputs;

static int replay(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F)
        return 0;
    size_t len = (size_t)st->st_size;
    uint8_t *bytes = malloc(len > 0 ? len : 1); /* exactly, so that a sanitizer sees its end */
    FILE *f = fopen(path, "rb");
    if (bytes == NULL || f == NULL || fread(bytes, 1, len, f) != len) {
        perror(path);
        exit(2);
    }
    fclose(f);
    (void)LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    inputs++;
    return 0;
}

int main(int argc, char **argv)
{
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (nftw(argv[i], replay, 16, FTW_PHYS) != 0) {
            perror(argv[i]);
            return 2;
        }
    printf("%lu inputs replayed\n", inputs);
    return inputs == 0;
}
