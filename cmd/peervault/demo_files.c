#include "cmd/peervault/demo_files.h"
#include "cmd/peervault/demo_nodes.h"
#include "cmd/peervault/output.h"
#include "crypto/hash.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 256 * 1024 };

static enum pv_exit failed(const char *path)
{
    return pv_out_fail(PV_EXIT_FAILED, "demo: %s: %s", path, strerror(errno));
}

enum pv_exit pv_demo_file_make(struct pv_demo_file *f, const struct pv_cli *cli, const char *path,
                               uint64_t size)
{
    uint8_t hash[PV_HASH_LEN];
    PV_AUTO_FREE uint8_t *block = pv_malloc(BLOCK);
    struct pv_sha256 *sha = pv_sha256_new();
    FILE *file = NULL;
    enum pv_exit exit = PV_EXIT_OK;
    f->path = pv_strdup(path);
    f->size = size;
    if (block == NULL || sha == NULL || f->path == NULL)
        exit = pv_out_no_memory();
    else if ((file = fopen(path, "wbe")) == NULL)
        exit = failed(path);
    /* Cut short by Ctrl-C: nobody will compare it. */
    for (uint64_t done = 0; exit == PV_EXIT_OK && done < size && !pv_demo_interrupted();) {
        PV_ASSERT(file != NULL);
        size_t n = size - done < BLOCK ? (size_t)(size - done) : BLOCK;
        pv_env_random(&cli->env, block, n);
        pv_sha256_update(sha, block, n);
        if (fwrite(block, 1, n, file) != n)
            exit = failed(path);
        done += n;
    }
    if (file != NULL && fclose(file) != 0 && exit == PV_EXIT_OK)
        exit = failed(path);
    if (exit == PV_EXIT_OK) {
        pv_sha256_final(sha, hash);
        pv_hex_encode(f->key, hash, sizeof hash);
    }
    pv_sha256_free(sha);
    return exit;
}

enum pv_exit pv_demo_file_compare(const struct pv_demo_file *f, const char *path)
{
    PV_AUTO_FREE uint8_t *block = pv_malloc((size_t)2 * BLOCK);
    FILE *mine = fopen(f->path, "rbe"), *other = fopen(path, "rbe");
    uint64_t done = 0;
    bool same = true;
    enum pv_exit exit = PV_EXIT_OK;
    if (block == NULL)
        exit = pv_out_no_memory();
    else if (mine == NULL || other == NULL)
        exit = failed(mine == NULL ? f->path : path);
    while (exit == PV_EXIT_OK && same) {
        size_t a = fread(block, 1, BLOCK, mine), b = fread(block + BLOCK, 1, BLOCK, other);
        same = a == b && memcmp(block, block + BLOCK, a) == 0;
        done += a;
        if (a < BLOCK)
            break;
    }
    if (exit == PV_EXIT_OK && (ferror(mine) || ferror(other)))
        exit = failed(path);
    else if (exit == PV_EXIT_OK && (!same || done != f->size))
        exit = pv_out_fail(PV_EXIT_CORRUPT, "demo: what came back differs from %s (%s)", f->path,
                           f->key);
    if (mine != NULL)
        (void)fclose(mine);
    if (other != NULL)
        (void)fclose(other);
    return exit;
}
