/*
 * The show: start, join, store through the last node, fetch through all others and compare, kill
 * the node that stored, fetch once more. Every step is a real command or daemon of this program.
 */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/demo_files.h"
#include "cmd/peervault/demo_nodes.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"
#include "internal/config_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

enum { FILES_MAX = 10000, SMALL_MAX = 200000, REPLICAS = 3, BIG_MIB = 256 };

struct demo {
    const struct pv_cli *cli;
    struct pv_demo_cluster cluster;
    struct pv_demo_file *files; /* the large one last, if there is one */
    size_t small_count, file_count;
    uint64_t big_bytes, start_ms;
};

static void say(const struct demo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct demo *d, const char *fmt, ...)
{
    va_list ap;
    if (d->cli->json || d->cli->quiet)
        return;
    uint64_t ms = pv_env_mono_ms(&d->cli->env) - d->start_ms;
    printf("%6.2fs  ", (double)ms / 1000);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    fputc('\n', stdout);
    (void)fflush(stdout); /* a failure stays and is said at the end */
}

/* ---- before ---- */

static enum pv_exit read_options(struct demo *d, unsigned *nodes, const struct pv_args *args)
{
    const char *n = pv_args_value(args, "nodes"), *f = pv_args_value(args, "files");
    const char *big = pv_args_value(args, "big");
    uint64_t node_count = 3, files = 20;
    d->big_bytes = (uint64_t)BIG_MIB * 1024 * 1024;
    if (n != NULL && pv_number_parse(&node_count, n, 2, PV_DEMO_NODES_MAX) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--nodes %.80s: must be a number from 2 to %d", n,
                           PV_DEMO_NODES_MAX);
    if (f != NULL && pv_number_parse(&files, f, 1, FILES_MAX) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--files %.80s: must be a number from 1 to %d", f,
                           FILES_MAX);
    if (big != NULL && pv_size_parse(&d->big_bytes, big) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--big %.80s: must be a size such as 64MiB", big);
    *nodes = (unsigned)node_count;
    d->small_count = (size_t)files;
    d->file_count = d->small_count + (d->big_bytes > 0 ? 1 : 0);
    return PV_EXIT_OK;
}

/* The large file, its copy in each vault, and what is fetched; nodes keep a reserve free. */
static enum pv_exit check_space(const struct demo *d)
{
    struct statvfs fs;
    char want[PV_SIZE_TEXT_MAX], have[PV_SIZE_TEXT_MAX];
    if (statvfs(d->cluster.folder, &fs) != 0)
        return PV_EXIT_OK; /* the demo itself will find out */
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t reserve = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
    if (reserve > UINT64_C(1) << 30)
        reserve = UINT64_C(1) << 30;
    uint64_t small = d->small_count * (uint64_t)SMALL_MAX;
    uint64_t needed = (d->cluster.count + 2) * (d->big_bytes + small + (16 << 20)) + reserve;
    if (d->big_bytes <= UINT64_MAX / 64 && needed <= free_bytes)
        return PV_EXIT_OK;
    pv_size_text(want, needed);
    pv_size_text(have, free_bytes);
    return pv_out_fail(PV_EXIT_FULL,
                       "demo: needs %s, but %s has %s free: set TMPDIR, or a smaller --big", want,
                       d->cluster.folder, have);
}

/* Sizes from a few bytes to SMALL_MAX: within a record, in vault.db, and as blob files. */
static uint64_t small_size(size_t i)
{
    static const uint64_t sizes[] = {11, 900, 4096, 4097, 20000, 65536, 130000, SMALL_MAX};
    return sizes[i % PV_COUNT(sizes)] - i / PV_COUNT(sizes) % 7;
}

static enum pv_exit make_files(struct demo *d)
{
    enum pv_exit exit = PV_EXIT_OK;
    d->files = pv_calloc(d->file_count, sizeof *d->files);
    if (d->files == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < d->file_count && exit == PV_EXIT_OK; i++) {
        bool big = i == d->small_count;
        PV_AUTO_FREE char *path = big ? pv_asprintf("%s/large.bin", d->cluster.folder)
                                      : pv_asprintf("%s/small-%zu.bin", d->cluster.folder, i + 1);
        if (path == NULL)
            return pv_out_no_memory();
        exit = pv_demo_file_make(&d->files[i], d->cli, path, big ? d->big_bytes : small_size(i));
        if (exit == PV_EXIT_OK && pv_demo_interrupted())
            exit = pv_out_fail(PV_EXIT_FAILED, "demo: interrupted: everything is being removed");
    }
    return exit;
}

static enum pv_exit start_nodes(struct demo *d)
{
    enum pv_exit exit = PV_EXIT_OK;
    for (unsigned i = 0; i < d->cluster.count && exit == PV_EXIT_OK; i++) {
        exit = pv_demo_start(&d->cluster, i);
        if (exit == PV_EXIT_OK)
            say(d, "node %u listens on %s", i + 1, d->cluster.nodes[i].address);
    }
    if (exit == PV_EXIT_OK)
        exit = pv_demo_join(&d->cluster);
    if (exit == PV_EXIT_OK)
        say(d, "%u nodes know and trust each other", d->cluster.count);
    return exit;
}

/* ---- store and fetch ---- */

/* Stores files first..last through the node and checks what it prints, line by line. */
static enum pv_exit store(struct demo *d, unsigned node, size_t first, size_t count)
{
    char copies[16];
    struct pv_buf out;
    PV_AUTO_FREE const char **words = pv_calloc(count + 4, sizeof *words);
    if (words == NULL)
        return pv_out_no_memory();
    unsigned want = d->cluster.count < REPLICAS ? d->cluster.count : REPLICAS;
    (void)snprintf(copies, sizeof copies, "%u", want);
    words[0] = "store";
    words[1] = "--copies";
    words[2] = copies;
    for (size_t i = 0; i < count; i++)
        words[3 + i] = d->files[first + i].path;
    pv_buf_init(&out, (size_t)64 * 1024 * 1024);
    enum pv_exit exit = pv_demo_run(&d->cluster, node, words, &out);
    if (exit == PV_EXIT_OK && pv_buf_append(&out, "", 1) != PV_OK)
        exit = pv_out_no_memory();
    const char *line = (const char *)out.data;
    for (size_t i = 0; i < count && exit == PV_EXIT_OK; i++) {
        const struct pv_demo_file *f = &d->files[first + i];
        if (strncmp(line, f->key, PV_ID_HEX_LEN) != 0)
            exit = pv_out_fail(PV_EXIT_CORRUPT,
                               "demo: %s: store printed another key than its "
                               "SHA-256, %s",
                               f->path, f->key);
        const char *end = strchr(line, '\n');
        line = end != NULL ? end + 1 : line + strlen(line);
    }
    pv_buf_release(&out);
    return exit;
}

static enum pv_exit store_all(struct demo *d, unsigned node)
{
    uint64_t start = pv_env_mono_ms(&d->cli->env);
    char size[PV_SIZE_TEXT_MAX];
    enum pv_exit exit = store(d, node, 0, d->small_count);
    if (exit == PV_EXIT_OK)
        say(d, "stored %zu small files through node %u, copied to the others", d->small_count,
            node + 1);
    if (exit == PV_EXIT_OK && d->big_bytes > 0) {
        exit = store(d, node, d->small_count, 1);
        pv_size_text(size, d->big_bytes);
        if (exit == PV_EXIT_OK)
            say(d, "stored one of %s through node %u, copied to the others", size, node + 1);
    }
    d->cluster.nodes[node].ms = pv_env_mono_ms(&d->cli->env) - start;
    return exit;
}

static enum pv_exit fetch(struct demo *d, unsigned node, const struct pv_demo_file *f)
{
    PV_AUTO_FREE char *path = pv_asprintf("%s/fetched.bin", d->cluster.folder);
    if (path == NULL)
        return pv_out_no_memory();
    const char *words[] = {"get", f->key, "-o", path, NULL};
    enum pv_exit exit = pv_demo_run(&d->cluster, node, words, NULL);
    return exit == PV_EXIT_OK ? pv_demo_file_compare(f, path) : exit;
}

static enum pv_exit fetch_all(struct demo *d, unsigned origin)
{
    enum pv_exit exit = PV_EXIT_OK;
    for (unsigned node = 0; node < d->cluster.count && exit == PV_EXIT_OK; node++) {
        if (node == origin)
            continue;
        uint64_t start = pv_env_mono_ms(&d->cli->env);
        for (size_t i = 0; i < d->file_count && exit == PV_EXIT_OK; i++)
            exit = fetch(d, node, &d->files[i]);
        d->cluster.nodes[node].ms = pv_env_mono_ms(&d->cli->env) - start;
        if (exit == PV_EXIT_OK)
            say(d, "fetched all %zu through node %u: every byte is equal", d->file_count, node + 1);
    }
    return exit;
}

static enum pv_exit lose_origin(struct demo *d, unsigned origin)
{
    enum pv_exit exit = PV_EXIT_OK;
    for (unsigned i = 0; i < d->cluster.count && exit == PV_EXIT_OK; i++)
        exit = pv_demo_count(&d->cluster, i); /* while all can be asked */
    if (exit != PV_EXIT_OK)
        return exit;
    pv_demo_kill(&d->cluster, origin);
    say(d, "killed node %u, which all files came from", origin + 1);
    const struct pv_demo_file *last = &d->files[d->file_count - 1];
    exit = fetch(d, 0, last);
    if (exit == PV_EXIT_OK)
        say(d, "fetched %.12s... through node 1 all the same: every byte is equal", last->key);
    return exit;
}

static enum pv_exit print_table(const struct demo *d, unsigned origin)
{
    enum pv_exit exit = PV_EXIT_OK;
    bool text = !d->cli->json && !d->cli->quiet;
    if (text)
        printf("\n%-6s  %-6s  %8s  %12s  %s\n", "NODE", "ROLE", "BLOBS", "BYTES", "TIME");
    for (unsigned i = 0; i < d->cluster.count && exit == PV_EXIT_OK; i++) {
        const struct pv_demo_node *n = &d->cluster.nodes[i];
        char size[PV_SIZE_TEXT_MAX];
        pv_size_text(size, (uint64_t)n->blob_bytes);
        if (d->cli->json)
            exit = pv_out_json(json_pack("{s:i, s:s, s:I, s:I, s:I}", "node", (int)n->number,
                                         "role", "keyed", "blobs", n->blobs, "bytes", n->blob_bytes,
                                         "ms", (json_int_t)n->ms));
        else if (text)
            printf("%-6u  %-6s  %8lld  %12s  %.2fs %s\n", n->number, "keyed", (long long)n->blobs,
                   size, (double)n->ms / 1000, i == origin ? "to store" : "to fetch");
    }
    return exit == PV_EXIT_OK ? pv_out_flush() : exit;
}

enum pv_exit pv_cmd_demo(const struct pv_cli *cli, const struct pv_args *args)
{
    struct demo d = {.cli = cli, .start_ms = pv_env_mono_ms(&cli->env)};
    unsigned count = 0;
    enum pv_exit exit = read_options(&d, &count, args);
    if (exit != PV_EXIT_OK)
        return exit;
    unsigned origin = count < 3 ? count - 1 : 2;
    exit = pv_demo_init(&d.cluster, cli, count);
    if (exit == PV_EXIT_OK)
        exit = check_space(&d);
    if (exit == PV_EXIT_OK)
        say(&d, "%u nodes with vaults of their own in %s", count, d.cluster.folder);
    if (exit == PV_EXIT_OK)
        exit = start_nodes(&d);
    if (exit == PV_EXIT_OK)
        exit = make_files(&d);
    if (exit == PV_EXIT_OK)
        say(&d, "made %zu files of random bytes", d.file_count);
    if (exit == PV_EXIT_OK)
        exit = store_all(&d, origin);
    if (exit == PV_EXIT_OK)
        exit = fetch_all(&d, origin);
    if (exit == PV_EXIT_OK)
        exit = lose_origin(&d, origin);
    if (exit == PV_EXIT_OK)
        exit = print_table(&d, origin);
    else if (!pv_demo_interrupted())
        pv_demo_explain(&d.cluster);
    pv_demo_release(&d.cluster);
    for (size_t i = 0; d.files != NULL && i < d.file_count; i++)
        pv_free(d.files[i].path);
    pv_free(d.files);
    return exit;
}
