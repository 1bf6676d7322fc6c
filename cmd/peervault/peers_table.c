#include "cmd/peervault/peers_table.h"

#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"

#include <stdio.h>
#include <string.h>

static const char *cell(const json_t *peer, const char *key)
{
    const char *text = pv_json_text(peer, key);
    return text[0] != '\0' ? text : "-";
}

/* Missing values are "-". */
static const char *number(char out[static PV_SIZE_TEXT_MAX], const json_t *peer, const char *key,
                          const char *unit)
{
    if (!json_is_integer(json_object_get(peer, key)))
        return "-";
    (void)snprintf(out, PV_SIZE_TEXT_MAX, "%lld%s", (long long)pv_json_int(peer, key), unit);
    return out;
}

static const char *size(char out[static PV_SIZE_TEXT_MAX], const json_t *peer, const char *key)
{
    if (!json_is_integer(json_object_get(peer, key)))
        return "-";
    pv_size_text(out, (uint64_t)pv_json_int(peer, key));
    return out;
}

static const char *yes_no(const json_t *peer, const char *key, const char *yes, const char *no)
{
    const json_t *value = json_object_get(peer, key);
    return value == NULL ? "-" : json_is_true(value) ? yes : no;
}

/* The state of a connected peer goes without saying: its direction tells more. */
static const char *state(const json_t *peer)
{
    const char *text = cell(peer, "state");
    return strcmp(text, "connected") == 0 ? yes_no(peer, "dialled", "outbound", "inbound") : text;
}

static void print_peer(const json_t *p)
{
    char rtt[PV_SIZE_TEXT_MAX], skew[PV_SIZE_TEXT_MAX], up[PV_TIME_TEXT_MAX] = "-";
    char in[PV_SIZE_TEXT_MAX], out[PV_SIZE_TEXT_MAX];
    char in_rate[PV_SIZE_TEXT_MAX], out_rate[PV_SIZE_TEXT_MAX];
    const char *error = pv_json_text(p, "last_error"), *reason = pv_json_text(p, "reason");
    error = error[0] != '\0' ? error : reason;
    if (json_is_integer(json_object_get(p, "connected_s")))
        pv_duration_text(up, (uint64_t)pv_json_int(p, "connected_s") * 1000);
    /* The first three groups of a node id tell any two nodes apart that people meet. */
    printf("%-17.17s %-21s %-8s %-5s %-8s %-8s %-7s %-9s %-9s %-9s %-9s %-4s ", cell(p, "node"),
           cell(p, "address"), state(p), cell(p, "role"), up, number(rtt, p, "rtt_ms", " ms"),
           number(skew, p, "skew_ms", " ms"), size(in, p, "in_bytes"), size(in_rate, p, "in_rate"),
           size(out, p, "out_bytes"), size(out_rate, p, "out_rate"),
           yes_no(p, "in_sync", "yes", "no"));
    if (json_is_true(json_object_get(p, "draining")))
        fputs("draining. ", stdout);
    if (json_is_integer(json_object_get(p, "banned_s"))) {
        pv_duration_text(up, (uint64_t)pv_json_int(p, "banned_s") * 1000);
        printf("banned for %s because of ", up);
    }
    pv_out_name(error, strlen(error), true);
    fputc('\n', stdout);
}

void pv_peers_table(const json_t *peers)
{
    if (json_array_size(peers) == 0)
        return;
    printf("%-17s %-21s %-8s %-5s %-8s %-8s %-7s %-9s %-9s %-9s %-9s %-4s %s\n", "NODE", "ADDRESS",
           "STATE", "ROLE", "UP", "RTT", "CLOCK", "IN", "IN/S", "OUT", "OUT/S", "SYNC",
           "LAST ERROR OR REASON");
    for (size_t i = 0; i < json_array_size(peers); i++)
        print_peer(json_array_get(peers, i));
}
