/*
 * Texts of the tables are plain: what roff would take for its own (a backslash, a dot or quote that
 * begins a line, a hyphen that must stay one) is escaped on the way out.
 */
#include "cmd/gendocs/gendocs.h"
#include "internal/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const exits[][2] = {
    {"0", "Done."},
    {"1", "Failed: a file that cannot be read or written, a closed pipe, a vault of a later "
          "version."},
    {"2", "Usage: wrong arguments or settings, an ambiguous prefix, a name given twice."},
    {"3", "Not found, for certain: every active member answered; or there is no vault."},
    {"4", "Corrupt data was detected, and no good copy was found."},
    {"5", "Unavailable for now: peers, copies or the lock are out of reach."},
    {"6", "Denied by the daemon, a peer or a key."},
    {"7", "The storage is full."},
    {"70", "Internal error: a fault of PeerVault, please report it."},
};

static const char *const variables[][2] = {
    {"PEERVAULT_VAULT", "The vault, where --vault is not given."},
    {"PEERVAULT_AUTH_TOKEN", "The token that admits to the network, for a vault that is made."},
    {"PEERVAULT_AUTH_TOKEN_FILE", "A file with the token, instead."},
    {"PEERVAULT_CLUSTER_KEY", "The key that reads content, 64 hexadecimal digits, likewise."},
    {"PEERVAULT_CLUSTER_KEY_FILE", "A file with the cluster key, instead."},
    {"NOTIFY_SOCKET", "Where a service manager wants to hear that the daemon is ready."},
    {"XDG_DATA_HOME, HOME", "Say where the vault is when nothing else does."},
};

/* One line of text; begins a line of output. */
static void put_line(const char *text, size_t len)
{
    if (len > 0 && (text[0] == '.' || text[0] == '\''))
        (void)fputs("\\&", stdout);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            (void)fputs("\\e", stdout);
        else if (text[i] == '-')
            (void)fputs("\\-", stdout);
        else if (text[i] == '\'')
            (void)fputs("\\(aq", stdout);
        else if (text[i] == '~')
            (void)fputs("\\(ti", stdout);
        else if (text[i] == '^')
            (void)fputs("\\(ha", stdout);
        else if (text[i] == '`')
            (void)fputs("\\(ga", stdout);
        else
            (void)putchar(text[i]);
    }
}

static void put(const char *text)
{
    put_line(text, strlen(text));
}

static void put_lines(const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        put_line(text, len);
        (void)putchar('\n');
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

/* Lines that stay as they are, indented. */
static void put_verbatim(const char *heading, const char *text)
{
    (void)printf(".PP\n%s\n.PP\n.nf\n.RS 4\n", heading);
    put_lines(text);
    (void)printf(".RE\n.fi\n");
}

/* A sentence of a phrase of the tables, which begin small and end without a full stop. */
static void put_sentence(const char *phrase)
{
    const char first = (char)toupper((unsigned char)phrase[0]);
    put_line(&first, 1);
    put(phrase + 1);
    (void)puts(".");
}

static void put_heading(const char *name, const char *section, const char *what)
{
    (void)printf(".\\\" Made by gendocs from the tables of the program.\n"
                 ".TH %s %s 2026-11-21 \"PeerVault %s\" \"%s\"\n",
                 name, section, PV_VERSION, what);
}

static void put_options(const struct pv_option *options)
{
    for (const struct pv_option *o = options; o != NULL && o->name != NULL; o++) {
        (void)puts(".TP");
        if (o->letter != '\0')
            (void)printf("\\fB\\-%c\\fR, ", o->letter);
        (void)printf("\\fB\\-\\-");
        put(o->name);
        (void)printf("\\fR");
        if (o->metavar != NULL) {
            (void)printf(" \\fI");
            put(o->metavar);
            (void)printf("\\fR");
        }
        (void)putchar('\n');
        put_sentence(o->help);
    }
}

static void put_command(const struct pv_command *c)
{
    (void)printf(".SS ");
    put(c->name);
    (void)printf("\n\\fBpeervault\\fR [\\fIoptions\\fR] \\fB");
    put(c->name);
    (void)printf("\\fR%s", c->options != NULL ? " [\\fIoptions\\fR]" : "");
    if (c->arguments[0] != '\0') {
        (void)printf(" \\fI");
        put(c->arguments);
        (void)printf("\\fR");
    }
    (void)printf("\n.PP\n");
    put_sentence(c->help);
    if (c->details != NULL)
        put_lines(c->details);
    put_options(c->options);
    if (c->json != NULL)
        put_verbatim("\\fB\\-\\-json\\fR prints:", c->json);
    if (c->examples != NULL)
        put_verbatim("For example:", c->examples);
}

void pv_man_commands(void)
{
    put_heading("PEERVAULT", "1", "User Commands");
    (void)puts(".SH NAME\n"
               "peervault \\- content\\-addressed, encrypted, peer\\-to\\-peer file store\n"
               ".SH SYNOPSIS\n"
               "\\fBpeervault\\fR [\\fIoptions\\fR] \\fIcommand\\fR [\\fIargument\\fR ...]\n"
               ".SH DESCRIPTION\n"
               "PeerVault keeps files encrypted in a vault, named by their SHA\\-256, and keeps\n"
               "copies of everything on the other nodes of its cluster.\n"
               "\\fBstore\\fR prints what \\fBsha256sum\\fR(1) prints; \\fBget\\fR gives the\n"
               "bytes back, verified, from here or from any node that has them.\n"
               ".PP\n"
               "Where a daemon runs on the vault, see \\fBpeervault\\-daemon\\fR(8), commands\n"
               "talk to it; where none does, most of them serve the vault themselves.\n"
               ".SH OPTIONS\n"
               "They stand before or after the command.");
    put_options(pv_global_options);
    (void)puts(".SH COMMANDS");
    for (const struct pv_command *c = pv_commands; c->name != NULL; c++)
        put_command(c);
    (void)puts(".SH EXIT STATUS");
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        (void)printf(".TP\n.B %s\n", exits[i][0]);
        put_lines(exits[i][1]);
    }
    (void)puts(".PP\nFor several files: the single cause, else 1.\n.SH ENVIRONMENT");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        (void)printf(".TP\n.B ");
        put_lines(variables[i][0]);
        put_lines(variables[i][1]);
    }
    (void)puts(".PP\nEvery setting of \\fBpeervault.conf\\fR(5) has a variable as well.\n"
               ".SH FILES\n"
               ".TP\n.I \\(ti/.local/share/peervault\nThe vault, where nothing else is said.\n"
               ".TP\n.IR vault /peervault.conf\nSettings, see \\fBpeervault.conf\\fR(5).\n"
               ".TP\n.IR vault /keyring\n"
               "The secrets. Without them the vault cannot be read by anybody: back them up, or\n"
               "keep what \\fBpeervault key export\\fR prints.\n"
               ".SH SEE ALSO\n"
               ".BR peervault.conf (5),\n.BR peervault\\-daemon (8),\n.BR sha256sum (1)");
}

