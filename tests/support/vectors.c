/* Reading of test vectors; see the header. */
#include "tests/support/vectors.h"
#include "internal/base/id.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

struct pvt_bytes pvt_bytes_of_len(size_t len)
{
    struct pvt_bytes b = {pv_calloc(1, len), len};
    PV_ASSERT(b.p != NULL);
    return b;
}

struct pvt_bytes pvt_bytes_of_hex(const char *hex)
{
    const size_t digits = strlen(hex);
    struct pvt_bytes b = pvt_bytes_of_len(digits / 2);
    enum pv_err err = pv_hex_decode(b.p, b.len, hex, digits);
    PV_ASSERT(err == PV_OK);
    return b;
}

void pvt_bytes_release(struct pvt_bytes *b)
{
    pv_free(b->p);
    *b = (struct pvt_bytes){0};
}

bool pvt_bytes_equal(const struct pvt_bytes *b, const void *p, size_t len)
{
    return b->len == len && (len == 0 || memcmp(b->p, p, len) == 0);
}

json_t *pvt_json_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL)
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
    PV_ASSERT(root != NULL);
    return root;
}

const char *pvt_json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    PV_ASSERT(text != NULL);
    return text;
}

long long pvt_json_number(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);
    PV_ASSERT(json_is_integer(number));
    return json_integer_value(number);
}

struct pvt_bytes pvt_json_hex(const json_t *object, const char *name)
{
    return pvt_bytes_of_hex(pvt_json_text(object, name));
}

bool pvt_json_has(const json_t *object, const char *name, const char *text)
{
    const json_t *array = json_object_get(object, name);
    for (size_t i = 0; i < json_array_size(array); i++)
        if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
            return true;
    return false;
}

void pvt_wycheproof_each(const char *path, pvt_wycheproof_fn each, void *arg)
{
    json_t *root = pvt_json_load(path);
    const json_t *groups = json_object_get(root, "testGroups");
    long long count = 0;
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        const json_t *tests = json_object_get(group, "tests");
        for (size_t j = 0; j < json_array_size(tests); j++, count++)
            each(group, json_array_get(tests, j), arg);
    }
    PV_ASSERT(count == pvt_json_number(root, "numberOfTests"));
    json_decref(root);
}
