/*
 * One table holds every key: its name, kind, range, default and text for people; parsing, showing
 * and the documentation all walk it. Sources are read from the weakest to the strongest into a
 * config on the heap, each overwriting the one before, and the result is copied out at the end: so
 * a malformed value is found even where another overrides it, and no caller sees half a config.
 *
 * inih parses the file. It gives no line numbers, but asks for its input line by line, so the
 * reader counts. It also cuts lines at a length fixed when it was built; the reader refuses such
 * lines instead.
 */
#include "internal/config.h"
#include "internal/base/env.h"
#include "internal/base/mem.h"
#include "internal/base/throttle.h"
#include "internal/config_file.h"
#include "internal/config_value.h"
#include "internal/file/files.h"

#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum kind { ADDRESS, PEERS, ADVERTISE, NUMBER, DURATION, SIZE, CHOICE, LOG_LEVEL };

struct choice {
    const char *name;
    uint64_t value;
};

static const struct choice roles[] = {{"keyed", PV_ROLE_KEYED}, {"blind", PV_ROLE_BLIND}, {NULL}};
static const struct choice memberships[] = {{"open", 0}, {"allowlist", 1}, {NULL}};
static const struct choice convergences[] = {{"cluster", PV_CONVERGENCE_CLUSTER},
                                             {"epoch", PV_CONVERGENCE_EPOCH},
                                             {"off", PV_CONVERGENCE_OFF},
                                             {NULL}};
static const struct choice switches[] = {{"on", 1}, {"off", 0}, {NULL}};
static const struct choice log_formats[] = {{"logfmt", 0}, {"json", 1}, {NULL}};

#define SECONDS UINT64_C(1000)
#define HOURS (3600 * SECONDS)
#define DAYS (24 * HOURS)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define BANDWIDTH_MIN (64 * (UINT64_C(1) << 10)) /* so that a frame takes a second */

_Static_assert(PV_SKEW_MS_DEFAULT == 300 * SECONDS, "as text below");

