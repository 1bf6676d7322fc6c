#include "cmd/peervault/cluster_help.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/key_help.h"
#include "cmd/peervault/options.h"
#include "cmd/peervault/value_help.h"

const struct pv_command pv_commands[] = {
    {
        .name = "init",
        .arguments = "",
        .help = "create a vault",
        .details = pv_init_details,
        .json = "{\"vault\", \"node\", \"role\"}",
        .examples = pv_init_examples,
        .options = pv_init_options,
        .run = pv_cmd_init,
    },
    {
        .name = "daemon",
        .arguments = "",
        .help = "run the node: listen, dial peers, keep copies",
        .details =
            "Runs in the foreground and logs to stderr. SIGTERM and SIGINT end it: what was\n"
            "acknowledged is durable, the rest is rolled back. Without a vault one is made,\n"
            "with the secrets of the environment, or fresh ones when there are no peers.\n"
            "SIGHUP reads the settings again: log_level, disk_limit, membership, the limits\n"
            "of bandwidth and further peers apply at once, what waits for a restart is named\n"
            "in the log. Under a service manager (NOTIFY_SOCKET) it says when it is ready.",
        .examples = "peervault daemon\n"
                    "peervault daemon --listen 0.0.0.0:3000 --peer 192.0.2.7:3000",
        .options = pv_daemon_options,
        .run = pv_cmd_daemon,
    },
    {
        .name = "store",
        .arguments = "[-r] FILE... | -",
        .help = "store files or standard input, print their SHA-256",
        .details =
            "Lines are those of sha256sum, each printed as soon as its file is durable here,\n"
            "in the order given. A file gets the last component of its path as its name, -\n"
            "gets none without --name. Then up to 5 s without progress are waited for a\n"
            "second copy on another node. Without a daemon the command serves the vault.\n"
            "With -r, names are the last component of where the folder really is, /, and the\n"
            "path below it, sorted in each folder. Links, pipes and devices are skipped and\n"
            "said; what cannot be read is said, and exits 1 at the end. Empty folders leave\n"
            "nothing. With --files-from, names are the paths as listed, without a leading /\n"
            "or ./; one with .. in it is refused, and so is the second of two equal ones.",
        .json = "for each file {\"path\", \"key\", \"size\", \"new_bytes\", \"name\", \"copies\", "
                "\"want\"}\n"
                "or {\"path\", \"exit\", \"error\"}, with -r also {\"path\", \"skipped\"};\n"
                "\"path_hex\" and \"name_hex\" if not UTF-8",
        .examples = "peervault store *.jpg | tee keys; sha256sum -c keys\n"
                    "peervault store -r photos\n"
                    "find . -newer stamp -type f -print0 | peervault store -0 --files-from -\n"
                    "tar c src | peervault store - --name src.tar --copies 3",
        .options = pv_store_options,
        .words_max = PV_WORDS_ANY,
        .run = pv_cmd_store,
    },
    {
        .name = "get",
        .arguments = "KEY|NAME|PREFIX",
        .help = "give a file back, from here or from a peer, verified",
        .details =
            "To stdout, or with -o to a temporary file that is renamed into place once every\n"
            "byte is verified (a target that is no regular file is written into). Bytes on\n"
            "stdout precede the last check: trust the exit code. A prefix of a key has at\n"
            "least 8 hex digits. What is replaced gets the time of the file that was stored.\n"
            "With -r, each file whose name begins with NAME (or all) is written to DIR/name.\n"
            "DIR and folders below it are made; links below it are not followed, and names\n"
            "that lead out of it are refused, while the others go on.",
        .json = "with -o: {\"key\", \"size\", \"name\", \"mtime_ms\", \"offset\", \"length\", "
                "\"file\"}\n"
                "with -r for each file that, or {\"name\", \"exit\", \"error\"}",
        .examples = "peervault get report.pdf -o report.pdf\n"
                    "peervault get -r photos/2025/ -o restored\n"
                    "peervault get 9f86d081 --range 0-1023 | xxd",
        .options = pv_get_options,
        .words_max = 1,
        .run = pv_cmd_get,
    },
    {
        .name = "ls",
        .arguments = "[PREFIX]",
        .help = "list names, and files without a name",
        .details =
            "Columns: key, size in bytes, date, name. Sorted by name, unless there are more\n"
            "than 200000, or with --json.\n"
            "With --history: key, size, when the name was bound or removed, by which node,\n"
            "and what became of it. A node keeps the last 16 versions that it saw, also\n"
            "those that lost when two nodes bound a name at once. `restore` goes back, and\n"
            "`undo` where it meant a value. Values are listed with --values only.",
        .json = "for each {\"key\", \"size\", \"mtime_ms\", \"name\", \"private\"};\n"
                "\"name_hex\" if not UTF-8, neither where the file has no name; with --history\n"
                "{\"key\", \"size\", \"written_ms\", \"author\", \"deleted\", \"current\", "
                "\"file\"}:\n"
                "file is live, removed or unknown; of a value \"sha256\", \"size\", \"value\" (if\n"
                "it is short) instead of key, size and file; with --values as `value` prints",
        .examples = "peervault ls\n"
                    "peervault ls photos/\n"
                    "peervault ls --history report.pdf",
        .options = pv_ls_options,
        .words_max = 1,
        .run = pv_cmd_ls,
    },
    {
        .name = "stat",
        .arguments = "KEY|NAME",
        .help = "what is known of a file: size, names, blobs, copies",
        .json = "{\"key\", \"size\", \"mtime_ms\", \"names\", \"inline\", \"private\", \"blobs\",\n"
                "\"stored_bytes\", \"copies\" (none: all blobs are elsewhere), \"want\",\n"
                "\"missing_blobs\", \"elsewhere_blobs\", \"author\",\n"
                "\"more_names\"}: these names "
                "are not all",
        .examples = "peervault stat report.pdf",
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_stat,
    },
    {
        .name = "where",
        .arguments = "KEY|NAME",
        .help = "which members keep a file",
        .details = pv_where_details,
        .json = pv_where_json,
        .examples = pv_where_examples,
        .options = pv_where_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_where,
    },
    {
        .name = "rm",
        .arguments = "[-r] KEY|NAME...",
        .help = "remove files or names, on all nodes",
        .details = "A key: the file and every name of it. A name: the name, and the file if that\n"
                   "was its last one. The bytes stay on disk for a while, 7 days unless gc_grace\n"
                   "says otherwise: until then `restore` brings a file back. With -r, a NAME\n"
                   "stands for itself and for all that is below it, as a folder does; lines of\n"
                   "--files-from are keys or names.",
        .json = "for each {\"target\", \"key\", \"files\", \"names\"}: how many were removed\n"
                "or {\"target\", \"exit\", \"error\"}; \"target_hex\" if not UTF-8",
        .examples = "peervault rm old.tar\n"
                    "peervault rm -r photos/2019\n"
                    "peervault ls --json | jq -r 'select(.size == 0).name' |\n"
                    "    peervault rm --files-from -",
        .options = pv_rm_options,
        .words_max = PV_WORDS_ANY,
        .run = pv_cmd_rm,
    },
    {
        .name = "restore",
        .arguments = "KEY|NAME...",
        .help = "bring back what was removed, on all nodes",
        .details =
            "A name: the name, and its file. A key: the file, with the name it was first\n"
            "stored under unless that means another file now. Works until the bytes are\n"
            "collected (gc_grace after `rm`); exits 5 if some are gone. With --key the name\n"
            "gets the meaning it had before, removed or not; 8 digits are enough.",
        .json = "for each {\"key\", \"files\", \"names\", \"name\", \"note\"}: how many came back, "
                "under\n"
                "which name (\"name_hex\" if not UTF-8), and why nothing had to",
        .examples = "peervault restore report.pdf\n"
                    "peervault restore report.pdf --key 9f86d081",
        .options = pv_restore_options,
        .words_min = 1,
        .words_max = PV_WORDS_ANY,
        .run = pv_cmd_restore,
    },
    {
        .name = "set",
        .arguments = "NAME VALUE|-",
        .help = "let a name mean a value, on all nodes",
        .details = pv_set_details,
        .json = pv_set_json,
        .examples = pv_set_examples,
        .options = pv_set_options,
        .words_max = 2,
        .may_be_empty = true,
        .run = pv_cmd_set,
    },
    {
        .name = "value",
        .arguments = "NAME",
        .help = "print the value of a name, byte for byte",
        .json = pv_value_json,
        .examples = pv_value_examples,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_value,
    },
    {
        .name = "unset",
        .arguments = "NAME...",
        .help = "take the values of names away, on all nodes",
        .details = pv_unset_details,
        .json = pv_unset_json,
        .examples = pv_unset_examples,
        .options = pv_unset_options,
        .words_min = 1,
        .words_max = PV_WORDS_ANY,
        .run = pv_cmd_unset,
    },
    {
        .name = "undo",
        .arguments = "NAME",
        .help = "give a name the value it had before",
        .details = pv_undo_details,
        .json = pv_undo_json,
        .examples = pv_undo_examples,
        .options = pv_undo_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_undo,
    },
    {
        .name = "watch",
        .arguments = "[PREFIX]",
        .help = "print changes of names as they arrive",
        .details = pv_watch_details,
        .json = pv_watch_json,
        .examples = pv_watch_examples,
        .words_max = 1,
        .run = pv_cmd_watch,
    },
    {
        .name = "gc",
        .arguments = "",
        .help = "free the space of what no file needs any more",
        .details =
            "The daemon does this by itself every six hours. Deleted are blobs that no file\n"
            "uses, nor one that was removed less than gc_grace ago, and that did not come\n"
            "or get used in the last three days; and, on all nodes at once, the bytes of such\n"
            "files that are small enough to be in their record. With --now removed files can\n"
            "no longer be restored, and a node without other members does not wait those\n"
            "days. Nothing is deleted, and the exit code says so, while files cannot be read\n"
            "or are not whole, or no other member is in sync.",
        .json = "{\"dry_run\", \"garbage_blobs\", \"garbage_bytes\", \"live_blobs\", "
                "\"live_bytes\",\n"
                "\"purged_files\", \"purged_bytes\", \"removed_files\", \"removed_blobs\",\n"
                "\"removed_bytes\", \"leased_blobs\", \"leased_bytes\", \"blocked\"}: purged ones\n"
                "are small and have no blobs; removed ones can be restored; blocked: why\n"
                "nothing would be deleted",
        .examples = "peervault gc --dry-run\n"
                    "peervault gc --now",
        .options = pv_gc_options,
        .run = pv_cmd_gc,
    },
    {
        .name = "status",
        .arguments = "",
        .help = "the node and its peers on one screen",
        .details = pv_status_details,
        .json = pv_status_json,
        .examples = pv_status_examples,
        .options = pv_status_options,
        .run = pv_cmd_status,
    },
    {
        .name = "peers",
        .arguments = "",
        .help = "the other nodes, and how they are reached",
        .details = pv_peers_details,
        .json = pv_peers_json,
        .run = pv_cmd_peers,
    },
    {
        .name = "peers allow",
        .arguments = "NODE",
        .help = "let a node into the cluster, or back into it",
        .details = pv_peers_allow_details,
        .json = "{\"node\", \"result\": \"member\" | \"expected\"}",
        .examples = "peervault peers allow 5kq2-... --zone attic",
        .options = pv_allow_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_peers_allow,
    },
    {
        .name = "peers block",
        .arguments = "NODE",
        .help = "have nothing to do with a node, on this node only",
        .details = "Ends its connections at once, whatever the other members think of it, until\n"
                   "`peers allow`, or for --ttl. It is told that it is no member here; the reason\n"
                   "stays here.",
        .json = "{\"node\", \"result\": \"blocked\"}",
        .examples = "peervault peers block 5kq2 --ttl 7d --reason 'fills the disk'",
        .options = pv_block_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_peers_block,
    },
    {
        .name = "peers drain",
        .arguments = "NODE",
        .help = "let the other members take over what a node keeps",
        .details = pv_peers_drain_details,
        .json = "{\"node\", \"result\": \"draining\"}",
        .examples = "peervault peers drain 5kq2",
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_peers_drain,
    },
    {
        .name = "peers forget",
        .arguments = "NODE",
        .help = "expel a node from the cluster, on all nodes",
        .details =
            "For a machine that is lost or given away. All members end their connections\n"
            "with it. What it wrote stays. What it knows, it knows: it has the token and, if\n"
            "keyed, the cluster key. `token rotate` locks it out of the network.",
        .json = "{\"node\", \"result\": \"expelled\" | \"forgotten\"}; forgotten: it was no\n"
                "member, only allowed or blocked here",
        .examples = "peervault peers forget 5kq2",
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_peers_forget,
    },
    {
        .name = "invite",
        .arguments = "",
        .help = "print a code that lets one machine join",
        .details = pv_invite_details,
        .json = "{\"code\", \"role\", \"expires_ms\"}",
        .examples = pv_invite_examples,
        .options = pv_invite_options,
        .run = pv_cmd_invite,
    },
    {
        .name = "invite confirm",
        .arguments = "NUMBER",
        .help = "let in the machine whose `join` shows this number",
        .details = pv_invite_confirm_details,
        .json = "{\"node\", \"address\"}",
        .examples = "peervault invite confirm 271828",
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_invite_confirm,
    },
    {
        .name = "join",
        .arguments = "CODE",
        .help = "make a vault of this machine that belongs to a cluster",
        .details = pv_join_details,
        .json = "{\"vault\", \"node\", \"role\", \"inviter\", \"peers\"}",
        .examples = "peervault join pvj1-...@192.0.2.7:3000 --listen 0.0.0.0:3000",
        .options = pv_join_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_join,
    },
    {
        .name = "ping",
        .arguments = "NODE",
        .help = "measure the way to a node",
        .details = "NODE is a node id or an unambiguous beginning of one.",
        .json = "{\"sent\", \"received\", \"rtt_ms\": [...]}",
        .examples = "peervault ping 5kq2 -c 10",
        .options = pv_ping_options,
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_ping,
    },
    {
        .name = "verify",
        .arguments = "",
        .help = "check what is stored here, and repair it",
        .details =
            "The structure: every record, every tree, and that each blob is there with its\n"
            "length. --deep: and the SHA-256 of every byte, every page of vault.db, and its\n"
            "backups. The last line says which of the two it was. A daemon reads all\n"
            "blobs by itself, too, see scrub in README.\n"
            "--repair: what is bad goes to the folder quarantine/ of the vault, and a copy is\n"
            "fetched from another node; a backup is written anew. What is damaged in\n"
            "vault.db itself is for `doctor --rebuild`. Damage that stays exits 4.",
        .json = "for each problem {\"event\": \"problem\", \"what\": \"blob\" | \"record\" |\n"
                "\"counts\" | \"vault.db\" | \"records.bak\" | \"small.bak\", \"blob\",\n"
                "\"record\", \"cause\",\n"
                "\"result\": \"repaired\" | \"lost\" | \"unreadable\" | \"failed\"}, for each\n"
                "file with blobs that are bad or missing {\"event\": \"file\", \"key\",\n"
                "\"names\", \"bad_blobs\"}, and at the end\n"
                "{\"depth\": \"structure\" | \"every byte\",\n"
                "\"clean\", \"blobs\", \"bytes\", \"records\", \"files\", \"unreadable_records\",\n"
                "\"bad_records\", \"bad_blobs\", \"repaired\", \"damaged\", \"affected_files\",\n"
                "\"consistent\", \"bad_pages\", \"bad_backup\"}",
        .examples = "peervault verify\n"
                    "peervault verify --deep --repair",
        .options = pv_verify_options,
        .run = pv_cmd_verify,
    },
    {
        .name = "doctor",
        .arguments = "",
        .help = "say what is wrong with the node, and what to do",
        .details =
            "Exits as `status` does; what only is to be looked at changes nothing of that.\n"
            "--rebuild: vault.db is put aside and made anew from what can be read of it,\n"
            "from records.bak and small.bak, and from the blob files, which are all read.\n"
            "What was put aside ends in the folder quarantine/ of the vault. Exits 4 when\n"
            "something could not be read; what other nodes have comes back when the daemon\n"
            "runs.\n"
            "--limits: how much of each thing this program allows, and what happens to more.\n"
            "It needs no vault. What a setting or the system changes has its default there.",
        .json = "{\"problems\": [{\"exit\", \"text\"}], \"look\": [...]}; with --rebuild\n"
                "{\"files\", \"names\", \"records\", \"blobs\", \"blob_bytes\", \"gaps\", "
                "\"bad_files\",\n"
                "\"refused\"}; with --limits {\"limits\": [{\"name\", \"value\", \"unit\", "
                "\"at_limit\"}]}",
        .examples = "peervault doctor\n"
                    "peervault doctor --rebuild\n"
                    "peervault doctor --limits",
        .options = pv_doctor_options,
        .run = pv_cmd_doctor,
    },
    {
        .name = "id",
        .arguments = "",
        .help = "this node's id",
        .json = "{\"node\", \"node_hex\"}",
        .run = pv_cmd_id,
    },
    {
        .name = "key export",
        .arguments = "",
        .help = "print the secrets as environment lines",
        .details = pv_key_export_details,
        .json = "{\"cluster_key\", \"auth_token\"}; no cluster key on a blind node",
        .examples = pv_key_export_examples,
        .options = pv_key_export_options,
        .run = pv_cmd_key_export,
    },
    {
        .name = "key import",
        .arguments = "- | @FILE",
        .help = "create a vault with the secrets of another node",
        .details = pv_key_import_details,
        .json = "{\"vault\", \"created\"}",
        .examples = "peervault --vault /srv/pv key import @secrets",
        .words_min = 1,
        .words_max = 1,
        .run = pv_cmd_key_import,
    },
    {
        .name = "key list",
        .arguments = "",
        .help = "the cluster keys, and how much is sealed under each",
        .details = pv_key_list_details,
        .json = pv_key_list_json,
        .run = pv_cmd_key_list,
    },
    {
        .name = "key rotate",
        .arguments = "",
        .help = "replace the cluster key, on all nodes",
        .details = pv_key_rotate_details,
        .json =
            "{\"phase\", \"have\", \"of\", \"moved\", \"left\"}: members with the key, and records",
        .options = pv_key_rotate_options,
        .run = pv_cmd_key_rotate,
    },
    {
        .name = "token rotate",
        .arguments = "",
        .help = "replace the token, on all nodes",
        .details = pv_token_rotate_details,
        .json = pv_token_rotate_json,
        .examples = "peervault peers forget 5kq2; peervault token rotate",
        .options = pv_rotate_options,
        .run = pv_cmd_token_rotate,
    },
    {
        .name = "token new",
        .arguments = "",
        .help = "print a fresh token",
        .json = "{\"token\"}",
        .examples = "export PEERVAULT_AUTH_TOKEN=$(peervault token new)",
        .vaultless = true,
        .run = pv_cmd_token_new,
    },
    {
        .name = "config show",
        .arguments = "",
        .help = "print all settings, and where each comes from",
        .json = "for each {\"key\", \"value\", \"origin\", \"values\", \"help\"}",
        .details = "Takes the daemon's options too. A flag wins over the environment, that over\n"
                   "peervault.conf in the vault, that over the default. Secrets are masked.",
        .examples = "peervault config show --listen 0.0.0.0:3000",
        .options = pv_daemon_options,
        .run = pv_cmd_config_show,
    },
    {
        .name = "config check",
        .arguments = "",
        .help = "check settings and secrets; exits 2 at a fault",
        .options = pv_daemon_options,
        .run = pv_cmd_config_check,
    },
    {
        .name = "install-service",
        .arguments = "",
        .help = "start a daemon on this vault at login",
        .details = "Writes a systemd unit of yours, ~/.config/systemd/user/peervault.service,\n"
                   "enables and starts it; its settings are those of the vault's peervault.conf.\n"
                   "Where no manager of your units is reachable, says what to call. Called again,\n"
                   "it brings the unit up to date. For the whole machine there is the unit of the\n"
                   "installation instead: `systemctl enable --now peervault`.",
        .json = "{\"unit\", \"state\"}: state is running or written",
        .examples = "peervault install-service\n"
                    "peervault --vault ~/cluster install-service",
        .run = pv_cmd_install_service,
    },
    {
        .name = "uninstall-service",
        .arguments = "",
        .help = "stop that daemon, and start it no more",
        .details = "Disables, stops and removes the unit. The vault stays as it is.",
        .json = "{\"unit\", \"state\"}: state is absent",
        .examples = "peervault uninstall-service",
        .run = pv_cmd_uninstall_service,
    },
    {
        .name = "demo",
        .arguments = "",
        .help = "run a cluster here, lose a node, compare every byte",
        .details = "Real daemons on 127.0.0.1 with vaults in a temporary folder that is removed.\n"
                   "Exits 0 only if every byte that came back was right.",
        .json = "for each node {\"node\", \"role\", \"blobs\", \"bytes\", \"ms\"}",
        .options = pv_demo_options,
        .vaultless = true,
        .run = pv_cmd_demo,
    },
    {
        .name = "shell",
        .arguments = "",
        .help = "commands line by line, over one connection",
        .details = pv_shell_details,
        .examples = pv_shell_examples,
        .run = pv_cmd_shell,
    },
    {
        .name = "version",
        .arguments = "",
        .help = "print the version",
        .json = "{\"version\"}",
        .vaultless = true,
        .run = pv_cmd_version,
    },
    {
        .name = "help",
        .arguments = "[COMMAND]",
        .help = "print this, or all about one command",
        .json = "for each command {\"name\", \"arguments\", \"help\", \"options\"}",
        .words_max = 2,
        .vaultless = true,
        .run = pv_cmd_help,
    },
    {.name = NULL},
};
