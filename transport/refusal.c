/* Guesses the protocol of a stranger by its first five bytes, all that is ever read of it. */
#include "transport/refusal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *guess(const uint8_t head[static PV_FRAME_HEADER_LEN])
{
    static const struct {
        const char *start, *name;
    } known[] = {
        {"GET ", "HTTP"}, {"POST", "HTTP"}, {"HEAD", "HTTP"},    {"PUT ", "HTTP"},
        {"HTTP", "HTTP"}, {"PRI ", "HTTP"}, {"OPTI", "HTTP"},    {"CONN", "HTTP"},
        {"DELE", "HTTP"}, {"SSH-", "SSH"},  {"\x16\x03", "TLS"}, {"\x15\x03", "TLS"},
    };
    for (size_t i = 0; i < PV_COUNT(known); i++)
        if (memcmp(head, known[i].start, strlen(known[i].start)) == 0)
            return known[i].name;
    return NULL;
}

void pv_refusal_describe(char dst[static PV_CAUSE_LEN], enum pv_refusal why,
                         const uint8_t head[static PV_FRAME_HEADER_LEN], int64_t skew_ms)
{
    const char *text = pv_refusal_text(why);
    const char *other = why == PV_REFUSED_MAGIC ? guess(head) : NULL;
    uint64_t apart_ms = skew_ms < 0 ? (uint64_t)-skew_ms : (uint64_t)skew_ms;
    if (other != NULL)
        snprintf(dst, PV_CAUSE_LEN, "%s (looks like %s)", text, other);
    else if (why == PV_REFUSED_CLOCK)
        snprintf(dst, PV_CAUSE_LEN, "clock differs by %" PRIu64 " s", apart_ms / 1000);
    else
        snprintf(dst, PV_CAUSE_LEN, "%s", text);
}

void pv_utc_format(char dst[static PV_UTC_LEN], uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL || utc.tm_year > 9999 - 1900 ||
        strftime(dst, PV_UTC_LEN, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(dst, PV_UTC_LEN, "%" PRIu64, wall_ms / 1000);
}