static const struct key {
    const char *name, *fallback, *values, *help;
    enum kind kind;
    size_t offset;
    uint64_t min, max; /* SIZE: 0 is allowed besides if fallback is "0" */
    const struct choice *choices;
} keys[PV_CONFIG_KEY_COUNT] = {
    [PV_CONFIG_LISTEN] = {"listen", "127.0.0.1:3000", "ADDRESS:PORT",
                          "where the daemon accepts peers; port 0 picks a free one", ADDRESS,
                          offsetof(struct pv_config, listen), 0, 0, NULL},
    [PV_CONFIG_PEERS] = {"peers", "", "ADDRESS:PORT, comma separated, at most 64",
                         "nodes that the daemon keeps a connection to", PEERS,
                         offsetof(struct pv_config, peers), 0, 0, NULL},
    [PV_CONFIG_ADVERTISE] = {"advertise", "", "ADDRESS:PORT, comma separated, at most 8, or none",
                             "where other members find this node; empty: as listen tells",
                             ADVERTISE, offsetof(struct pv_config, advertise), 0, 0, NULL},
    [PV_CONFIG_REPLICAS] = {"replicas", "3", "1 .. 64",
                            "copies kept of every blob, on as many members", NUMBER,
                            offsetof(struct pv_config, replicas), 1, PV_MEMBERS_MAX, NULL},
    [PV_CONFIG_ROLE] = {"role", "keyed", "keyed or blind",
                        "whether this node can read, or only keeps what it cannot read", CHOICE,
                        offsetof(struct pv_config, role), 0, 0, roles},
    [PV_CONFIG_MEMBERSHIP] = {"membership", "open", "open or allowlist",
                              "whether the cluster key is enough to become a member, or "
                              "`peers allow` must have named the node; it can be reloaded",
                              CHOICE, offsetof(struct pv_config, allowlist), 0, 0, memberships},
    [PV_CONFIG_REPAIR_AFTER] = {"repair_after", "12h", "1s .. 90d",
                                "how long a member may be away before others make up its copies",
                                DURATION, offsetof(struct pv_config, repair_after_ms), SECONDS,
                                90 * DAYS, NULL},
    [PV_CONFIG_MAX_SKEW] = {"max_skew", "300s", "1s .. 1h",
                            "how far the clock of a connecting peer may be off", DURATION,
                            offsetof(struct pv_config, max_skew_ms), SECONDS, HOURS, NULL},
    [PV_CONFIG_GC_GRACE] = {"gc_grace", "7d", "0s .. 90d",
                            "how long a deleted file can be restored", DURATION,
                            offsetof(struct pv_config, gc_grace_ms), 0, 90 * DAYS, NULL},
    [PV_CONFIG_KEY_GRACE] = {"key_grace", "90d", "1s .. 3650d",
                             "how long a replaced cluster key is read with; whoever is away for "
                             "longer loses what nobody else has",
                             DURATION, offsetof(struct pv_config, key_grace_ms), SECONDS,
                             3650 * DAYS, NULL},
    [PV_CONFIG_MEM_LIMIT] = {"mem_limit", "64MiB", "32MiB .. 64GiB",
                             "memory for buffers of all kinds", SIZE,
                             offsetof(struct pv_config, mem_limit_bytes), 32 * MIB, 64 * GIB, NULL},
    [PV_CONFIG_DISK_LIMIT] = {"disk_limit", "0", "0 (no limit), or from 1MiB",
                              "disk space for files and what is known of them; it can be reloaded",
                              SIZE, offsetof(struct pv_config, disk_limit_bytes), MIB, UINT64_MAX,
                              NULL},
    [PV_CONFIG_LIMIT_UP] = {"limit_up", "0", "0 (no limit), or 64KiB .. 1TiB",
                            "bytes a second to all peers together; it can be reloaded", SIZE,
                            offsetof(struct pv_config, bandwidth.up), BANDWIDTH_MIN,
                            PV_THROTTLE_RATE_MAX, NULL},
    [PV_CONFIG_LIMIT_DOWN] = {"limit_down", "0", "0 (no limit), or 64KiB .. 1TiB",
                              "bytes a second from all peers together; it can be reloaded", SIZE,
                              offsetof(struct pv_config, bandwidth.down), BANDWIDTH_MIN,
                              PV_THROTTLE_RATE_MAX, NULL},
    [PV_CONFIG_LIMIT_PEER_UP] = {"limit_peer_up", "0", "0 (no limit), or 64KiB .. 1TiB",
                                 "bytes a second to each peer; it can be reloaded", SIZE,
                                 offsetof(struct pv_config, bandwidth.peer_up), BANDWIDTH_MIN,
                                 PV_THROTTLE_RATE_MAX, NULL},
    [PV_CONFIG_LIMIT_PEER_DOWN] = {"limit_peer_down", "0", "0 (no limit), or 64KiB .. 1TiB",
                                   "bytes a second from each peer; it can be reloaded", SIZE,
                                   offsetof(struct pv_config, bandwidth.peer_down), BANDWIDTH_MIN,
                                   PV_THROTTLE_RATE_MAX, NULL},
    [PV_CONFIG_LIMIT_LAN] =
        {"limit_lan", "off", "on or off",
         "whether these limits concern private, link-local and loopback addresses, too", CHOICE,
         offsetof(struct pv_config, bandwidth.lan), 0, 0, switches},
    [PV_CONFIG_CONVERGENCE] = {"convergence", "cluster", "cluster, epoch or off",
                               "where equal content becomes equal blobs: everywhere, within a "
                               "day, or never",
                               CHOICE, offsetof(struct pv_config, convergence), 0, 0, convergences},
    [PV_CONFIG_SCRUB] = {"scrub", "on", "on or off",
                         "whether the daemon reads all it keeps once a week, and repairs it",
                         CHOICE, offsetof(struct pv_config, scrub), 0, 0, switches},
    [PV_CONFIG_CONFINE] = {"confine", "on", "on or off",
                           "whether the daemon shuts itself off from all but its vault", CHOICE,
                           offsetof(struct pv_config, confine), 0, 0, switches},
    [PV_CONFIG_LOG_LEVEL] = {"log_level", "info",
                             "error, warn, info or debug, and SUBSYSTEM=LEVEL, comma separated",
                             "what is logged", LOG_LEVEL, offsetof(struct pv_config, log_level), 0,
                             0, NULL},
    [PV_CONFIG_LOG_FORMAT] = {"log_format", "logfmt", "logfmt or json", "how a log line looks",
                              CHOICE, offsetof(struct pv_config, log_json), 0, 0, log_formats},
};

static const char *const origin_names[] = {
    [PV_FROM_DEFAULT] = "default",
    [PV_FROM_FILE] = PV_CONFIG_FILE_NAME,
    [PV_FROM_ENVIRONMENT] = "environment",
    [PV_FROM_FLAG] = "flag",
};

const char *pv_config_key_name(enum pv_config_key key)
{
    return keys[key].name;
}

const char *pv_config_key_help(enum pv_config_key key)
{
    return keys[key].help;
}

const char *pv_config_key_values(enum pv_config_key key)
{
    return keys[key].values;
}

