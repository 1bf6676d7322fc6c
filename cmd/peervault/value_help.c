#include "cmd/peervault/value_help.h"

const char pv_set_details[] =
    "Up to 59392 bytes of any kind; - reads them from stdin, -- goes before a VALUE\n"
    "that begins with -. Durable here when the command ends, with or without a\n"
    "daemon; the other nodes get it at once, or when they are back. Of two nodes\n"
    "that set a name at once the later wins, everywhere, and the other value is in\n"
    "the history. A name means a file or a value: setting that of a file exits 1,\n"
    "unless --replace is given.\n"
    "--if, --if-hash and --if-absent compare with what this node knows, and write\n"
    "only if that is so, else exit 1. Of many such commands at this node, at once,\n"
    "one succeeds. They are no lock between nodes: two of them may both succeed while\n"
    "they do not hear of each other, and then the later one wins.\n"
    "In --lines a backslash begins \\\\, \\t, \\n, \\r or \\xHH (two hex digits); many are\n"
    "under way at once, and what is refused is said, while the rest goes on.";
const char pv_set_json[] = "for each {\"name\", \"sha256\", \"size\"}; \"name_hex\" if not UTF-8";
const char pv_set_examples[] = "peervault set colour blue\n"
                               "peervault set --if blue colour green\n"
                               "date | peervault set last-run -\n"
                               "peervault ls --values | peervault --vault copy set --lines -";

const char pv_value_json[] =
    "{\"name\", \"size\", \"sha256\", \"written_ms\", \"author\", \"value\"};\n"
    "\"name_hex\" and \"value_hex\" if not UTF-8";
const char pv_value_examples[] = "peervault value colour";

const char pv_unset_details[] =
    "The value stays in the history of the nodes that had it, and `undo` brings it\n"
    "back. --if and --if-hash are those of `set`.";
const char pv_unset_json[] = "for each {\"name\", \"removed\"}";
const char pv_unset_examples[] = "peervault unset colour";

const char pv_undo_details[] =
    "Writes the version before the current one again, which may be none: undo twice\n"
    "is as before. A node keeps the last 16 versions that it saw, also those that\n"
    "lost; `ls --history NAME` shows them. Exits 1 where that version is a file:\n"
    "`restore NAME --key KEY` goes back to it.";
const char pv_undo_json[] =
    "{\"name\", \"removed\", \"sha256\", \"size\"}: removed: it means nothing now";
const char pv_undo_examples[] = "peervault undo colour\n"
                                "peervault undo colour --to 16477688";

const char pv_watch_details[] =
    "One line for each name that comes to mean something else here, whoever wrote it:\n"
    "set NAME VALUE, unset NAME, store NAME KEY or rm NAME KEY, with tabs between and\n"
    "the escapes of `set --lines`. Goes on until Ctrl-C, or until nobody reads the\n"
    "lines any more. Needs a daemon. Nobody waits for a slow reader: how many changes\n"
    "it missed is said on stderr, then it should list again.";
const char pv_watch_json[] =
    "{\"event\": \"watching\"} when it has begun; for each change {\"event\": \"change\",\n"
    "\"change\": \"set\" | \"unset\" | \"store\" | \"rm\", \"name\", \"written_ms\", \"author\"}\n"
    "and \"sha256\", \"size\", \"value\" of set, \"key\" of store and rm; {\"event\":\n"
    "\"missed\", \"count\"}; \"name_hex\" and \"value_hex\" if not UTF-8";
const char pv_watch_examples[] =
    "peervault watch\n"
    "peervault watch --json conf/ | while read -r line; do reload; done";

const char pv_shell_details[] =
    "Lines are commands without `peervault`, and words are quoted as in sh: '...',\n"
    "\"...\" and backslash; # begins a comment, nothing is expanded. The options of the\n"
    "shell (--vault, --json, -q, -v) hold for each of them. At a terminal: history,\n"
    "and Tab completes commands and names. `exit` and Ctrl-D end it; Ctrl-C ends a\n"
    "`watch`, or drops the line; in any other command it ends the shell. Errors do\n"
    "not. Exits with what the last command did, or with N of `exit N`.\n"
    "The history is XDG_STATE_HOME/peervault/history, else that of ~/.local/state;\n"
    "a line that begins with a blank is not kept in it.";
const char pv_shell_examples[] = "peervault shell\n"
                                 "printf 'set a 1\\nvalue a\\n' | peervault shell";
