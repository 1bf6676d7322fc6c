/*
 * F8: ids, hex, base32 and the path transform. A path that is made has nothing in it but hex under
 * blobs/, and only the name it ends with is one that is taken for a blob's.
 */
#include "tests/fuzz/fuzz.h"
#include "crypto/identity.h"
#include "storage/vault.h"

#include <strings.h>

static void check_path(const struct pv_id *id)
{
    char path[PV_BLOB_PATH_LEN + 1];
    struct pv_id again;
    pv_blob_path(path, id);
    cr_assert(strlen(path) == PV_BLOB_PATH_LEN && memcmp(path, "blobs/", 6) == 0);
    cr_assert(strspn(path + 6, "0123456789abcdef") == 2 && path[8] == '/');
    cr_assert(strspn(path + 9, "0123456789abcdef") == 64 && memcmp(path + 6, path + 9, 2) == 0);
    cr_assert(pv_blob_path_parse(&again, path + 9) == PV_OK && pv_id_equal(&again, id));
}

static void check_text(const char *text)
{
    struct pv_id id;
    char hex[PV_ID_HEX_LEN + 1], people[PV_NODE_TEXT_LEN];
    if (pv_blob_path_parse(&id, text) == PV_OK) {
        pv_id_hex(hex, &id);
        cr_assert_str_eq(hex, text);
        check_path(&id);
    }
    if (pv_id_parse(&id, text) == PV_OK) {
        pv_id_hex(hex, &id);
        cr_assert_eq(strcasecmp(hex, text), 0);
    }
    if (pv_node_id_parse(&id, text) == PV_OK) {
        pv_id_hex(hex, &id);
        pv_node_id_format(people, &id);
        cr_assert(strcasecmp(hex, text) == 0 || strcasecmp(people, text) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { BYTES_MAX = 256 };
    uint8_t bytes[BYTES_MAX];
    char again[2 * BYTES_MAX + 1];
    char *text = pvf_text(data, size);
    struct pv_id id = {{0}};
    memcpy(id.b, data, size < PV_ID_LEN ? size : PV_ID_LEN);
    check_path(&id);
    check_text(text);
    size_t len = size / 2 < BYTES_MAX ? size / 2 : BYTES_MAX;
    if (pv_hex_decode(bytes, len, text, size) == PV_OK) {
        pv_hex_encode(again, bytes, len);
        cr_assert(len * 2 == size && strcasecmp(again, text) == 0);
    }
    len = size * 5 / 8 < BYTES_MAX ? size * 5 / 8 : BYTES_MAX;
    if (pv_base32_decode(bytes, len, text, size) == PV_OK) {
        pv_base32_encode(again, sizeof again, bytes, len);
        cr_assert(strlen(again) == size && strcasecmp(again, text) == 0);
    }
    pv_free(text);
    return 0;
}
