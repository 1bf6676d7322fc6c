/* What a `store` refuses before it stores anything, which files it finds, and their names. */
#include "cmd/peervault/commands.h"
#include "cmd/peervault/store_source.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(store_source, .timeout = 20);

static struct pvt_tmpdir dir;
static struct pv_cli cli;
static struct pv_args args;
static struct pv_store_source *source;
static struct pv_store_entry entry;

static enum pv_exit open_source(int argc, const char *const *line)
{
    static char copies[8][4096];
    static char *argv[8];
    char why[PV_ARGS_WHY_MAX];
    size_t used = 0;
    int at = 0;
    const char *name = "store";
    struct pv_args_input in = {argc, argv, pv_global_options,
                               pv_command_find(&name, 1, &used)->options, false};
    if (dir.path[0] == '\0')
        pvt_tmpdir_init(&dir);
    cr_assert_eq(chdir(dir.path), 0);
    cli = (struct pv_cli){.env = pv_env_real(NULL), .vault = cli.vault};
    for (int i = 0; i < argc; i++)
        argv[i] = strcpy(copies[i], line[i]);
    pv_store_source_close(source);
    source = NULL;
    pv_args_release(&args);
    pv_args_init(&args);
    cr_assert_eq(pv_args_parse(&args, &in, &at, why), PV_OK, "%s", why);
    return pv_store_source_open(&source, &cli, &args);
}

