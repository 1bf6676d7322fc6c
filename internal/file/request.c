/* Replies are put together here, so that every operation says the same things in the same form. */
#include "internal/file/request.h"

#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_TEXT_MAX = 512, KEY_MAX = 32 };

/* One line, and UTF-8: what is neither becomes '?'. */
static json_t *text_of(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_string(text);
}

void pv_request_fail(struct pv_request *rq, enum pv_exit exit, const char *fmt, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* a longer text is cut */
    va_end(args);
    rq->io->finish(
        rq, json_pack("{s:b, s:i, s:o}", "ok", 0, "exit", (int)exit, "error", text_of(text)));
}

void pv_request_ok(struct pv_request *rq, json_t *message)
{
    if (json_object_set_new(message, "ok", json_true()) != 0) {
        json_decref(message);
        message = NULL; /* the connection says that the reply was lost */
    }
    rq->io->finish(rq, message);
}

enum pv_err pv_request_bytes(const struct pv_request *rq, const char *key, char *dst, size_t cap,
                             size_t *len)
{
    char hex_key[KEY_MAX + sizeof "_hex"];
    PV_ASSERT(strlen(key) <= KEY_MAX);
    (void)snprintf(hex_key, sizeof hex_key, "%s_hex", key);
    const json_t *plain = json_object_get(rq->args, key);
    const json_t *hex = json_object_get(rq->args, hex_key);
    if (plain == NULL && hex == NULL)
        return PV_E_NOT_FOUND;
    if ((plain != NULL && hex != NULL) || !json_is_string(plain != NULL ? plain : hex))
        return PV_E_INVALID;
    size_t n = json_string_length(plain != NULL ? plain : hex) / (plain != NULL ? 1 : 2);
    if (n > cap)
        return PV_E_INVALID;
    if (plain != NULL)
        memcpy(dst, json_string_value(plain), n);
    else if (pv_hex_decode(dst, n, json_string_value(hex), json_string_length(hex)) != PV_OK)
        return PV_E_INVALID;
    if (memchr(dst, '\0', n) != NULL)
        return PV_E_INVALID;
    dst[n] = '\0';
    *len = n;
    return PV_OK;
}

bool pv_request_bool(const struct pv_request *rq, const char *key, bool *out)
{
    const json_t *value = json_object_get(rq->args, key);
    if (value != NULL && !json_is_boolean(value))
        return false;
    if (value != NULL)
        *out = json_is_true(value);
    return true;
}

void pv_json_set_name(json_t *object, const char *name, size_t len)
{
    json_t *string = memchr(name, '\0', len) == NULL ? json_stringn(name, len) : NULL;
    if (string != NULL) {
        (void)json_object_set_new(object, "name", string);
        return;
    }
    char *hex = pv_malloc(2 * len + 1);
    if (hex == NULL)
        return; /* as when JSON runs out of memory: the reply lacks the name */
    pv_hex_encode(hex, name, len);
    (void)json_object_set_new(object, "name_hex", json_string(hex));
    pv_free(hex);
}
