/* A target appears whole or not at all. */
#include "cmd/peervault/sink.h"
#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(sink, .timeout = 20);

static struct pvt_tmpdir dir;
static struct pv_cli cli;
static char target[512];

static void setup(void)
{
    pvt_tmpdir_init(&dir);
    cli = (struct pv_cli){.env = pv_env_real(NULL)};
    snprintf(target, sizeof target, "%s/target", dir.path);
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
    cr_assert_not_null(f);
    size_t n = fread(read_back, 1, sizeof read_back - 1, f);
    fclose(f);
    cr_assert_eq(n, strlen(text));
    cr_assert_str_eq(read_back, text);
}

static size_t entries(void)
{
    DIR *d = opendir(dir.path);
    size_t n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static enum pv_exit write_text(struct pv_sink *s, const char *text)
{
    return pv_sink_write(s, (const uint8_t *)text, strlen(text));
}

Test(sink, appears_on_commit_only, .init = setup)
{
    struct pv_sink s;
    struct stat st;
    umask(027);
    cr_assert_eq(pv_sink_open(&s, target, &cli), PV_EXIT_OK);
    cr_assert_eq(write_text(&s, "new"), PV_EXIT_OK);
    cr_assert_neq(access(target, F_OK), 0);
    cr_assert_eq(entries(), 1);
    cr_assert_eq(pv_sink_commit(&s), PV_EXIT_OK);
    pv_sink_abort(&s);
    holds(target, "new");
    cr_assert_eq(stat(target, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0640);
    cr_assert_eq(entries(), 1);
    pvt_tmpdir_release(&dir);
}

Test(sink, gets_the_time_it_was_stored_with, .init = setup)
{
    struct pv_sink s;
    struct stat st;
    cr_assert_eq(pv_sink_open(&s, target, &cli), PV_EXIT_OK);
    s.mtime_ms = 981173106789;
    cr_assert_eq(pv_sink_commit(&s), PV_EXIT_OK);
    cr_assert_eq(stat(target, &st), 0);
    cr_assert_eq(st.st_mtim.tv_sec, 981173106);
    cr_assert_eq(st.st_mtim.tv_nsec, 789000000);
    pvt_tmpdir_release(&dir);
}

Test(sink, abort_keeps_the_old_file, .init = setup)
{
    struct pv_sink s;
    size_t fds = pvt_open_fds();
    put(target, "precious");
    cr_assert_eq(pv_sink_open(&s, target, &cli), PV_EXIT_OK);
    cr_assert_eq(write_text(&s, "half"), PV_EXIT_OK);
    pv_sink_abort(&s);
    pv_sink_abort(&s);
    holds(target, "precious");
    cr_assert_eq(entries(), 1);
    cr_assert_eq(pvt_open_fds(), fds);
    pvt_tmpdir_release(&dir);
}

Test(sink, replaces_what_a_link_points_at, .init = setup)
{
    struct pv_sink s;
    struct stat st;
    char link_path[512];
    snprintf(link_path, sizeof link_path, "%s/link", dir.path);
    put(target, "old");
    cr_assert_eq(symlink("target", link_path), 0);
    cr_assert_eq(pv_sink_open(&s, link_path, &cli), PV_EXIT_OK);
    cr_assert_eq(write_text(&s, "new"), PV_EXIT_OK);
    cr_assert_eq(pv_sink_commit(&s), PV_EXIT_OK);
    holds(target, "new");
    cr_assert_eq(lstat(link_path, &st), 0);
    cr_assert(S_ISLNK(st.st_mode));
    pvt_tmpdir_release(&dir);
}

Test(sink, writes_into_devices, .init = setup)
{
    struct pv_sink s;
    cr_assert_eq(pv_sink_open(&s, "/dev/null", &cli), PV_EXIT_OK);
    cr_assert_null(s.target);
    cr_assert_eq(write_text(&s, "gone"), PV_EXIT_OK);
    cr_assert_eq(pv_sink_commit(&s), PV_EXIT_OK);
    cr_assert_eq(pv_sink_open(&s, "/dev/full", &cli), PV_EXIT_OK);
    cr_assert_eq(write_text(&s, "no room"), PV_EXIT_FAILED);
    pv_sink_abort(&s);
    pvt_tmpdir_release(&dir);
}

Test(sink, refuses_folders_and_missing_ones, .init = setup)
{
    struct pv_sink s;
    char missing[512];
    cr_assert_eq(pv_sink_open(&s, dir.path, &cli), PV_EXIT_FAILED);
    snprintf(missing, sizeof missing, "%s/no/such", dir.path);
    cr_assert_eq(pv_sink_open(&s, missing, &cli), PV_EXIT_FAILED);
    cr_assert_eq(s.fd, -1);
    cr_assert_eq(entries(), 0);
    pvt_tmpdir_release(&dir);
}

Test(sink, a_signal_removes_the_temporary_file, .init = setup)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    put(target, "precious");
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            struct pv_sink s;
            (void)signal(signals[i], SIG_DFL); /* shells start what is in the background deaf */
            if (pv_sink_open(&s, target, &cli) != PV_EXIT_OK || entries() != 2)
                _exit(99);
            raise(signals[i]);
            _exit(98);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == signals[i], "status %x", status);
        cr_assert_eq(entries(), 1);
        holds(target, "precious");
    }
    pvt_tmpdir_release(&dir);
}

Test(sink, keeps_binary_from_terminals)
{
    static const uint8_t all[] = {0, 7, 8, 11, 27, 31, 127};
    cr_assert(pv_is_text((const uint8_t *)"line\tone\r\n\xc3\xa9", 12));
    cr_assert(pv_is_text(all, 0));
    for (size_t i = 0; i < sizeof all; i++)
        cr_assert(!pv_is_text(all + i, 1));
    struct pv_sink s = {.fd = STDOUT_FILENO, .terminal = true, .shown = "standard output"};
    cr_assert_eq(pv_sink_write(&s, all, 1), PV_EXIT_USAGE);
}
