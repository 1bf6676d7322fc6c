/*
 * watch: a line for each change, until somebody ends it: SIGINT or SIGTERM, or whoever read the
 * lines is gone. Each line is written out at once, so a signal may end the process as it stands; in
 * a shell SIGINT ends only the watching.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/list_values.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/value_text.h"
#include "internal/base/mem.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX = 4 * 65536 };

struct watching {
    const struct pv_cli *cli;
    json_int_t id;
    json_t *event; /* its bytes are to come */
    bool ended;
    enum pv_exit exit;
};

static bool in_shell;
static volatile sig_atomic_t interrupted; /* in a shell, which goes on */

static void on_signal(int number)
{
    if (!in_shell || number == SIGTERM)
        _exit(PV_EXIT_OK);
    interrupted = 1;
}

static void end_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    in_shell = pv_client_keeps();
    interrupted = 0;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static void end_no_longer(void)
{
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
}

/* Nobody can read what is written to a pipe any more. */
static bool is_unread(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
}

static enum pv_exit print_line(const json_t *event, const uint8_t *bytes, size_t len)
{
    struct pv_buf line;
    size_t name_len = 0;
    const char *key = pv_json_text(event, "key");
    char *name = pv_json_name(event, &name_len);
    pv_buf_init(&line, LINE_MAX);
    enum pv_err err = name == NULL ? PV_E_NOMEM : pv_append_value(&line, name, name_len);
    if (err == PV_OK && (bytes != NULL || key[0] != '\0'))
        err = pv_buf_append(&line, "\t", 1);
    if (err == PV_OK)
        err = bytes != NULL ? pv_append_value(&line, bytes, len)
                            : pv_buf_append(&line, key, strlen(key));
    if (err == PV_OK)
        printf("%s\t%.*s\n", pv_json_text(event, "change"), (int)line.len, (const char *)line.data);
    pv_buf_release(&line);
    pv_free(name);
    return err == PV_OK ? pv_out_flush() : pv_out_no_memory();
}

static void tell(struct watching *w, const json_t *event, const uint8_t *bytes, size_t len)
{
    const char *what = pv_json_text(event, "event");
    if (w->exit != PV_EXIT_OK)
        return;
    if (w->cli->json) {
        json_t *o = json_deep_copy(event);
        json_object_del(o, "id");
        json_object_del(o, "data");
        if (bytes != NULL && !pv_json_set_value(o, "value", bytes, len))
            w->exit = PV_EXIT_FAILED; /* no memory; the line is not to be one without its value */
        if (w->exit == PV_EXIT_OK)
            w->exit = pv_out_json(json_incref(o));
        json_decref(o);
        if (w->exit == PV_EXIT_OK)
            w->exit = pv_out_flush();
    } else if (strcmp(what, "change") == 0) {
        w->exit = print_line(event, bytes, len);
    } else if (strcmp(what, "missed") == 0) {
        pv_out_line("%lld changes missed: list again", (long long)pv_json_int(event, "count"));
    } else if (w->cli->verbose) {
        pv_cli_note(w->cli, "watching");
    }
}

static void on_message(void *ctx, const json_t *message)
{
    struct watching *w = ctx;
    if (pv_json_int(message, "id") != w->id)
        return;
    if (json_object_get(message, "event") == NULL) {
        w->exit = pv_reply_exit(message, NULL);
        w->ended = true;
    } else if (w->event == NULL && json_is_true(json_object_get(message, "data"))) {
        w->event = json_deep_copy(message);
    } else {
        tell(w, message, NULL, 0);
    }
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len, bool end)
{
    struct watching *w = ctx;
    (void)end;
    if (w->event != NULL)
        tell(w, w->event, bytes, len);
    json_decref(w->event);
    w->event = NULL;
}

static enum pv_exit watch(struct watching *w, struct pv_client *client)
{
    const struct pv_client_handler handler = {.ctx = w, .message = on_message, .data = on_data};
    struct stat st;
    /* Of other things than pipes it is not known that nobody reads; a terminal has input, too. */
    int out = fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode) ? STDOUT_FILENO : -1;
    while (!w->ended && w->exit == PV_EXIT_OK && !interrupted) {
        if (pv_client_pump(client, &handler, out) != PV_OK)
            return pv_client_lost(client);
        if (out >= 0 && is_unread())
            return PV_EXIT_OK;
    }
    return w->exit;
}

enum pv_exit pv_cmd_watch(const struct pv_cli *cli, const struct pv_args *args)
{
    struct watching w = {.cli = cli};
    struct pv_client *client = NULL;
    json_t *rq = json_pack("{s:s}", "op", "watch");
    if (rq == NULL || (args->word_count > 0 && !pv_json_set_bytes(rq, "prefix", args->words[0]))) {
        json_decref(rq);
        return pv_out_no_memory();
    }
    enum pv_exit exit = pv_client_open(&client, cli, 0);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    end_on_signals();
    w.id = pv_client_send(client, rq);
    exit = w.id != 0 ? watch(&w, client) : pv_out_no_memory();
    end_no_longer();
    json_decref(w.event);
    return pv_client_close(client, exit);
}
