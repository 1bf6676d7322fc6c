/*
 * A systemd unit of the user who calls, that starts a daemon at login.
 *
 * The unit is a file of ours, known by its first line: a file that somebody else wrote under its
 * name is neither replaced nor removed. systemctl does the rest where a manager of the user's units
 * can be reached; in a container or behind su there is none, and the user is told what to call.
 */
#include "cmd/peervault/access.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT "peervault.service"
#define FIRST_LINE "# Written by peervault install-service, removed by uninstall-service.\n"

enum {
    UNIT_TEXT_MAX = 32 * 1024, /* two paths, each byte of which may become four */
    MEMORY_BESIDES_BUFFERS_MIB = 128,
};

struct service {
    char *folder, *path, *wanted; /* wanted: the link that `systemctl enable` makes */
};

static void release(struct service *s)
{
    pv_free(s->folder);
    pv_free(s->path);
    pv_free(s->wanted);
}

static enum pv_exit locate(struct service *s)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (xdg != NULL && xdg[0] == '/')
        s->folder = pv_asprintf("%s/systemd/user", xdg);
    else if (home != NULL && home[0] == '/')
        s->folder = pv_asprintf("%s/.config/systemd/user", home);
    else
        return pv_out_fail(PV_EXIT_USAGE, "HOME is not set: a user's units have no place");
    if (s->folder == NULL || (s->path = pv_asprintf("%s/" UNIT, s->folder)) == NULL ||
        (s->wanted = pv_asprintf("%s/default.target.wants/" UNIT, s->folder)) == NULL)
        return pv_out_no_memory();
    return PV_EXIT_OK;
}

/* ---- the unit's text ---- */

/* A word of ExecStart. What systemd would expand is doubled; in the program's path "$" is not. */
static enum pv_err append_word(struct pv_buf *out, const char *word, bool program)
{
    enum pv_err err = pv_buf_append(out, "\"", 1);
    for (; *word != '\0' && err == PV_OK; word++) {
        if (*word == '%' || (*word == '$' && !program))
            err = pv_buf_append(out, word, 1);
        else if (*word == '"' || *word == '\\')
            err = pv_buf_append(out, "\\", 1);
        if (err == PV_OK)
            err = pv_buf_append(out, word, 1);
    }
    return err == PV_OK ? pv_buf_append(out, "\" ", 2) : err;
}