static void put_setting(const struct pv_config *defaults, enum pv_config_key key)
{
    struct pv_buf value;
    pv_buf_init(&value, PV_CONFIG_SHOW_MAX);
    enum pv_err err = pv_config_show(defaults, key, &value);
    PV_ASSERT(err == PV_OK);
    (void)printf(".TP\n.B %s\n", pv_config_key_name(key));
    put_sentence(pv_config_key_help(key));
    (void)printf(".br\nValues: ");
    put(pv_config_key_values(key));
    (void)printf(".\nDefault: ");
    if (value.len > 0)
        put_line((const char *)value.data, value.len);
    (void)puts(value.len > 0 ? "." : "none.");
    pv_buf_release(&value);
}

void pv_man_settings(void)
{
    static struct pv_config defaults;
    pv_config_default(&defaults);
    put_heading("PEERVAULT.CONF", "5", "File Formats");
    (void)puts(".SH NAME\n"
               "peervault.conf \\- settings of a PeerVault node\n"
               ".SH SYNOPSIS\n"
               ".IR vault /peervault.conf\n"
               ".SH DESCRIPTION\n"
               "The file lies in the vault and may be absent. It has lines\n"
               "\\fIkey\\fR = \\fIvalue\\fR; a line that begins with # or ; is a comment. There\n"
               "are no sections. A line has at most 198 bytes. A key may be given once, but\n"
               "for \\fBpeers\\fR and \\fBadvertise\\fR, whose lines add up. An unknown key is an\n"
               "error that names it and its line.\n"
               ".PP\n"
               "A setting is taken from the first of these that has it: an option of the\n"
               "command line; the environment variable PEERVAULT_ and the key in capitals,\n"
               "such as PEERVAULT_LISTEN; this file; the default.\n"
               "\\fBpeervault config show\\fR says what is in force and where it comes from,\n"
               "\\fBpeervault config check\\fR whether all of it is well formed.\n"
               ".PP\n"
               "Durations take the units ms, s, m, h and d, and are in seconds without one.\n"
               "Sizes take K, M, G and T, also written KiB, MiB, GiB and TiB, all powers of\n"
               "1024, and are in bytes without one.\n"
               ".PP\n"
               "On SIGHUP the daemon reads its settings again. \\fBlog_level\\fR,\n"
               "\\fBdisk_limit\\fR, the \\fBlimit_*\\fR settings, \\fBmembership\\fR and further\n"
               "\\fBpeers\\fR apply at once; what waits for a restart is named in the log.\n"
               ".PP\n"
               "Secrets are no settings: they are in the keyring of the vault, see\n"
               "\\fBkey export\\fR and \\fBkey import\\fR in \\fBpeervault\\fR(1).\n"
               ".SH SETTINGS");
    for (unsigned k = 0; k < PV_CONFIG_KEY_COUNT; k++)
        put_setting(&defaults, (enum pv_config_key)k);
    (void)puts(".SH EXAMPLES\n.nf\n.RS 4\n"
               "# a node that others reach\n"
               "listen = 0.0.0.0:3000\n"
               "peers = first.example:3000, 192.0.2.7:3000\n"
               "disk_limit = 200GiB\n"
               "# half of a line of 32 Mbit/s, but all of the LAN\n"
               "limit_up = 2MiB\n"
               ".RE\n.fi\n"
               ".SH SEE ALSO\n"
               ".BR peervault (1),\n.BR peervault\\-daemon (8)");
}
