/*
 * F7: secrets that are given from outside. The first byte chooses: bit 0, the key is in a file;
 * bit 1, the token is. The rest up to the first 01 byte is the key, behind that the token. What is
 * taken is well formed; after errors nothing of it is left, and none is in the message.
 */
#include "tests/fuzz/fuzz.h"
#include "internal/config_secrets.h"

#include <stdio.h>

struct given {
    const char *names[2], *values[2];
};

static const char *variable(void *ctx, const char *name)
{
    const struct given *g = ctx;
    for (unsigned i = 0; i < 2; i++)
        if (strcmp(name, g->names[i]) == 0)
            return g->values[i];
    return NULL;
}

static void check(const struct pv_config_secrets *s)
{
    uint8_t key[PV_KEY_LEN];
    bool weak;
    cr_assert(*s->cluster_key == '\0' ||
              pv_hex_decode(key, sizeof key, s->cluster_key, strlen(s->cluster_key)) == PV_OK);
    cr_assert(*s->token == '\0' || pv_token_check(s->token, &weak) == PV_OK);
    cr_assert_not(*s->token != '\0' && *s->cluster_key != '\0' && pv_token_is_key(s->token, key));
    cr_assert_null(strpbrk(s->token, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_config_secrets secrets, nothing;
    struct pvf_folder folder;
    struct pv_rd r = pv_rd_of(data, size);
    uint8_t mode = pv_rd_u8(&r);
    const uint8_t *end = pv_rd_left(&r) > 0 ? memchr(r.p, 1, pv_rd_left(&r)) : NULL;
    size_t lens[2] = {end != NULL ? (size_t)(end - r.p) : pv_rd_left(&r), 0};
    const uint8_t *parts[2] = {pv_rd_view(&r, lens[0]), end != NULL ? end + 1 : NULL};
    lens[1] = end != NULL ? pv_rd_left(&r) - 1 : 0;
    struct given g = {{"PEERVAULT_CLUSTER_KEY", "PEERVAULT_AUTH_TOKEN"}, {"d/key", "d/token"}};
    struct pv_config_source source = {.getenv = variable, .ctx = &g, .vault = PV_FD_NONE};
    char why[PV_CONFIG_WHY_MAX] = "", *texts[2];
    pvf_folder_init(&folder);
    source.fs = folder.fs;
    for (unsigned i = 0; i < 2; i++) {
        texts[i] = pvf_text(parts[i], lens[i]);
        pvf_folder_put(&folder, g.values[i] + 2, parts[i], lens[i]);
        if ((mode >> i & 1) == 0)
            g.values[i] = texts[i];
        else
            g.names[i] = i == 0 ? "PEERVAULT_CLUSTER_KEY_FILE" : "PEERVAULT_AUTH_TOKEN_FILE";
    }
    memset(&secrets, 0, sizeof secrets);
    enum pv_err err = pv_config_secrets_load(&secrets, &source, NULL, NULL, why);
    cr_assert(err == PV_OK || err == PV_E_INVALID);
    if (err == PV_OK)
        check(&secrets);
    else
        cr_assert_arr_eq(&secrets, &nothing, sizeof secrets, "something is left");
    cr_assert_eq(err != PV_OK, why[0] != '\0');
    cr_assert_null(strpbrk(why, "~#^|*+"), "not from our own words: %s", why);
    for (unsigned i = 0; i < 2; i++)
        pv_free(texts[i]);
    pvf_folder_release(&folder);
    return 0;
}