bool pv_config_key_is_list(enum pv_config_key key)
{
    return key == PV_CONFIG_PEERS || key == PV_CONFIG_ADVERTISE;
}

const char *pv_config_origin_name(enum pv_config_origin origin)
{
    return origin_names[origin];
}

enum pv_err pv_config_key_find(enum pv_config_key *out, const char *name)
{
    for (unsigned i = 0; i < PV_CONFIG_KEY_COUNT; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            *out = (enum pv_config_key)i;
            return PV_OK;
        }
    }
    return PV_E_NOT_FOUND;
}

/* ---- values ---- */

static enum pv_err parse_choice(uint64_t *out, const struct choice *choices, const char *text)
{
    for (; choices->name != NULL; choices++) {
        if (strcmp(choices->name, text) == 0) {
            *out = choices->value;
            return PV_OK;
        }
    }
    return PV_E_INVALID;
}

static enum pv_err parse_number(uint64_t *out, const struct key *key, const char *text)
{
    const char *rest = "";
    uint64_t n = 0;
    enum pv_err err;
    if (key->kind == CHOICE)
        return parse_choice(out, key->choices, text);
    if (key->kind == DURATION)
        err = pv_duration_parse(&n, text);
    else if (key->kind == SIZE)
        err = pv_size_parse(&n, text);
    else
        err = pv_digits_parse(&n, text, &rest);
    if (err != PV_OK)
        return err;
    bool none = key->kind == SIZE && n == 0 && strcmp(key->fallback, "0") == 0;
    if (*rest != '\0' || (!none && (n < key->min || n > key->max)))
        return PV_E_INVALID;
    *out = n;
    return PV_OK;
}

static void ignore_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    (void)line;
    (void)len;
}

/* The log itself says what it takes. */
static enum pv_err check_log_level(const char *text)
{
    struct pv_log *log = NULL;
    if (strlen(text) > PV_CONFIG_LOG_LEVEL_MAX)
        return PV_E_INVALID;
    enum pv_err err = pv_log_new(&log, ignore_line, NULL, false);
    if (err == PV_OK)
        err = pv_log_set_levels(log, text);
    pv_log_free(log);
    return err;
}

struct list {
    char (*items)[PV_ADDRESS_MAX + 1];
    size_t *count, max;
};

/* Adds what the text names; known addresses stay once. *bad gets the item that is wrong. */
static enum pv_err add_addresses(const struct list *l, const char *text,
                                 char bad[PV_ADDRESS_MAX + 1])
{
    for (const char *p = text;; p++) {
        p += strspn(p, " \t");
        size_t span = strcspn(p, ","), len = span;
        while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
            len--;
        char item[PV_ADDRESS_MAX + 1];
        int written = snprintf(item, sizeof item, "%.*s", (int)len, p);
        bool known = len == 0; /* "a,,b" and a comma at the end do no harm */
        for (size_t i = 0; i < *l->count && !known; i++)
            known = strcmp(l->items[i], item) == 0;
        if (!known) {
            if (written < 0 || (size_t)written >= sizeof item || *l->count == l->max ||
                pv_address_form(item, 1) != PV_OK) {
                memcpy(bad, item, sizeof item);
                return PV_E_INVALID;
            }
            memcpy(l->items[(*l->count)++], item, sizeof item);
        }
        p += span;
        if (*p == '\0')
            return PV_OK;
    }
}

static enum pv_err set_advertise(struct pv_config *c, const char *text,
                                 char bad[PV_ADDRESS_MAX + 1])
{
    const struct list list = {c->advertise, &c->advertise_count, PV_ADDRESSES_MAX};
    bool none = strcmp(text, "none") == 0;
    if (c->advertise_count > 0 && (none || strcmp(c->advertise[0], "none") == 0))
        return PV_E_INVALID; /* "none" stands alone */
    if (!none)
        return add_addresses(&list, text, bad);
    memcpy(c->advertise[c->advertise_count++], "none", sizeof "none");
    return PV_OK;
}

static void *value_of(struct pv_config *c, const struct key *key)
{
    return (char *)c + key->offset;
}

/* Checks text and puts it into c. *bad gets the part that is wrong. */
static enum pv_err assign(struct pv_config *c, const struct key *key, const char *text,
                          char bad[PV_ADDRESS_MAX + 1])
{
    const struct list peers = {c->peers, &c->peer_count, PV_STATIC_PEERS_MAX};
    enum pv_err err;
    snprintf(bad, PV_ADDRESS_MAX + 1, "%s", text);
    switch (key->kind) {
    case PEERS:
        return add_addresses(&peers, text, bad);
    case ADVERTISE:
        return set_advertise(c, text, bad);
    case ADDRESS:
        err = pv_address_form(text, 0);
        break;
    case LOG_LEVEL:
        err = check_log_level(text);
        break;
    case NUMBER:
    case DURATION:
    case SIZE:
    case CHOICE:
        return parse_number(value_of(c, key), key, text);
    default:
        return PV_E_INTERNAL;
    }
    if (err == PV_OK)
        memcpy(value_of(c, key), text, strlen(text) + 1);
    return err;
}

