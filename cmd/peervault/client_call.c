/*
 * One request and its final reply, and what all commands do with replies.
 */
#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

struct call {
    json_int_t id;
    void (*on_event)(void *ctx, const json_t *event);
    pv_client_event_fn on_value;
    void *ctx;
    json_t *event; /* its bytes are to come */
    json_t *reply;
};

static void give(const struct call *call, const json_t *event, const uint8_t *bytes, size_t len)
{
    if (call->on_value != NULL)
        call->on_value(call->ctx, event, bytes, len);
    else if (call->on_event != NULL)
        call->on_event(call->ctx, event);
}

static void on_message(void *ctx, const json_t *message)
{
    struct call *call = ctx;
    if (pv_json_int(message, "id") != call->id)
        return;
    if (json_object_get(message, "event") == NULL)
        call->reply = json_deep_copy(message);
    else if (call->event == NULL && json_is_true(json_object_get(message, "data")))
        call->event = json_deep_copy(message);
    else
        give(call, message, NULL, 0);
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len, bool end)
{
    struct call *call = ctx;
    (void)end; /* a value is one frame */
    if (call->event != NULL)
        give(call, call->event, bytes, len);
    json_decref(call->event);
    call->event = NULL;
}

static enum pv_exit run(struct pv_client *c, json_t *request, struct call *call, json_t **reply)
{
    const struct pv_client_handler handler = {
        .ctx = call, .message = on_message, .data = call->on_value != NULL ? on_data : NULL};
    enum pv_err err = PV_OK;
    call->id = pv_client_send(c, request);
    if (call->id == 0)
        return pv_out_no_memory();
    while (err == PV_OK && call->reply == NULL)
        err = pv_client_pump(c, &handler, -1);
    json_decref(call->event);
    if (err != PV_OK)
        return pv_client_lost(c);
    *reply = call->reply;
    return PV_EXIT_OK;
}

enum pv_exit pv_client_call(struct pv_client *c, json_t *request,
                            void (*on_event)(void *ctx, const json_t *event), void *ctx,
                            json_t **reply)
{
    struct call call = {.on_event = on_event, .ctx = ctx};
    return run(c, request, &call, reply);
}

enum pv_exit pv_client_ask_daemon(const struct pv_cli *cli, json_t *request,
                                  void (*on_event)(void *ctx, const json_t *event), void *ctx,
                                  const char *subject, json_t **reply)
{
    struct pv_client *client = NULL;
    enum pv_exit exit = pv_client_open(&client, cli, 0);
    if (exit != PV_EXIT_OK) {
        json_decref(request);
        return exit;
    }
    exit = pv_client_call(client, request, on_event, ctx, reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(*reply, subject);
    return pv_client_close(client, exit);
}

enum pv_exit pv_client_call_values(struct pv_client *c, json_t *request,
                                   pv_client_event_fn on_event, void *ctx, json_t **reply)
{
    struct call call = {.on_value = on_event, .ctx = ctx};
    return run(c, request, &call, reply);
}

bool pv_json_set_bytes(json_t *object, const char *key, const char *bytes)
{
    return pv_json_set_value(object, key, bytes, strlen(bytes));
}

bool pv_json_set_value(json_t *object, const char *key, const void *bytes, size_t len)
{
    json_t *text = len > 0 ? json_stringn(bytes, len) : json_string(""); /* NULL: not UTF-8 */
    if (text != NULL)
        return json_object_set_new(object, key, text) == 0;
    PV_AUTO_FREE char *hex = pv_malloc(2 * len + 1);
    PV_AUTO_FREE char *hex_key = pv_asprintf("%s_hex", key);
    if (hex == NULL || hex_key == NULL)
        return false;
    pv_hex_encode(hex, bytes, len);
    return json_object_set_new(object, hex_key, json_string(hex)) == 0;
}

const char *pv_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

json_int_t pv_json_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

char *pv_json_bytes(const json_t *object, const char *key, size_t *len)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text != NULL) {
        *len = strlen(text);
        return pv_strdup(text);
    }
    PV_AUTO_FREE char *hex_key = pv_asprintf("%s_hex", key);
    const char *hex = hex_key != NULL ? pv_json_text(object, hex_key) : "";
    if (hex[0] == '\0')
        return NULL;
    size_t n = strlen(hex) / 2;
    char *bytes = pv_malloc(n + 1);
    if (bytes == NULL || pv_hex_decode(bytes, n, hex, strlen(hex)) != PV_OK) {
        pv_free(bytes);
        return NULL;
    }
    bytes[n] = '\0';
    *len = n;
    return bytes;
}

char *pv_json_name(const json_t *object, size_t *len)
{
    return pv_json_bytes(object, "name", len);
}

void pv_message_strip(json_t *message)
{
    json_object_del(message, "id");
    json_object_del(message, "ok");
    json_object_del(message, "event");
}

enum pv_exit pv_reply_exit(const json_t *reply, const char *subject)
{
    if (json_is_true(json_object_get(reply, "ok")))
        return PV_EXIT_OK;
    json_int_t exit = pv_json_int(reply, "exit");
    const char *error = pv_json_text(reply, "error");
    if (exit < 1 || exit > 255)
        exit = PV_EXIT_INTERNAL;
    if (error[0] == '\0')
        error = "refused without a reason";
    if (subject != NULL)
        pv_out_line("%s: %s", subject, error);
    else
        pv_out_line("%s", error);
    size_t i;
    const json_t *key;
    json_array_foreach(json_object_get(reply, "candidates"), i, key)
        pv_out_line("candidate: %s", json_is_string(key) ? json_string_value(key) : "");
    return (enum pv_exit)exit;
}
