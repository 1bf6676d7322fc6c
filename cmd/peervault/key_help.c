#include "cmd/peervault/key_help.h"

const char pv_key_export_details[] =
    "For another node, or on paper: whoever has the cluster key can read everything,\n"
    "whoever has the token can join. The sheet says where the other nodes are, too,\n"
    "and each step by which one machine gets everything back.";

const char pv_key_export_examples[] = "peervault key export | ssh other peervault key import -\n"
                                      "peervault key export --sheet | lpr";

const char pv_key_import_details[] =
    "Reads the lines that `key export` prints, or a sheet as it was typed or scanned\n"
    "in. A vault that has these secrets already is left as it is; one that has others\n"
    "is refused.";

const char pv_key_list_details[] =
    "Counts the records of this node. A key is active, staged (not used yet),\n"
    "read-only (replaced) or retired (opens nothing any more).";

const char pv_key_list_json[] =
    "{\"key\", \"state\", \"created_ms\", \"dedup\", \"files\", \"names\", "
    "\"tombstones\", ...}";

const char pv_key_rotate_details[] =
    "Members get a new key; when each keyed one has it, it is used; what is under the\n"
    "old one is sealed anew; that one is read with for key_grace (90d), then retires.\n"
    "All files can be read meanwhile; whenever it is cut short it goes on by itself.\n"
    "Who had the old key can still read what it has a copy of.";

const char pv_token_rotate_details[] =
    "After a machine was lost or given away, and `peers forget`. Connected members\n"
    "get the new token at once, others when they come back: until the overlap ends\n"
    "they get in with the older one. --finish ends the overlap on this node now.\n"
    "Where the environment gives the token, change it before the overlap ends.";

const char pv_token_rotate_json[] =
    "{\"tokens\", \"overlap_until_ms\"}: how many open the door now, and until\n"
    "when (0: there is one)";

const char pv_invite_details[] =
    "Run `peervault join CODE` there. The code is good for one machine and for a\n"
    "while; who gets hold of it first joins, so send it as you would a password, or\n"
    "use --confirm: then `join` shows a number there, and waits until it is given\n"
    "to `invite confirm` here. A blind machine, the default, stores what it cannot\n"
    "read and never gets the cluster key.";

const char pv_invite_examples[] = "peervault invite --role keyed\n"
                                  "peervault invite --ttl 10m --address home.example.org:3000";

const char pv_invite_confirm_details[] =
    "For codes made with --confirm. Take the number from the machine itself, or from\n"
    "whom you know to sit there: whoever else uses the code has another number. A\n"
    "machine that is not confirmed in five minutes is sent away.";

const char pv_join_details[] =
    "With the code that `peervault invite` printed on a member. Makes the vault,\n"
    "fetches the token and, unless blind, the cluster keys, and writes the members'\n"
    "addresses to peervault.conf. When it was cut off, the same command goes on.\n"
    "A vault that is there already must belong to the inviter's cluster: it gets the\n"
    "token that is in force now and keeps all else. This is for a machine that was\n"
    "away while the token was replaced; stop its daemon first.";

const char pv_init_details[] =
    "Makes the folder, the node's identity, and a keyring: with the secrets of the\n"
    "environment, else with fresh ones. Also done by the first `store` without a\n"
    "daemon, and by a `daemon` without peers. A blind node comes by `invite` and\n"
    "`join`: one that is made here knows no member to trust, and lets nobody in.";

const char pv_init_examples[] =
    "peervault init\n"
    "PEERVAULT_AUTH_TOKEN_FILE=token PEERVAULT_CLUSTER_KEY_FILE=key peervault init";