static bool has_control_character(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static enum pv_err write_text(struct pv_buf *out, const char *program, const char *vault,
                              uint64_t memory_mib)
{
    enum pv_err err = pv_buf_printf(out, FIRST_LINE "[Unit]\n"
                                                    "Description=PeerVault file store\n"
                                                    "Documentation=man:peervault-daemon(8)\n"
                                                    "\n"
                                                    "[Service]\n"
                                                    "Type=notify\n"
                                                    "ExecStart=");
    if (err == PV_OK)
        err = append_word(out, program, true);
    if (err == PV_OK)
        err = append_word(out, "--vault", false);
    if (err == PV_OK)
        err = append_word(out, vault, false);
    if (err == PV_OK)
        err = pv_buf_printf(out,
                            "daemon\n"
                            "ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'\n"
                            "Restart=on-failure\n"
                            "RestartSec=5s\n"
                            "RestartPreventExitStatus=%d %d %d\n"
                            "TimeoutStartSec=10min\n"
                            "TimeoutStopSec=20s\n"
                            "# mem_limit and 128 MiB\n"
                            "MemoryMax=%" PRIu64 "M\n"
                            "LimitCORE=0\n"
                            "UMask=0077\n"
                            "NoNewPrivileges=yes\n"
                            "MemoryDenyWriteExecute=yes\n"
                            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
                            "SystemCallFilter=@system-service seccomp landlock_create_ruleset "
                            "landlock_add_rule landlock_restrict_self\n"
                            "\n"
                            "[Install]\n"
                            "WantedBy=default.target\n",
                            PV_EXIT_USAGE, PV_EXIT_CORRUPT, PV_EXIT_DENIED, memory_mib);
    return err;
}

static enum pv_exit make_text(struct pv_buf *out, const struct pv_cli *cli)
{
    char program[PATH_MAX];
    struct pv_config config;
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len <= 0)
        return pv_out_fail(PV_EXIT_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[len] = '\0';
    if (access(program, X_OK) != 0)
        return pv_out_fail(PV_EXIT_FAILED, "%s: %s", program, strerror(errno));
    if (has_control_character(program) || has_control_character(cli->vault))
        return pv_out_fail(PV_EXIT_USAGE,
                           "a unit cannot name the vault %s: its path, or the "
                           "program's, has control characters",
                           cli->vault);
    enum pv_exit exit = pv_settings_load(&config, cli, NULL, 0);
    if (exit != PV_EXIT_OK)
        return exit;
    uint64_t memory_mib = (config.mem_limit_bytes >> 20) + MEMORY_BESIDES_BUFFERS_MIB;
    if (write_text(out, program, cli->vault, memory_mib) != PV_OK)
        return pv_out_no_memory();
    return PV_EXIT_OK;
}

/* ---- files ---- */

static enum pv_exit file_failed(const char *path)
{
    return pv_out_fail(PV_EXIT_FAILED, "%s: %s", path, strerror(errno));
}

/* The folder and those above it. */
static enum pv_exit make_folders(char *path)
{
    for (char *p = path + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        int rc = mkdir(path, 0755);
        if (rc != 0 && errno != EEXIST)
            return file_failed(path);
        *p = c;
        if (c == '\0')
            return PV_EXIT_OK;
    }
}

/* *found: there is a unit. DENIED: it is not ours. */
static enum pv_exit look_at_unit(const struct service *s, bool *found)
{
    char text[sizeof FIRST_LINE] = "";
    PV_ASSERT(s->path != NULL); /* it was located */
    *found = false;
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? PV_EXIT_OK : file_failed(s->path);
    *found = true;
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (len != sizeof text - 1 || strcmp(text, FIRST_LINE) != 0)
        return pv_out_fail(PV_EXIT_DENIED,
                           "%s was not written by `peervault install-service`: it is left alone",
                           s->path);
    return PV_EXIT_OK;
}

static enum pv_exit write_unit(struct service *s, const struct pv_buf *text)
{
    enum pv_exit exit = make_folders(s->folder);
    if (exit != PV_EXIT_OK)
        return exit;
    PV_AUTO_FREE char *temporary = pv_asprintf("%s/." UNIT ".%ld", s->folder, (long)getpid());
    if (temporary == NULL)
        return pv_out_no_memory();
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return file_failed(temporary);
    bool written = write(fd, text->data, text->len) == (ssize_t)text->len && fsync(fd) == 0;
    if (close(fd) != 0 || !written || rename(temporary, s->path) != 0) {
        exit = file_failed(s->path);
        (void)unlink(temporary);
    }
    return exit;
}

/* ---- systemctl ---- */

extern char **environ;

/* Runs systemctl --user with these words and waits. quiet: its complaints are not of interest. */
static bool systemctl(bool quiet, const char *verb, const char *option, const char *unit)
{
    union { /* posix_spawn does not write to what it takes without const */
        const char *words[6];
        char *argv[6];
    } call = {{"systemctl", "--user"}};
    size_t count = 2;
    const char *const words[] = {verb, option, unit};
    for (size_t i = 0; i < PV_COUNT(words); i++)
        if (words[i] != NULL)
            call.words[count++] = words[i];
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    pid_t pid;
    int status = 0;
    int rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0 && quiet)
        rc = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawnp(&pid, call.argv[0], &actions, NULL, call.argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Also what makes a new or changed file known. */
static bool manager_is_reachable(void)
{
    return systemctl(true, "daemon-reload", NULL, NULL);
}

/* ---- commands ---- */

static enum pv_exit print(const struct pv_cli *cli, const struct service *s, const char *state)
{
    if (cli->json) {
        json_t *o = json_pack("{s:s}", "state", state);
        if (!pv_json_set_bytes(o, "unit", s->path)) {
            json_decref(o);
            return pv_out_no_memory();
        }
        return pv_out_json(o);
    }
    printf("unit   ");
    pv_out_name(s->path, strlen(s->path), cli->stdout_terminal);
    printf("\nstate  %s\n", state);
    return pv_out_flush();
}

static enum pv_exit start(const struct pv_cli *cli, const struct service *s)
{
    if (!manager_is_reachable()) {
        pv_cli_note(cli, "no service manager of yours is reachable from here: call `systemctl "
                         "--user daemon-reload` and `systemctl --user enable --now peervault` "
                         "where you are logged in");
        return print(cli, s, "written");
    }
    /* restart: a daemon of an earlier unit makes room for that of the new one. */
    if (!systemctl(false, "enable", "--quiet", UNIT) || !systemctl(false, "restart", NULL, UNIT))
        return pv_out_fail(PV_EXIT_FAILED, "the service does not start: `journalctl --user -u "
                                           "peervault` says why");
    pv_cli_note(cli, "it runs while you are logged in: `loginctl enable-linger` makes it start "
                     "with the machine");
    return print(cli, s, "running");
}

enum pv_exit pv_cmd_install_service(const struct pv_cli *cli, const struct pv_args *args)
{
    struct service s = {0};
    struct pv_buf text;
    bool found;
    (void)args;
    pv_buf_init(&text, UNIT_TEXT_MAX);
    enum pv_exit exit = locate(&s);
    if (exit == PV_EXIT_OK)
        exit = look_at_unit(&s, &found);
    if (exit == PV_EXIT_OK)
        exit = make_text(&text, cli);
    if (exit == PV_EXIT_OK)
        exit = write_unit(&s, &text);
    if (exit == PV_EXIT_OK)
        exit = start(cli, &s);
    pv_buf_release(&text);
    release(&s);
    return exit;
}

enum pv_exit pv_cmd_uninstall_service(const struct pv_cli *cli, const struct pv_args *args)
{
    struct service s = {0};
    bool found;
    (void)args;
    enum pv_exit exit = locate(&s);
    if (exit == PV_EXIT_OK)
        exit = look_at_unit(&s, &found);
    if (exit != PV_EXIT_OK)
        goto out;
    if (!found) {
        pv_cli_note(cli, "no service is installed");
        exit = print(cli, &s, "absent");
        goto out;
    }
    bool reachable = manager_is_reachable();
    if (reachable && !systemctl(false, "disable", "--now", UNIT)) {
        exit = pv_out_fail(PV_EXIT_FAILED, "the service does not stop: %s stays", s.path);
        goto out;
    }
    if (unlink(s.path) != 0 || (unlink(s.wanted) != 0 && errno != ENOENT && errno != ENOTDIR)) {
        exit = file_failed(s.path);
        goto out;
    }
    if (reachable)
        (void)manager_is_reachable(); /* forgets the unit */
    else
        pv_cli_note(cli, "no service manager of yours is reachable from here: a daemon that it "
                         "runs goes on until you log out");
    pv_cli_note(cli, "the vault %s stays as it is", cli->vault);
    exit = print(cli, &s, "absent");
out:
    release(&s);
    return exit;
}
