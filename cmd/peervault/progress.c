/*
 * The rate is the mean since the start: it does not jump, and the time left is only a guess anyway.
 * Nothing is drawn in the first half second, so that small files leave no flicker.
 */
#include "cmd/peervault/progress.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_WIDTH = 20, FIRST_MS = 500, EACH_MS = 100 };

void pv_progress_start(struct pv_progress *p, const struct pv_cli *cli, const char *verb,
                       uint64_t total)
{
    *p = (struct pv_progress){.cli = cli, .verb = verb, .total = total};
    p->shown = cli->stderr_terminal && !cli->quiet && !cli->json;
    p->start_ms = p->shown ? pv_env_mono_ms(&cli->env) : 0;
}

static void bar(char out[static BAR_WIDTH + 1], uint64_t done, uint64_t total)
{
    /* done / total without overflow for files of many exabytes. */
    size_t full = (size_t)((double)done / (double)total * BAR_WIDTH);
    memset(out, ' ', BAR_WIDTH);
    memset(out, '=', full);
    if (full < BAR_WIDTH)
        out[full] = '>';
    out[BAR_WIDTH] = '\0';
}

void pv_progress_text(char out[static PV_PROGRESS_TEXT_MAX], const char *verb, uint64_t done,
                      uint64_t total, uint64_t elapsed_ms)
{
    char now[PV_SIZE_TEXT_MAX], all[PV_SIZE_TEXT_MAX], rate[PV_SIZE_TEXT_MAX];
    char left[PV_TIME_TEXT_MAX], drawing[BAR_WIDTH + 1];
    if (elapsed_ms == 0)
        elapsed_ms = 1;
    double per_ms = (double)done / (double)elapsed_ms;
    pv_size_text(now, done);
    pv_size_text(rate, (uint64_t)(per_ms * 1000));
    if (total == 0) {
        snprintf(out, PV_PROGRESS_TEXT_MAX, "%s  %s  %s/s", verb, now, rate);
        return;
    }
    if (done > total)
        done = total; /* a file that grows: it will be refused at its end */
    pv_size_text(all, total);
    bar(drawing, done, total);
    if (done == 0)
        snprintf(left, sizeof left, "?");
    else
        pv_duration_text(left, (uint64_t)((double)(total - done) / per_ms));
    snprintf(out, PV_PROGRESS_TEXT_MAX, "%s  %s / %s  [%s]  %u %%  %s/s  %s left", verb, now, all,
             drawing, (unsigned)((double)done / (double)total * 100), rate, left);
}

void pv_progress_files_text(char out[static PV_PROGRESS_TEXT_MAX], const struct pv_progress *p,
                            uint64_t elapsed_ms)
{
    char bytes[PV_SIZE_TEXT_MAX], rate[PV_SIZE_TEXT_MAX];
    double per_s = 1000.0 / (double)(elapsed_ms == 0 ? 1 : elapsed_ms);
    pv_size_text(bytes, p->done);
    pv_size_text(rate, (uint64_t)((double)p->done * per_s));
    snprintf(out, PV_PROGRESS_TEXT_MAX, "%s  %llu files  %s  %s/s  %llu files/s", p->verb,
             (unsigned long long)p->files, bytes, rate,
             (unsigned long long)((double)p->files * per_s));
}

void pv_progress_fit(char text[static PV_PROGRESS_TEXT_MAX], size_t columns)
{
    char *from = strchr(text, '['), *to = strchr(text, ']');
    if (columns == 0 || strlen(text) < columns)
        return;
    if (from != NULL && to != NULL)
        memmove(from, to + 3, strlen(to + 3) + 1); /* with the two spaces behind it */
    if (strlen(text) >= columns) /* the last column stays free: some terminals wrap at it */
        text[columns - 1] = '\0';
}

static size_t terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void draw(struct pv_progress *p)
{
    char text[PV_PROGRESS_TEXT_MAX];
    if (!p->shown)
        return;
    uint64_t now = pv_env_mono_ms(&p->cli->env);
    if (now - p->start_ms < FIRST_MS || now - p->drawn_ms < EACH_MS)
        return;
    p->drawn_ms = now;
    p->drawn = true;
    if (p->counts_files)
        pv_progress_files_text(text, p, now - p->start_ms);
    else
        pv_progress_text(text, p->verb, p->done, p->total, now - p->start_ms);
    pv_progress_fit(text, terminal_columns()); /* a line that wraps cannot be wiped */
    (void)dprintf(STDERR_FILENO, "\r\033[K%s", text);
}

void pv_progress_add(struct pv_progress *p, uint64_t bytes)
{
    p->done += bytes;
    draw(p);
}

void pv_progress_file(struct pv_progress *p)
{
    p->files++;
    draw(p);
}

void pv_progress_clear(struct pv_progress *p)
{
    if (p->drawn)
        (void)dprintf(STDERR_FILENO, "\r\033[K");
    p->drawn = false;
}
