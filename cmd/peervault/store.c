/*
 * Uploads are pipelined: the next file is sent while the server still works on the former ones, at
 * most WINDOW of them; that is what makes many small files fast, because their commits are grouped.
 * Data is sent and replies are read in one poll, so neither side can wait for the other for ever.
 * Lines are printed in input order: an item whose turn has not come keeps its result.
 *
 * A file that fails while it is read must not be ended: its end would make it valid. The other open
 * uploads are awaited, then the connection is closed, which cancels it, and a new one goes on.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/progress.h"
#include "cmd/peervault/store_plan.h"
#include "cmd/peervault/store_source.h"
#include "cmd/peervault/folder.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 64, ERROR_MAX = 512 };

struct upload {
    const struct pv_cli *cli;
    struct pv_client *client;
    struct pv_store_source *source;
    bool source_ended;
    struct pv_store_plan plan;
    unsigned open;                 /* requests whose final reply is to come */
    struct pv_store_item *current; /* being sent */
    int fd;                        /* of current */
    bool sized;                    /* current is a regular file of `size` bytes */
    uint64_t size, sent;
    bool cancelling; /* a file failed while it was read: the connection must go */
    bool impatient;  /* copies were waited for in vain: do not wait again */
    struct pv_progress progress;
};

/* ---- the end of an item ---- */

