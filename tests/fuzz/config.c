/*
 * F7: peervault.conf. Either all of it counts, and says the same when each value is written as it
 * is shown; or none of it does, and one line says where and what.
 */
#include "tests/fuzz/fuzz.h"
#include "internal/config.h"
#include "internal/config_file.h"

#include <ctype.h>

static const char *no_variable(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return NULL;
}

static enum pv_err load(struct pv_config *out, const void *text, size_t len, char *why)
{
    struct pvf_folder folder;
    pvf_folder_init(&folder);
    pvf_folder_put(&folder, PV_CONFIG_FILE_NAME, text, len);
    struct pv_config_source source = {.getenv = no_variable, .fs = folder.fs, .vault = folder.dir};
    enum pv_err err = pv_config_load(out, &source, NULL, 0, why);
    pvf_folder_release(&folder);
    return err;
}

/* What the file gave, as it may stand in one; a list goes on in a line for each address. */
static void show(const struct pv_config *config, struct pv_buf *out)
{
    struct pv_buf value;
    pv_buf_init(&value, PV_CONFIG_SHOW_MAX);
    pv_buf_init(out, PV_CONFIG_KEY_COUNT * PV_CONFIG_SHOW_MAX);
    for (int i = 0; i < PV_CONFIG_KEY_COUNT; i++) {
        enum pv_config_key key = (enum pv_config_key)i;
        if (config->origin[key] != PV_FROM_FILE)
            continue;
        pv_buf_reset(&value);
        cr_assert_eq(pv_buf_printf(out, "%s=", pv_config_key_name(key)), PV_OK);
        cr_assert_eq(pv_config_show(config, key, &value), PV_OK);
        for (size_t at = 0; at < value.len; at++) {
            bool first = at == 0 || value.data[at - 1] == ',';
            const char *gap = first && pv_config_key_is_list(key) ? "\n " : "";
            cr_assert_eq(pv_buf_printf(out, "%s%c", gap, value.data[at]), PV_OK);
        }
        cr_assert_eq(pv_buf_append(out, "\n", 1), PV_OK);
    }
    pv_buf_release(&value);
}

static void check_again(const struct pv_config *config)
{
    static struct pv_config again;
    struct pv_buf shown, shown_again;
    char why[PV_CONFIG_WHY_MAX];
    show(config, &shown);
    cr_assert_eq(load(&again, shown.data, shown.len, why), PV_OK, "%s", why);
    show(&again, &shown_again);
    cr_assert_eq(shown.len, shown_again.len);
    cr_assert(shown.len == 0 || memcmp(shown.data, shown_again.data, shown.len) == 0);
    pv_buf_release(&shown);
    pv_buf_release(&shown_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_config config, untouched;
    char why[PV_CONFIG_WHY_MAX] = "";
    memset(&config, 0, sizeof config);
    enum pv_err err = load(&config, data, size, why);
    if (err == PV_OK) {
        check_again(&config);
        return 0;
    }
    cr_assert_eq(err, PV_E_INVALID);
    cr_assert_arr_eq(&config, &untouched, sizeof config, "a partial config");
    cr_assert_not_null(strstr(why, PV_CONFIG_FILE_NAME), "%s", why);
    for (const char *p = why; *p != '\0'; p++)
        cr_assert(isprint((unsigned char)*p) || (unsigned char)*p >= 0x80, "%s", why);
    return 0;
}