/* ---- sources ---- */

struct place { /* of a value, for messages and for config show */
    enum pv_config_origin origin;
    unsigned line;
    const char *text; /* "PEERVAULT_LISTEN" */
};

/* What is quoted in a message may come from a pasted file: one line, printable, not too long. */
static void quote(char *dst, size_t cap, const char *text)
{
    snprintf(dst, cap, "%.*s", (int)cap - 1, text);
    for (; *dst != '\0'; dst++)
        if (*dst < 0x20 || *dst >= 0x7f)
            *dst = '?';
}

static enum pv_err set(struct pv_config *c, enum pv_config_key k, const char *text,
                       const struct place *place, char *why)
{
    const struct key *key = &keys[k];
    char bad[PV_ADDRESS_MAX + 1], quoted[61];
    bool stronger = c->origin[k] != place->origin; /* replaces a list, the same one adds to it */
    if (stronger && k == PV_CONFIG_PEERS)
        c->peer_count = 0;
    if (stronger && k == PV_CONFIG_ADVERTISE)
        c->advertise_count = 0;
    enum pv_err err = assign(c, key, text, bad);
    if (err == PV_E_INVALID) {
        quote(quoted, sizeof quoted, bad);
        snprintf(why, PV_CONFIG_WHY_MAX, "%s: %s = \"%s\": must be %s", place->text, key->name,
                 quoted, key->values);
    } else if (err != PV_OK) {
        snprintf(why, PV_CONFIG_WHY_MAX, "%s: %s: %s", place->text, key->name, pv_err_text(err));
    }
    if (err != PV_OK)
        return err;
    c->origin[k] = (uint8_t)place->origin;
    c->line[k] = place->line;
    return PV_OK;
}

void pv_config_default(struct pv_config *out)
{
    static const struct place place = {PV_FROM_DEFAULT, 0, "default"};
    char why[PV_CONFIG_WHY_MAX];
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < PV_CONFIG_KEY_COUNT; i++) {
        const struct key *key = &keys[i];
        if (key->kind == LOG_LEVEL) { /* its check allocates; this function cannot fail */
            memcpy(value_of(out, key), key->fallback, strlen(key->fallback) + 1);
            continue;
        }
        enum pv_err err = set(out, (enum pv_config_key)i, key->fallback, &place, why);
        PV_ASSERT(err == PV_OK);
    }
}

struct file {
    struct pv_config *c;
    const char *p, *end;
    unsigned line;
    enum pv_err err; /* the first one */
    char *why;
};

static void file_fail(struct file *f, const char *what)
{
    f->err = PV_E_INVALID;
    snprintf(f->why, PV_CONFIG_WHY_MAX, "%s, line %u: %s", PV_CONFIG_FILE_NAME, f->line, what);
}

/* fgets() for inih, from memory. */
static char *next_line(char *dst, int cap, void *stream)
{
    struct file *f = stream;
    if (f->err != PV_OK || f->p == f->end)
        return NULL;
    size_t left = (size_t)(f->end - f->p);
    const char *newline = memchr(f->p, '\n', left);
    size_t len = newline != NULL ? (size_t)(newline - f->p) + 1 : left;
    f->line++;
    if (memchr(f->p, '\0', len) != NULL) {
        file_fail(f, "a zero byte: this is not a text file");
        return NULL;
    }
    if (cap <= 0 || len >= (size_t)cap) {
        file_fail(f, "too long; a list of addresses may be given in several lines");
        return NULL;
    }
    memcpy(dst, f->p, len);
    dst[len] = '\0';
    f->p += len;
    return dst;
}

static int file_entry(void *user, const char *section, const char *name, const char *value)
{
    struct file *f = user;
    enum pv_config_key key;
    char what[128], quoted[61], where[64];
    if (f->err != PV_OK)
        return 0;
    quote(quoted, sizeof quoted, *section != '\0' ? section : name);
    if (*section != '\0') {
        snprintf(what, sizeof what, "section [%s]: there are no sections", quoted);
        file_fail(f, what);
    } else if (pv_config_key_find(&key, name) != PV_OK) {
        snprintf(what, sizeof what, "unknown key %s", quoted);
        file_fail(f, what);
    } else if (!pv_config_key_is_list(key) && f->c->origin[key] == PV_FROM_FILE) {
        snprintf(what, sizeof what, "%s was set before, in line %u", name, f->c->line[key]);
        file_fail(f, what);
    } else {
        snprintf(where, sizeof where, "%s, line %u", PV_CONFIG_FILE_NAME, f->line);
        const struct place place = {PV_FROM_FILE, f->line, where};
        f->err = set(f->c, key, value, &place, f->why);
    }
    return f->err == PV_OK;
}