static void fail(struct upload *u, struct pv_store_item *item, enum pv_exit exit, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));
static void fail(struct upload *u, struct pv_store_item *item, enum pv_exit exit, const char *fmt,
                 ...)
{
    char error[ERROR_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(error, sizeof error, fmt, ap);
    va_end(ap);
    pv_progress_clear(&u->progress);
    pv_out_line("%s: %s", item->path, error);
    pv_store_settle(item, exit, error);
}

static void close_current(struct upload *u)
{
    if (u->fd >= 0 && u->fd != STDIN_FILENO)
        (void)close(u->fd);
    u->fd = -1;
    u->current = NULL;
}

/* The server must never see the end of a file that could not be read whole. */
static void cancel_current(struct upload *u)
{
    close_current(u);
    u->open--;
    u->cancelling = true;
}

/* ---- sending ---- */

static const char *not_regular(mode_t mode)
{
    if (S_ISDIR(mode))
        return "is a directory: use -r for the files in it";
    if (S_ISFIFO(mode))
        return "is a pipe: use `store - < pipe` to store what comes out of it";
    if (S_ISSOCK(mode))
        return "is a socket: only regular files can be stored";
    return "is a device: only regular files can be stored";
}

/* False: failed, said. O_NONBLOCK, because opening a pipe without a writer would block. */
static bool open_item(struct upload *u, struct pv_store_item *item,
                      const struct pv_store_entry *entry, struct stat *st)
{
    if (entry->kind == PV_STORE_STDIN) {
        u->fd = STDIN_FILENO;
        u->sized = false;
        return true;
    }
    int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (entry->no_links ? O_NOFOLLOW : 0);
    u->fd = openat(entry->dir, entry->base, flags);
    if (u->fd < 0 || fstat(u->fd, st) != 0) {
        int error = errno;
        if (error == ENXIO && fstatat(entry->dir, entry->base, st, 0) == 0)
            fail(u, item, PV_EXIT_FAILED, "%s", not_regular(st->st_mode));
        else
            fail(u, item, PV_EXIT_FAILED, "cannot be opened: %s", strerror(error));
        close_current(u);
        return false;
    }
    if (!S_ISREG(st->st_mode)) {
        fail(u, item, PV_EXIT_FAILED, "%s", not_regular(st->st_mode));
        close_current(u);
        return false;
    }
    /* Files of /proc say 0 and have content: their size is not known. */
    u->sized = st->st_size > 0;
    u->size = (uint64_t)st->st_size;
    return true;
}

static json_t *request_for(const struct upload *u, const struct pv_store_item *item,
                           const struct stat *st)
{
    const struct pv_store_plan *plan = &u->plan;
    /* In this process no second copy can ever come; only an explicit wish is waited for. */
    bool in_vain = u->impatient || pv_client_embedded(u->client);
    bool wait = plan->wait && (plan->copies > 0 || !in_vain);
    json_t *rq = json_pack("{s:s, s:b, s:b, s:b}", "op", "store", "private", (int)plan->is_private,
                           "replace", (int)plan->replace, "wait", (int)wait);
    if (rq == NULL)
        return NULL;
    if (item->name != NULL && !pv_json_set_bytes(rq, "name", item->name)) {
        json_decref(rq);
        return NULL;
    }
    if (u->sized)
        json_object_set_new(rq, "size", json_integer((json_int_t)u->size));
    if (u->fd != STDIN_FILENO) {
        json_int_t ms = (json_int_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
        json_object_set_new(rq, "mtime_ms", json_integer(ms));
    }
    if (plan->copies > 0)
        json_object_set_new(rq, "copies", json_integer((json_int_t)plan->copies));
    return rq;
}

static void begin(struct upload *u, struct pv_store_item *item, const struct pv_store_entry *entry)
{
    struct stat st = {0};
    if (!open_item(u, item, entry, &st))
        return;
    item->id = pv_client_send(u->client, request_for(u, item, &st));
    if (item->id == 0) {
        fail(u, item, PV_EXIT_FAILED, "out of memory");
        close_current(u);
        return;
    }
    u->open++;
    u->sent = 0;
    u->current = item;
}

/* False: there is none for now, or never more. */
static bool begin_next(struct upload *u, bool *quiet)
{
    struct pv_store_entry entry;
    enum pv_store_step step = pv_store_source_next(u->source, &entry);
    u->source_ended = step == PV_STORE_END;
    *quiet = step == PV_STORE_QUIET;
    if (step != PV_STORE_ENTRY)
        return false;
    struct pv_store_item *item = pv_store_plan_add(&u->plan, entry.path, entry.name);
    if (item == NULL) {
        (void)pv_out_no_memory();
        pv_exit_add(&u->plan.exit, PV_EXIT_FAILED);
        u->source_ended = true;
    } else if (entry.kind == PV_STORE_REFUSED) {
        fail(u, item, entry.exit, "%s", entry.why);
    } else if (entry.kind == PV_STORE_SKIPPED) {
        pv_progress_clear(&u->progress);
        pv_cli_note(u->cli, "%s: skipped: %s", item->path, entry.why);
        item->skipped = entry.why;
        pv_store_settle(item, PV_EXIT_OK, NULL);
    } else {
        begin(u, item, &entry);
    }
    return item != NULL;
}

/* The end of the file was read: it must be the file that was begun. */
static void end_current(struct upload *u)
{
    struct stat st;
    if (u->sized &&
        (u->sent != u->size || fstat(u->fd, &st) != 0 || (uint64_t)st.st_size != u->size)) {
        fail(u, u->current, PV_EXIT_FAILED,
             "changed while it was read (%llu bytes before, %llu read): store it again",
             (unsigned long long)u->size, (unsigned long long)u->sent);
        cancel_current(u);
        return;
    }
    pv_client_commit(u->client, 0, true);
    close_current(u);
}

static void read_some(struct upload *u)
{
    ssize_t n = read(u->fd, pv_client_data(u->client), PV_CONTROL_DATA_MAX);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0) {
        fail(u, u->current, PV_EXIT_FAILED, "cannot be read: %s", strerror(errno));
        cancel_current(u);
    } else if (n == 0) {
        end_current(u);
    } else {
        pv_client_commit(u->client, (size_t)n, false);
        u->sent += (uint64_t)n;
        pv_progress_add(&u->progress, (uint64_t)n);
        if (u->sized && u->sent > u->size)
            end_current(u); /* it grows: no need to read for ever */
    }
}

static bool stdin_is_quiet(const struct upload *u)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return u->fd == STDIN_FILENO && poll(&input, 1, 0) == 0;
}

/* Queues as much as there is room for. The descriptor that has nothing to give yet, else -1. */
static int fill(struct upload *u)
{
    bool quiet = false;
    while (!u->cancelling && pv_client_room(u->client)) {
        if (u->current != NULL && u->current->settled) { /* refused before all was sent */
            pv_client_commit(u->client, 0, true);
            close_current(u);
        } else if (u->current != NULL) {
            if (stdin_is_quiet(u))
                return STDIN_FILENO;
            read_some(u);
        } else if (u->source_ended || u->open == WINDOW || !pv_store_plan_has_room(&u->plan) ||
                   !begin_next(u, &quiet)) {
            break;
        }
    }
    return quiet ? pv_store_source_fd(u->source) : -1;
}

