/*
 * libedit around one line at a time. SIGINT at the prompt drops the line: libedit gives the
 * terminal back before it passes the signal on, the read ends, and the next line begins. While a
 * command runs the signal does what it does without a shell.
 */
#include "cmd/peervault/shell.h"

#include "cmd/peervault/output.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 1000, SHOWN_MAX = 60 };

struct pv_editor {
    const struct pv_cli *cli;
    EditLine *el;
    History *history;
    char *path; /* of the history; NULL: nowhere */
    char *line;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- history ---- */

/* Makes the folders of a path; what cannot be made is found out by whoever opens the file. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
}

/* It may have values in it: nobody else reads it. NULL: there is no place for it. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path = NULL;
    if (state != NULL && state[0] == '/')
        path = pv_asprintf("%s/peervault/history", state);
    else if (home != NULL && home[0] == '/')
        path = pv_asprintf("%s/.local/state/peervault/history", home);
    if (path == NULL)
        return NULL;
    make_folders(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fchmod(fd, 0600) == 0) {
        (void)close(fd);
        return path;
    }
    if (fd >= 0)
        (void)close(fd);
    pv_free(path);
    return NULL;
}

static void save(struct pv_editor *e)
{
    HistEvent event;
    mode_t before = umask(0077);
    if (e->path != NULL && history(e->history, &event, H_SAVE, e->path) < 0)
        pv_cli_note(e->cli, "%s: the history cannot be written", e->path);
    (void)umask(before);
}

/* ---- completion ---- */

static size_t common(const struct pv_completions *c)
{
    size_t len = strlen(c->list[0]);
    for (size_t i = 1; i < c->count; i++) {
        size_t same = 0;
        while (same < len && c->list[i][same] == c->list[0][same])
            same++;
        len = same;
    }
    return len;
}

static void show(const struct pv_completions *c)
{
    fputc('\n', stdout);
    for (size_t i = 0; i < c->count && i < SHOWN_MAX; i++)
        printf("%s\n", c->list[i]);
    if (c->count > SHOWN_MAX)
        printf("...\n");
    (void)fflush(stdout);
}

static unsigned char complete(EditLine *el, wint_t ch)
{
    struct pv_editor *e = NULL;
    struct pv_completions found;
    const LineInfo *info = el_line(el);
    unsigned char result = CC_REFRESH;
    size_t at = 0;
    (void)ch;
    el_get(el, EL_CLIENTDATA, &e);
    PV_AUTO_FREE char *line = pv_asprintf("%.*s", (int)(info->cursor - info->buffer), info->buffer);
    if (line == NULL)
        return CC_ERROR;
    pv_complete(&found, e->cli, line, &at);
    size_t typed = strlen(line) - at, len = found.count > 0 ? common(&found) : 0;
    if (found.count == 0 || len < typed) {
        result = CC_ERROR;
    } else if (len > typed || found.count == 1) {
        PV_AUTO_FREE char *more = pv_asprintf("%.*s%s", (int)(len - typed), found.list[0] + typed,
                                              found.count == 1 ? " " : "");
        if (more == NULL || el_insertstr(el, more) != 0)
            result = CC_ERROR;
    } else {
        show(&found);
        result = CC_REDISPLAY;
    }
    pv_completions_release(&found);
    return result;
}

/* ---- lines ---- */

static char *prompt(EditLine *el)
{
    static char text[] = "peervault> ";
    (void)el;
    return text;
}

struct pv_editor *pv_editor_new(const struct pv_cli *cli)
{
    HistEvent event;
    struct pv_editor *e = pv_calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->cli = cli;
    e->el = el_init("peervault", stdin, stdout, stderr);
    e->history = history_init();
    if (e->el == NULL || e->history == NULL) {
        pv_editor_free(e);
        return NULL;
    }
    (void)history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(e->history, &event, H_SETUNIQUE, 1);
    (void)el_set(e->el, EL_CLIENTDATA, e);
    (void)el_set(e->el, EL_PROMPT, prompt);
    (void)el_set(e->el, EL_EDITOR, "emacs");
    (void)el_set(e->el, EL_SIGNAL, 1);
    (void)el_set(e->el, EL_HIST, history, e->history);
    /* The wide one: the other leaks copies of its texts. */
    (void)el_wset(e->el, EL_ADDFN, L"complete", L"complete a command or a name", complete);
    (void)el_set(e->el, EL_BIND, "^I", "complete", NULL);
    (void)el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    e->path = history_path();
    if (e->path != NULL)
        (void)history(e->history, &event, H_LOAD, e->path); /* a new one has nothing to load */
    return e;
}

static void keep(struct pv_editor *e)
{
    HistEvent event;
    if (e->line[0] != '\0' && e->line[0] != ' ' && e->line[0] != '\t')
        (void)history(e->history, &event, H_ENTER, e->line);
}

const char *pv_editor_line(struct pv_editor *e)
{
    struct sigaction ours = {.sa_handler = on_interrupt}, before;
    const char *text = NULL;
    int count = 0;
    pv_free(e->line);
    e->line = NULL;
    (void)sigemptyset(&ours.sa_mask);
    (void)sigaction(SIGINT, &ours, &before);
    do {
        interrupted = 0;
        text = el_gets(e->el, &count);
        if (interrupted) {
            (void)fputc('\n', stdout);
            el_reset(e->el);
        }
    } while (interrupted);
    (void)sigaction(SIGINT, &before, NULL);
    if (text == NULL || count <= 0) {
        (void)fputc('\n', stdout); /* Ctrl-D leaves the cursor behind the prompt */
        return NULL;
    }
    size_t len = strcspn(text, "\r\n");
    e->line = pv_asprintf("%.*s", (int)len, text);
    if (e->line != NULL)
        keep(e);
    return e->line;
}

void pv_editor_free(struct pv_editor *e)
{
    if (e == NULL)
        return;
    if (e->history != NULL)
        save(e);
    if (e->el != NULL)
        el_end(e->el);
    if (e->history != NULL)
        history_end(e->history);
    pv_free(e->path);
    pv_free(e->line);
    pv_free(e);
}