#define OPEN(...)                                                              \
    open_source((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
                (const char *[]){__VA_ARGS__})

static void next(enum pv_store_kind kind, const char *path, const char *name)
{
    cr_assert_eq(pv_store_source_next(source, &entry), PV_STORE_ENTRY, "before %s", path);
    cr_assert_str_eq(entry.path, path);
    cr_assert_eq(entry.kind, kind, "%s is %d", path, (int)entry.kind);
    if (kind != PV_STORE_FILE && kind != PV_STORE_STDIN)
        return;
    cr_assert_eq(entry.name == NULL, name == NULL);
    if (name != NULL)
        cr_assert_str_eq(entry.name, name);
}

static void finish(void)
{
    cr_assert_eq(pv_store_source_next(source, &entry), PV_STORE_END);
    pv_store_source_close(source);
    source = NULL;
    pv_args_release(&args);
    if (dir.path[0] != '\0')
        pvt_tmpdir_release(&dir);
}

static void put(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fwrite(text, 1, len, f);
    fclose(f);
}

Test(store_source, names_files_by_their_last_component)
{
    cr_assert_eq(OPEN("a", "x/b", "/y/z/c.txt", "-", "./d/"), PV_EXIT_OK);
    cr_assert(!pv_store_source_is_bulk(source));
    next(PV_STORE_FILE, "a", "a");
    next(PV_STORE_FILE, "x/b", "b");
    next(PV_STORE_FILE, "/y/z/c.txt", "c.txt");
    next(PV_STORE_STDIN, "-", NULL);
    next(PV_STORE_FILE, "./d/", NULL);
    cr_assert_eq(OPEN("-", "--name", "stream"), PV_EXIT_OK);
    next(PV_STORE_STDIN, "-", "stream");
    finish();
}

Test(store_source, refuses_what_cannot_be_meant)
{
    char name[1026];
    cr_assert_eq(OPEN("--private"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("x/same", "other", "y/same"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("a", "b", "--name", "n"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-", "-"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r", "a", "-"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r", "a", "--name", "n"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r", "/"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("a", "-0"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("--files-from", "-", "a"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("--files-from", "-", "-r"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("--files-from", "-", "--name", "n"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("--files-from", "not-there"), PV_EXIT_FAILED);
    memset(name, 'n', 1025);
    name[1025] = '\0';
    cr_assert_eq(OPEN("-", "--name", name), PV_EXIT_USAGE);
    name[1024] = '\0';
    cr_assert_eq(OPEN("-", "--name", name), PV_EXIT_OK);
    next(PV_STORE_STDIN, "-", name);
    finish();
}

Test(store_source, walks_folders_among_files)
{
    cr_assert_eq(OPEN("x"), PV_EXIT_OK);
    cr_assert_eq(mkdir("real", 0700) | mkdir("real/sub", 0700) | mkdir("other", 0700), 0);
    cr_assert_eq(mkdir("other/real", 0700), 0);
    put("real/f", "1", 1);
    put("real/sub/g", "1", 1);
    put("single", "1", 1);
    cr_assert_eq(symlink("real", "link"), 0);
    cr_assert_eq(symlink("f", "real/z"), 0);
    cr_assert_eq(OPEN("-r", "link/", "gone", "single", "./other"), PV_EXIT_OK);
    cr_assert(pv_store_source_is_bulk(source));
    next(PV_STORE_FILE, "link/f", "real/f");
    cr_assert(entry.no_links);
    next(PV_STORE_FILE, "link/sub/g", "real/sub/g");
    next(PV_STORE_SKIPPED, "link/z", NULL);
    next(PV_STORE_FILE, "gone", "gone"); /* opening it will fail */
    next(PV_STORE_FILE, "single", "single");
    cr_assert_eq(OPEN("-r", "link", "other/real"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r", "real", "other/../real"), PV_EXIT_USAGE);
    cr_assert_eq(OPEN("-r", "other/real"), PV_EXIT_OK);
    finish();
}

Test(store_source, binds_the_paths_of_a_list)
{
    static const char list[] = "a\n\n./b//c/./d\n/etc/x\n../up\n.\na\n./a\nlast";
    cr_assert_eq(OPEN("x"), PV_EXIT_OK);
    put("list", list, sizeof list - 1);
    cr_assert_eq(OPEN("--files-from", "list"), PV_EXIT_OK);
    next(PV_STORE_FILE, "a", "a");
    next(PV_STORE_FILE, "./b//c/./d", "b/c/d");
    cr_assert(!entry.no_links);
    next(PV_STORE_FILE, "/etc/x", "etc/x");
    next(PV_STORE_REFUSED, "../up", NULL);
    cr_assert_eq(entry.exit, PV_EXIT_FAILED);
    next(PV_STORE_REFUSED, ".", NULL);
    next(PV_STORE_REFUSED, "a", NULL);
    cr_assert_eq(entry.exit, PV_EXIT_USAGE);
    next(PV_STORE_REFUSED, "./a", NULL);
    next(PV_STORE_FILE, "last", "last");
    finish();
}

Test(store_source, takes_lists_apart_at_nul)
{
    static const char list[] = "new\nline\0\0b\0c";
    cr_assert_eq(OPEN("x"), PV_EXIT_OK);
    put("list", list, sizeof list - 1);
    cr_assert_eq(OPEN("--files-from", "list", "-0"), PV_EXIT_OK);
    next(PV_STORE_FILE, "new\nline", "new\nline");
    next(PV_STORE_FILE, "b", "b");
    next(PV_STORE_FILE, "c", "c");
    cr_assert_eq(OPEN("--files-from", "list"), PV_EXIT_OK);
    next(PV_STORE_FILE, "new", "new");
    next(PV_STORE_REFUSED, "line", NULL); /* and what follows the NUL */
    finish();
}

Test(store_source, refuses_lines_that_are_too_long)
{
    static char list[200000];
    memset(list, 'x', sizeof list);
    list[4095] = '\n';        /* 4095 bytes: a path, but too long a name */
    list[4096 + 4096] = '\n'; /* 4096: no path */
    list[sizeof list - 3] = '\n';
    list[sizeof list - 1] = '\n';
    cr_assert_eq(OPEN("x"), PV_EXIT_OK);
    put("list", list, sizeof list);
    cr_assert_eq(OPEN("--files-from", "list"), PV_EXIT_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pv_store_source_next(source, &entry), PV_STORE_ENTRY);
        cr_assert_eq(entry.kind, PV_STORE_REFUSED, "line %d", i);
        cr_assert_eq(strlen(entry.path), 4095);
    }
    next(PV_STORE_FILE, "x", "x");
    finish();
}

Test(store_source, does_not_wait_for_a_list)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(OPEN("--files-from", "-"), PV_EXIT_OK);
    cr_assert_eq(pv_store_source_next(source, &entry), PV_STORE_QUIET);
    cr_assert_eq(pv_store_source_fd(source), STDIN_FILENO);
    cr_assert_eq(write(ends[1], "one\ntw", 6), 6);
    next(PV_STORE_FILE, "one", "one");
    cr_assert_eq(pv_store_source_next(source, &entry), PV_STORE_QUIET);
    cr_assert_eq(write(ends[1], "o", 1), 1);
    close(ends[1]);
    next(PV_STORE_FILE, "two", "two");
    close(ends[0]);
    finish();
}

Test(store_source, tells_a_list_that_cannot_be_read)
{
    cr_assert_eq(OPEN("--files-from", "/"), PV_EXIT_OK);
    next(PV_STORE_REFUSED, "/", NULL);
    cr_assert_eq(entry.exit, PV_EXIT_FAILED);
    finish();
}