/* ---- receiving ---- */

static void on_message(void *ctx, const json_t *m)
{
    struct upload *u = ctx;
    struct pv_store_item *item = pv_store_plan_find(&u->plan, pv_json_int(m, "id"));
    if (item == NULL)
        return;
    const char *event = pv_json_text(m, "event");
    if (strcmp(event, "durable") == 0) {
        (void)snprintf(item->key, sizeof item->key, "%s", pv_json_text(m, "key"));
        item->size = pv_json_int(m, "size");
        item->new_bytes = pv_json_int(m, "new_bytes");
        pv_progress_file(&u->progress);
    } else if (strcmp(event, "copies") == 0) {
        item->copies = pv_json_int(m, "have");
        item->want = pv_json_int(m, "want");
    }
    if (event[0] != '\0')
        return;
    u->open--;
    item->copies = pv_json_int(m, "copies");
    item->want = pv_json_int(m, "want");
    if (item->copies < item->want)
        u->impatient = true;
    pv_progress_clear(&u->progress);
    enum pv_exit exit = pv_reply_exit(m, item->path);
    pv_store_settle(item, exit, exit != PV_EXIT_OK ? pv_json_text(m, "error") : NULL);
}

/* ---- the whole ---- */

/* The connection is of no use any more: what is not settled has failed for that one reason. */
static void give_up(struct upload *u, enum pv_exit exit)
{
    pv_store_plan_settle_all(&u->plan, exit, "the connection to the server ended");
    pv_exit_add(&u->plan.exit, exit); /* also when the rest had not been begun */
    close_current(u);
    u->source_ended = true;
    u->open = 0;
}

static enum pv_exit transfer(struct upload *u)
{
    const struct pv_client_handler handler = {.ctx = u, .message = on_message};
    enum pv_exit exit = PV_EXIT_OK;
    while (exit == PV_EXIT_OK && (!u->source_ended || u->current != NULL || u->open > 0)) {
        if (u->cancelling && u->open == 0) {
            enum pv_exit lost = pv_client_reopen(u->client);
            u->cancelling = false;
            if (lost != PV_EXIT_OK)
                give_up(u, lost);
        }
        int quiet = fill(u);
        if ((u->open > 0 || u->current != NULL || quiet >= 0) &&
            pv_client_pump(u->client, &handler, quiet) != PV_OK) {
            pv_progress_clear(&u->progress);
            give_up(u, pv_client_lost(u->client));
        }
        if (pv_store_plan_is_ready(&u->plan, u->cli))
            pv_progress_clear(&u->progress);
        exit = pv_store_plan_print(&u->plan, u->cli);
    }
    return exit;
}

static void start_progress(struct upload *u)
{
    bool shown = u->cli->stderr_terminal && !u->cli->quiet;
    uint64_t total = shown ? pv_store_source_bytes(u->source) : 0;
    pv_progress_start(&u->progress, u->cli, "storing", total);
    u->progress.counts_files = pv_store_source_is_bulk(u->source);
}

enum pv_exit pv_cmd_store(const struct pv_cli *cli, const struct pv_args *args)
{
    struct upload u = {.cli = cli, .fd = -1};
    enum pv_exit exit = pv_store_plan_init(&u.plan, args);
    if (exit == PV_EXIT_OK)
        exit = pv_store_source_open(&u.source, cli, args);
    if (exit == PV_EXIT_OK)
        exit = pv_client_open(&u.client, cli, PV_CLIENT_EMBED | PV_CLIENT_CREATE);
    if (exit == PV_EXIT_OK) {
        start_progress(&u);
        bool embedded = pv_client_embedded(u.client);
        exit = transfer(&u);
        close_current(&u);
        pv_progress_clear(&u.progress);
        if (exit == PV_EXIT_OK)
            exit = pv_store_plan_finish(&u.plan, cli, embedded);
    }
    exit = pv_client_close(u.client, exit);
    pv_store_source_close(u.source);
    pv_store_plan_release(&u.plan);
    return exit;
}
