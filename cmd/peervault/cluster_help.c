#include "cmd/peervault/cluster_help.h"

const char pv_where_details[] =
    "For each member how many of the file's blobs belong there, how many of them it\n"
    "has acknowledged, and when it was last asked for every blob that it should\n"
    "have. Of blobs that are not here this node knows only where they belong.";
const char pv_where_json[] =
    "{\"key\", \"size\", \"inline\", \"blobs\", \"elsewhere_blobs\", \"want\",\n"
    "\"members\": [{\"node\", \"state\", \"role\", \"belongs\", \"has\",\n"
    "\"audited_ms\"}]}; before it, with --blobs, for each {\"blob\", \"kind\",\n"
    "\"here\", \"belongs\", \"has\"}";
const char pv_where_examples[] = "peervault where report.pdf\n"
                                 "peervault where report.pdf --blobs";

const char pv_status_details[] =
    "Exits 5 when no daemon runs; the vault's numbers are printed all the same.\n"
    "With -q only the exit code: 0 means that the daemon answers, that its vault\n"
    "can be written, and that it found nothing wrong. `peers` explains the table.";
const char pv_status_json[] =
    "{\"node\", \"version\", \"daemon\", \"pid\", \"uptime_s\", \"listen\", \"vault\", "
    "\"role\",\n"
    "\"blobs\", \"blob_bytes\", \"files\", \"names\", \"records\", \"pending\",\n"
    "\"under_replicated\", \"undelivered\", \"extra_blobs\", \"extra_bytes\",\n"
    "\"placed\", \"drained\", \"disk_free_bytes\", \"disk_limit\", \"bandwidth\",\n"
    "\"confined\", \"said_twice_by\",\n"
    "\"unknown_files\", \"bad_blobs\", \"quarantined\", \"oldest_unverified_ms\",\n"
    "\"members\", \"connected\", \"in_sync\", \"mem_used_bytes\", \"mem_limit_bytes\",\n"
    "\"healthy\", \"problems\": [{\"exit\", \"text\"}], \"peers\": [...]}; peers are "
    "those\n"
    "of `peers --json`; with --watch one object every two seconds";
const char pv_status_examples[] = "peervault status\n"
                                  "peervault status --watch\n"
                                  "peervault status --json | jq .listen";

const char pv_peers_details[] =
    "Columns: the beginning of the node id; address; outbound (we dialled) or\n"
    "inbound where it is connected, else why not, blocked and allowed being what\n"
    "was decided here; role; since when; round trip;\n"
    "how far its clock is ahead of ours; bytes from it, and a second; bytes to it,\n"
    "and a second; whether its records are the same as ours; the last error.\n"
    "A banned node broke the protocol three times; a restart forgives it.";
const char pv_peers_json[] =
    "for each {\"node\", \"address\", \"state\", \"role\", \"dialled\", \"rtt_ms\", "
    "\"skew_ms\",\n"
    "\"connected_s\", \"in_sync\", \"offered\", \"wanted\", \"in_bytes\", "
    "\"in_rate\",\n"
    "\"out_bytes\", \"out_rate\", \"last_error\", \"draining\"}; of blocked\n"
    "and allowed ones \"until_ms\", \"reason\"; of banned ones \"banned_s\",\n"
    "\"reason\"";

const char pv_peers_allow_details[] =
    "NODE is the id that `peervault id` prints there; the beginning of it is enough\n"
    "where it is known. A node that is a member, or was, is one at once, everywhere;\n"
    "any other becomes one when it connects here. Lifts a block of this node's.\n"
    "Needed with `membership = allowlist`, unless it comes by `invite`. --ttl: how\n"
    "long it has to come.";

const char pv_peers_drain_details[] =
    "Before a machine goes for good: it stays a member and can be used, but nothing\n"
    "is kept there any more, and what only it keeps is copied to the others. When\n"
    "`status` says there that it may go, `peers forget` it. `peers allow` gives it\n"
    "a share again. NODE may be the node itself.";