static enum pv_err parse_file(struct pv_config *c, const char *text, size_t len, char *why)
{
    struct file f = {.c = c, .p = text, .end = text + len, .why = why};
    int line = ini_parse_stream(next_line, &f, file_entry, &f);
    if (f.err == PV_OK && line < 0)
        return PV_E_NOMEM;
    if (f.err == PV_OK && line > 0) {
        f.line = (unsigned)line;
        file_fail(&f, "not of the form \"key = value\"");
    }
    return f.err;
}

static enum pv_err load_file(struct pv_config *c, const struct pv_config_source *s, char *why)
{
    struct pv_buf text;
    pv_buf_init(&text, PV_CONFIG_FILE_MAX + 1);
    enum pv_err err = pv_config_file_read(&text, s->fs, s->vault, why);
    if (err == PV_OK)
        err = parse_file(c, (const char *)text.data, text.len, why);
    pv_buf_release(&text);
    return err;
}

static enum pv_err load_environment(struct pv_config *c, const struct pv_config_source *s,
                                    char *why)
{
    for (unsigned i = 0; i < PV_CONFIG_KEY_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "PEERVAULT_%s", keys[i].name);
        for (char *p = name; *p != '\0'; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
        const char *text = s->getenv(s->ctx, name);
        if (text == NULL || *text == '\0')
            continue;
        const struct place place = {PV_FROM_ENVIRONMENT, 0, name};
        enum pv_err err = set(c, (enum pv_config_key)i, text, &place, why);
        if (err != PV_OK)
            return err;
    }
    return PV_OK;
}

enum pv_err pv_config_load(struct pv_config *out, const struct pv_config_source *source,
                           const struct pv_config_flag *flags, size_t flag_count, char *why)
{
    static const struct place place = {PV_FROM_FLAG, 0, "command line"};
    enum pv_err err = PV_OK;
    struct pv_config *c = pv_malloc(sizeof *c); /* 17 KiB: too much for a stack frame */
    if (c == NULL) {
        snprintf(why, PV_CONFIG_WHY_MAX, "settings: %s", pv_err_text(PV_E_NOMEM));
        return PV_E_NOMEM;
    }
    pv_config_default(c);
    if (source->vault != PV_FD_NONE)
        err = load_file(c, source, why);
    if (err == PV_OK)
        err = load_environment(c, source, why);
    for (size_t i = 0; err == PV_OK && i < flag_count; i++)
        err = set(c, flags[i].key, flags[i].value, &place, why);
    if (err == PV_OK)
        memcpy(out, c, sizeof *out);
    pv_free(c);
    return err;
}

/* ---- showing ---- */

static enum pv_err show_addresses(const char (*items)[PV_ADDRESS_MAX + 1], size_t count,
                                  struct pv_buf *out)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; err == PV_OK && i < count; i++)
        err = pv_buf_printf(out, "%s%s", i > 0 ? "," : "", items[i]);
    return err;
}

enum pv_err pv_config_show(const struct pv_config *c, enum pv_config_key k, struct pv_buf *out)
{
    const struct key *key = &keys[k];
    const void *value = (const char *)c + key->offset;
    const struct choice *choice = key->choices;
    uint64_t n = 0;
    switch (key->kind) {
    case PEERS:
        return show_addresses(c->peers, c->peer_count, out);
    case ADVERTISE:
        return show_addresses(c->advertise, c->advertise_count, out);
    case ADDRESS:
    case LOG_LEVEL:
        return pv_buf_printf(out, "%s", (const char *)value);
    case NUMBER:
    case DURATION:
    case SIZE:
    case CHOICE:
        break;
    default:
        return PV_E_INTERNAL;
    }
    memcpy(&n, value, sizeof n);
    if (key->kind == DURATION)
        return pv_duration_show(n, out);
    if (key->kind == SIZE)
        return pv_size_show(n, out);
    if (key->kind == NUMBER)
        return pv_buf_printf(out, "%" PRIu64, n);
    while (choice->name != NULL && choice->value != n)
        choice++;
    return pv_buf_printf(out, "%s", choice->name != NULL ? choice->name : "?");
}
