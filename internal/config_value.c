/* Hand-written because strtoull takes signs, spaces and wraps; each parser accepts one grammar. */
#include "internal/config_value.h"
#include "crypto/body.h"
#include "transport/address.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const struct {
    const char *name, *brief;
    unsigned shift;
} size_units[] = {{"TiB", "T", 40}, {"GiB", "G", 30}, {"MiB", "M", 20}, {"KiB", "K", 10}};

static const struct {
    const char *name;
    uint64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

enum pv_err pv_digits_parse(uint64_t *out, const char *text, const char **rest)
{
    const char *p = text;
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
            return PV_E_INVALID;
    if (p == text)
        return PV_E_INVALID;
    *out = n;
    *rest = p;
    return PV_OK;
}

enum pv_err pv_size_parse(uint64_t *bytes, const char *text)
{
    const char *unit;
    uint64_t n;
    enum pv_err err = pv_digits_parse(&n, text, &unit);
    if (err != PV_OK)
        return err;
    bool known = *unit == '\0';
    unsigned shift = 0;
    for (size_t i = 0; i < PV_COUNT(size_units) && !known; i++) {
        known = strcmp(unit, size_units[i].name) == 0 || strcmp(unit, size_units[i].brief) == 0;
        shift = size_units[i].shift;
    }
    if (!known || n > UINT64_MAX >> shift)
        return PV_E_INVALID;
    *bytes = n << shift;
    return PV_OK;
}

enum pv_err pv_size_show(uint64_t bytes, struct pv_buf *out)
{
    for (size_t i = 0; bytes != 0 && i < PV_COUNT(size_units); i++) {
        unsigned shift = size_units[i].shift;
        if ((bytes & ((UINT64_C(1) << shift) - 1)) == 0)
            return pv_buf_printf(out, "%" PRIu64 "%s", bytes >> shift, size_units[i].name);
    }
    return pv_buf_printf(out, "%" PRIu64, bytes);
}

enum pv_err pv_duration_show(uint64_t ms, struct pv_buf *out)
{
    for (size_t i = 0; ms != 0 && i < PV_COUNT(duration_units); i++) {
        uint64_t unit_ms = duration_units[i].ms;
        if (ms % unit_ms == 0)
            return pv_buf_printf(out, "%" PRIu64 "%s", ms / unit_ms, duration_units[i].name);
    }
    return pv_buf_printf(out, "%" PRIu64 "%s", ms, ms == 0 ? "s" : "ms");
}

/* Of a name, an IPv4 address, or an IPv6 address in brackets, zone included. 0: none of these. */
static size_t host_len(const char *text)
{
    if (*text != '[')
        return strspn(text, DIGITS LETTERS ".-_");
    size_t address = strspn(text + 1, DIGITS "abcdefABCDEF:."), zone = 0;
    if (address > 0 && text[1 + address] == '%')
        zone = 1 + strspn(text + 1 + address + 1, DIGITS LETTERS ".-_");
    return address > 0 && zone != 1 && text[1 + address + zone] == ']' ? address + zone + 2 : 0;
}

enum pv_err pv_address_form(const char *text, unsigned port_min)
{
    struct pv_address address;
    size_t len = host_len(text);
    if (len == 0 || text[len] != ':' || strlen(text) > PV_ADDRESS_MAX)
        return PV_E_INVALID;
    enum pv_err err = pv_address_parse(&address, text); /* what is taken here can be dialled */
    return err == PV_OK && address.port < port_min ? PV_E_INVALID : err;
}
