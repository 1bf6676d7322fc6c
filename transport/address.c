/* Splits at the last colon; what is a name and what a literal is the resolver's business. */
#include "transport/address.h"

#include <stdio.h>
#include <string.h>

static bool parse_port(uint16_t *out, const char *text)
{
    uint32_t port = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

static bool host_bytes_fit(const char *host, size_t len, bool bracketed)
{
    for (size_t i = 0; i < len; i++) {
        char c = host[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && strchr(bracketed ? ":.%-_" : ".-_", c) == NULL)
            return false;
    }
    return true;
}

enum pv_err pv_address_parse(struct pv_address *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    struct pv_address a = {.port = 0};
    if (colon == NULL || !parse_port(&a.port, colon + 1))
        return PV_E_INVALID;
    const char *host = text;
    size_t len = (size_t)(colon - text);
    bool bracketed = len >= 2 && host[0] == '[' && host[len - 1] == ']';
    if (bracketed) {
        host++;
        len -= 2;
    }
    if (len == 0 || len > PV_HOST_LEN_MAX || !host_bytes_fit(host, len, bracketed))
        return PV_E_INVALID;
    if (bracketed && memchr(host, ':', len) == NULL)
        return PV_E_INVALID;
    memcpy(a.host, host, len);
    *out = a;
    return PV_OK;
}

void pv_address_format(char dst[static PV_ADDRESS_TEXT_LEN], const char *host, uint16_t port)
{
    bool bracketed = strchr(host, ':') != NULL;
    snprintf(dst, PV_ADDRESS_TEXT_LEN, "%s%.*s%s:%u", bracketed ? "[" : "", PV_HOST_LEN_MAX, host,
             bracketed ? "]" : "", (unsigned)port);
}
