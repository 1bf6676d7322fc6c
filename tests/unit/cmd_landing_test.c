/* Files appear whole, below the folder, and nowhere else. */
#include "cmd/peervault/landing.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(landing, .timeout = 20);

static struct pvt_tmpdir dir;
static struct pv_cli cli;
static struct pv_landing *l;
static int good, bad;

static void on_settled(void *ctx, const char *name, void *tag, const char *why)
{
    (void)ctx;
    (void)name;
    cr_assert_eq(tag, &good);
    *(why == NULL ? &good : &bad) += 1;
}

static void setup(void)
{
    static const struct pv_landing_handler handler = {.settled = on_settled};
    pvt_tmpdir_init(&dir);
    cr_assert_eq(chdir(dir.path), 0);
    cli = (struct pv_cli){.env = pv_env_real(NULL)};
    cr_assert_eq(pv_landing_open(&l, "out", &cli, &handler), PV_EXIT_OK);
}

static void finish(void)
{
    pv_landing_close(l);
    pvt_tmpdir_release(&dir);
}

static const char *begin(const char *name)
{
    const char *why = NULL;
    cr_assert_eq(pv_landing_begin(l, name, strlen(name), &why), why == NULL);
    return why;
}

static void land(const char *name, const char *text)
{
    const char *why = begin(name);
    cr_assert_null(why, "%s: %s", name, why);
    cr_assert(pv_landing_write(l, (const uint8_t *)text, strlen(text), &why));
    pv_landing_end(l, 1234567, &good);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void holds(const char *path, const char *text)
{
    char read_back[64] = "";
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    size_t n = fread(read_back, 1, sizeof read_back - 1, f);
    fclose(f);
    cr_assert_eq(n, strlen(text));
    cr_assert_str_eq(read_back, text);
}

static size_t entries(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    cr_assert_not_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

Test(landing, appears_when_settled, .init = setup)
{
    struct stat st;
    mkdir("out/old", 0700);
    put("out/old/f", "older");
    land("a/b/c", "text");
    land("old/f", "newer");
    land("top", "");
    cr_assert_neq(access("out/a/b/c", F_OK), 0);
    cr_assert_eq(entries("out/a/b"), 1);
    holds("out/old/f", "older");
    pv_landing_settle(l);
    cr_assert_eq(good, 3);
    holds("out/a/b/c", "text");
    holds("out/old/f", "newer");
    cr_assert_eq(entries("out/a/b") + entries("out/old"), 2);
    cr_assert_eq(stat("out/a/b/c", &st), 0);
    cr_assert_eq(st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, 1234567);
    pv_landing_settle(l);
    cr_assert_eq(good + bad, 3);
    cr_assert_eq(pv_landing_sync(l), PV_EXIT_OK);
    finish();
}

Test(landing, settles_by_itself_when_many_gathered, .init = setup)
{
    char name[16];
    size_t fds = pvt_open_fds();
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "f%d", i);
        land(name, name);
    }
    cr_assert_eq(good, 96);
    cr_assert_leq(pvt_open_fds(), fds + 8);
    pv_landing_settle(l);
    cr_assert_eq(good, 100);
    cr_assert_eq(pvt_open_fds(), fds);
    cr_assert_eq(entries("out"), 100);
    finish();
}

Test(landing, abort_and_close_leave_nothing, .init = setup)
{
    const char *why;
    put("out/f", "older");
    cr_assert_null(begin("f"));
    cr_assert(pv_landing_write(l, (const uint8_t *)"half", 4, &why));
    pv_landing_abort(l);
    pv_landing_abort(l);
    cr_assert_eq(entries("out"), 1);
    land("g", "whole, not settled");
    cr_assert_null(begin("h"));
    pv_landing_close(l);
    cr_assert_eq(entries("out"), 1);
    holds("out/f", "older");
    pvt_tmpdir_release(&dir);
}

Test(landing, refuses_names_that_lead_out, .init = setup)
{
    static const char *const names[] = {"",  "/",   "/a",  "..",   "../a", "a/..",  "a/../b",
                                        ".", "./a", "a/.", "a//b", "a/",   "a/./b", "//"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_not_null(begin(names[i]), "%s", names[i]);
    cr_assert_not_null(pv_landing_refusal("a\0b", 3));
    cr_assert_eq(entries("out"), 0);
    char name[300] = "d/";
    memset(name + 2, 'n', 256);
    cr_assert_not_null(begin(name));
    name[257] = '\0';
    land(name, "255 bytes");
    land("..a/...", "these are names");
    cr_assert(!pv_landing_is_hopeless(l));
    pv_landing_settle(l);
    cr_assert_eq(good, 2);
    finish();
}

Test(landing, follows_no_links, .init = setup)
{
    mkdir("outside", 0700);
    put("outside/f", "precious");
    cr_assert_eq(symlink("../outside", "out/d") | symlink("../outside/f", "out/l"), 0);
    cr_assert_eq(symlink("../outside/new", "out/n"), 0);
    cr_assert_not_null(begin("d/f"));
    cr_assert_not_null(begin("d/new/x"));
    cr_assert_not_null(begin("l"));
    cr_assert_not_null(begin("n"));
    cr_assert_eq(entries("outside"), 1);
    /* A link that comes while the file is written is replaced, not followed. */
    cr_assert_null(begin("late"));
    cr_assert_eq(symlink("../outside/f", "out/late"), 0);
    pv_landing_end(l, 0, &good);
    pv_landing_settle(l);
    holds("out/late", "");
    holds("outside/f", "precious");
    /* So is a folder that is moved away: the file goes with it. */
    land("e/f", "text");
    cr_assert_eq(rename("out/e", "moved") | symlink("../outside", "out/e"), 0);
    pv_landing_settle(l);
    holds("moved/f", "text");
    holds("outside/f", "precious");
    finish();
}

Test(landing, tells_files_and_folders_of_one_name, .init = setup)
{
    land("a", "1");
    land("a/b", "2"); /* a is not there yet, and the folder comes first */
    pv_landing_settle(l);
    cr_assert_eq(good, 1);
    cr_assert_eq(bad, 1);
    holds("out/a/b", "2");
    cr_assert_not_null(begin("a"));
    cr_assert_not_null(begin("a/b/c"));
    cr_assert_eq(mkfifo("out/pipe", 0600), 0);
    cr_assert_not_null(begin("pipe"));
    cr_assert_eq(entries("out"), 2);
    finish();
}

Test(landing, needs_a_folder, .init = setup)
{
    struct pv_landing *other = NULL;
    const struct pv_landing_handler handler = {.settled = on_settled};
    put("file", "");
    cr_assert_eq(pv_landing_open(&other, "file", &cli, &handler), PV_EXIT_FAILED);
    cr_assert_eq(pv_landing_open(&other, "no/folder", &cli, &handler), PV_EXIT_FAILED);
    finish();
}

Test(landing, a_signal_removes_temporary_files, .init = setup)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)begin("a/one");
        pv_landing_end(l, 0, &good);
        (void)begin("b/two");
        raise(entries("out/a") + entries("out/b") == 2 ? SIGTERM : SIGKILL);
        _exit(98);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "status %x", status);
    cr_assert_eq(entries("out/a") + entries("out/b"), 0);
    finish();
}
