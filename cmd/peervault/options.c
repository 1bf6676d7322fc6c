#include "cmd/peervault/options.h"

const struct pv_option pv_global_options[] = {
    {"vault", 0, false, "DIR", "where the vault is, see below"},
    {"json", 0, false, NULL, "one JSON object a result on stdout"},
    {"quiet", 'q', false, NULL, "nothing on stderr but errors"},
    {"verbose", 'v', false, NULL, "say more on stderr"},
    {"help", 'h', false, NULL, "help, of the command where one is given"},
    {"version", 0, false, NULL, "the version"},
    {.name = NULL},
};

#define ROLE_OPTION                                                                           \
    {                                                                                         \
        "role", 0, false, "keyed|blind", "keyed: can read; blind: stores what it cannot read" \
    }

const struct pv_option pv_init_options[] = {ROLE_OPTION, {.name = NULL}};

const struct pv_option pv_key_export_options[] = {
    {"sheet", 0, false, NULL, "a recovery sheet instead, to print and to keep"},
    {.name = NULL},
};

const struct pv_option pv_key_rotate_options[] = {
    {"force", 0, false, NULL, "do not wait for members that lack the new key"},
    {"compromised", 0, false, NULL, "somebody has the old one: new token, too; all rejoin"},
    {"no-wait", 0, false, NULL, "come back at once; it goes on by itself"},
    {.name = NULL},
};

const struct pv_option pv_daemon_options[] = {
    {"listen", 0, false, "ADDR:PORT", "default 127.0.0.1:3000; port 0: any free one"},
    {"peer", 0, true, "ADDR:PORT", "a node to connect to; may be repeated"},
    {"replicas", 0, false, "R", "copies of every blob, default 3"},
    ROLE_OPTION,
    {.name = NULL},
};

const struct pv_option pv_store_options[] = {
    {"recursive", 'r', false, NULL, "store everything below the folders given"},
    {"files-from", 0, false, "FILE", "store the paths in FILE, one a line; - is stdin"},
    {"null", '0', false, NULL, "they end with NUL instead, as those of find -print0"},
    {"name", 0, false, "NAME", "the name to bind, 1 to 1024 bytes; one file only"},
    {"copies", 0, false, "N", "wait for N copies; exit 5 when they are not reached"},
    {"no-wait", 0, false, NULL, "do not wait for copies on other nodes"},
    {"private", 0, false, NULL, "equal content gives different blobs: no dedup"},
    {"replace", 0, false, NULL, "also where the name means a value"},
    {.name = NULL},
};

const struct pv_option pv_get_options[] = {
    {"output", 'o', false, "FILE", "write to FILE; - is stdout"},
    {"recursive", 'r', false, NULL, "all names that begin so, into the folder -o DIR"},
    {"range", 0, false, "A-B", "bytes A to B, both included; A- to the end"},
    {.name = NULL},
};

const struct pv_option pv_ls_options[] = {
    {"history", 0, false, "NAME", "what this name meant before, newest first"},
    {"values", 0, false, NULL, "values instead of files: NAME, a tab, VALUE"},
    {.name = NULL},
};

const struct pv_option pv_set_options[] = {
    {"lines", 0, false, "FILE", "set what is in FILE: NAME, a tab, VALUE; - is stdin"},
    {"if", 0, false, "VALUE", "only if it has this value now"},
    {"if-hash", 0, false, "SHA256", "only if its value has this SHA-256 now"},
    {"if-absent", 0, false, NULL, "only if the name means nothing now"},
    {"replace", 0, false, NULL, "also where the name means a file"},
    {.name = NULL},
};

const struct pv_option pv_unset_options[] = {
    {"if", 0, false, "VALUE", "only if it has this value now"},
    {"if-hash", 0, false, "SHA256", "only if its value has this SHA-256 now"},
    {.name = NULL},
};

const struct pv_option pv_undo_options[] = {
    {"to", 0, false, "SHA256", "this version, of `ls --history NAME`; 8 digits do"},
    {.name = NULL},
};

const struct pv_option pv_where_options[] = {
    {"blobs", 0, false, NULL, "each blob, too: where it belongs and who has it"},
    {.name = NULL},
};

const struct pv_option pv_rm_options[] = {
    {"recursive", 'r', false, NULL, "each NAME, and all names below NAME/"},
    {"files-from", 0, false, "FILE", "what is in FILE, one a line; - is stdin"},
    {"null", '0', false, NULL, "they end with NUL instead"},
    {.name = NULL},
};

const struct pv_option pv_restore_options[] = {
    {"key", 0, false, "KEY", "bind NAME to this, of `ls --history NAME`"},
    {.name = NULL},
};

const struct pv_option pv_gc_options[] = {
    {"dry-run", 0, false, NULL, "only say what would go"},
    {"now", 0, false, NULL, "end the time in which files can be restored"},
    {.name = NULL},
};

const struct pv_option pv_status_options[] = {
    {"watch", 'w', false, NULL, "again every two seconds"},
    {.name = NULL},
};

const struct pv_option pv_verify_options[] = {
    {"deep", 0, false, NULL, "read every byte, not only the structure"},
    {"repair", 0, false, NULL, "fetch what is bad or missing from other nodes"},
    {.name = NULL},
};

const struct pv_option pv_doctor_options[] = {
    {"rebuild", 0, false, NULL, "make vault.db anew; no daemon may run"},
    {"limits", 0, false, NULL, "print every limit of this program, and nothing else"},
    {.name = NULL},
};

const struct pv_option pv_allow_options[] = {
    {"role", 0, false, "keyed|blind", "what it is to be; default: what it proves to be"},
    {"weight", 0, false, "W", "its share of what is stored, 1 to 16, default 1"},
    {"zone", 0, false, "NAME", "members of one zone are expected to fail together"},
    {"ttl", 0, false, "TIME", "as 30m, 12h, 7d; default: for good"},
    {"reason", 0, false, "TEXT", "why, up to 120 bytes; shown by `peers` here"},
    {.name = NULL},
};

const struct pv_option pv_block_options[] = {
    {"ttl", 0, false, "TIME", "as 30m, 12h, 7d; default: for good"},
    {"reason", 0, false, "TEXT", "why, up to 120 bytes; shown by `peers` here"},
    {.name = NULL},
};

const struct pv_option pv_invite_options[] = {
    ROLE_OPTION,
    {"ttl", 0, false, "TIME", "how long the code is good, default 1h, at most 30d"},
    {"address", 0, false, "HOST:PORT", "where to reach this node; default: what it knows"},
    {"confirm", 0, false, NULL, "let the machine in only after `invite confirm`"},
    {.name = NULL},
};

const struct pv_option pv_rotate_options[] = {
    {"overlap", 0, false, "TIME", "how long the older one is good, default 7d, max. 90d"},
    {"finish", 0, false, NULL, "refuse the older token from now on"},
    {.name = NULL},
};

const struct pv_option pv_join_options[] = {
    {"listen", 0, false, "ADDR:PORT", "where its daemon will listen, default 127.0.0.1:3000"},
    {.name = NULL},
};

const struct pv_option pv_ping_options[] = {
    {"count", 'c', false, "N", "how many times, 1 to 1000, default 3"},
    {.name = NULL},
};

const struct pv_option pv_demo_options[] = {
    {"nodes", 0, false, "N", "2 to 16, default 3"},
    {"files", 0, false, "N", "small files, 1 to 10000, default 20"},
    {"big", 0, false, "SIZE", "the large file, default 256MiB; 0: none"},
    {.name = NULL},
};
