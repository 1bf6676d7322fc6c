/*
 * seeds FOLDER: writes the first inputs of each target, from our own encoders and the test vectors,
 * as FOLDER/TARGET/NAME. The same every time. Run in the repository's root.
 */
#include "crypto/invite.h"
#include "internal/node/policy.h"
#include "storage/backup_scan.h"
#include "tests/fuzz/node.h"
#include "tests/support/vectors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#define VECTORS "tests/vectors/peervault/"

static const char *out;
static uint8_t bytes[1 << 20];
static struct pv_wr w;

static void begin(void)
{
    w = pv_wr_of(bytes, sizeof bytes);
}

static void save(const char *target, const char *name, ...)
{
    char path[512];
    va_list args;
    int at = snprintf(path, sizeof path, "%s/%s", out, target);
    cr_assert(mkdir(path, 0777) == 0 || errno == EEXIST);
    path[at++] = '/';
    va_start(args, name);
    vsnprintf(path + at, sizeof path - (size_t)at, name, args);
    va_end(args);
    FILE *f = fopen(path, "wb");
    cr_assert(f != NULL && fwrite(bytes, 1, pv_wr_len(&w), f) == pv_wr_len(&w));
    cr_assert(fclose(f) == 0 && pv_wr_end(&w) == PV_OK);
}

static void save_text(const char *target, const char *name, const char *text)
{
    begin();
    pv_wr_bytes(&w, text, strlen(text));
    save(target, "%s", name);
}

/* ---- the network ---- */

/* All that s says, behind what it said before. */
static void take(struct pv_session *s, struct pv_wr *said)
{
    struct pv_session_effect e;
    while (pv_session_next(s, &e)) {
        if (e.type != PV_SESSION_SEND)
            continue;
        pv_wr_bytes(said, e.bytes, e.len);
        pv_session_sent(s, e.len);
    }
}

static void frames(void)
{
    static struct node nodes[2];
    static uint8_t answers[4096];
    struct pv_session *s[2];
    size_t heard[2] = {0}, used;
    for (unsigned i = 0; i < 2; i++) {
        pvf_node_begin(&nodes[i], (uint8_t)(i + 1));
        cr_assert_eq(pv_session_new(&s[i], &nodes[i].ctx, i == 0, 0, NULL, "10.0.0.1:1"), PV_OK);
    }
    begin();
    struct pv_wr other = pv_wr_of(answers, sizeof answers);
    struct pv_wr *said[2] = {&w, &other};
    for (unsigned turn = 0; turn < 20; turn++) {
        unsigned from = turn & 1, to = 1 - from;
        take(s[from], said[from]);
        pv_session_feed(s[to], said[from]->start + heard[to], pv_wr_len(said[from]) - heard[to],
                        &used);
        heard[to] += used;
        take(s[to], said[to]);
        if (turn == 0)
            save("frame", "m1");
    }
    cr_assert(pv_session_up(s[1]));
    save("frame", "up");
    for (unsigned i = 0; i < 2; i++) {
        pv_session_free(s[i]);
        pvf_node_end(&nodes[i]);
    }
    begin();
    pv_wr_bytes(&w, "\x01\x00\x00\x00\x60PVH1\x01\x01\x00\x00", 13);
    pv_wr_zero(&w, 88);
    save("frame", "no-gate");
    begin();
    pv_wr_bytes(&w, "\x01\xff\xff\xff\xff", 5);
    save("frame", "longest");
    save_text("frame", "http", "GET / HTTP/1.1\r\n\r\n");
    begin();
    pv_wr_bytes(&w, "\10\377\377", 3); /* no handshake within its time */
    save("session", "late");
    begin();
    pv_wr_bytes(&w, "\11\377\377\0\377\377\1\377\377\0\377\377", 12); /* clocks differ */
    save("session", "clocks");
}

static void events(void)
{
    static const uint8_t up[] = {0, 0xff, 0xff, 1, 0xff, 0xff, 0, 0xff, 0xff, 1, 0xff, 0xff};
    static const struct {
        const char *target, *name, *bytes;
        size_t len;
    } seeds[] = {
        {"handshake", "plain", "\0\0\1\0", 4},
        {"handshake", "gated", "\2\10\11\10", 4},
        {"handshake", "guest", "\1\0\1\0", 4},
        {"handshake", "expects-other", "\4\0\1\0", 4},
        {"handshake", "same", "\10\0\1\0", 4},
        {"handshake", "expired", "\20\0\1\0", 4},
        {"handshake", "forged", "\40\0\1\0", 4},
        {"handshake", "changed-m1", "\0\12\0\24\1\1\0", 7},
        {"handshake", "changed-m2", "\0\0\13\0\60\1\0", 7},
        {"handshake", "changed-m3", "\0\0\1\12\0\60\1", 7},
        {"handshake", "changed-magic", "\0\12\0\1\1", 5},
        {"handshake", "changed-suite", "\0\12\0\5\1", 5},
        {"handshake", "false-gate", "\0\2\0\24\1", 5},
        {"handshake", "late-m1", "\0\20\1", 3},
        {"handshake", "late-m2", "\0\0\21", 3},
        {"handshake", "late-m3", "\0\0\1\20", 4},
        {"handshake", "twice", "\0\0\0\1\0", 5},
        {"handshake", "renewed", "\100\0\1\0", 4},
        {"channel", "frames", "\0\5\1\0\0\377\1\10\0\1\0\2\0\3\1\4\0\5", 18},
        {"channel", "changed", "\0\5\2\5\0\7\1\0\5", 9},
        {"channel", "lost", "\0\5\4\5\0\5", 6},
        {"channel", "twice", "\0\5\6\5\0\5", 6},
        {"session", "message", "\2\0\100\0\377\377", 6},
        {"session", "data", "\4\7\320\5\0\1\0\377\377\1\377\377", 12},
        {"session", "pings", "\6\0\7\0\0\377\377\1\377\377\6\0", 12},
        {"session", "hello-again", "\6\2\1\1\0\377\377", 7},
        {"session", "bad-ping", "\6\1\2\0\377\377", 6},
        {"session", "bad-pong", "\6\21\3\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\377\377", 22},
        {"session", "bad-goodbye", "\6\12\24\1\0\0\0\0\0\0\0\77\0\377\377", 15},
        {"session", "short-goodbye", "\6\1\24\0\377\377", 6},
        {"session", "unknown", "\6\1\143\0\377\377", 6},
        {"session", "idle", "\10\7\123\0\377\377\1\377\377\10\77\377", 12},
        {"session", "old", "\10\377\377\10\377\377\0\377\377\1\377\377", 12},
        {"session", "close", "\12\1\0\377\377", 5},
        {"session", "given-up", "\2\0\2\12\377\2\0\2", 8},
        {"session", "renewed", "\17\0\31\377\376\31\377\376\31\377\376\31\377\376", 14},
        {"session", "eof", "\2\0\2\14", 4},
        {"session", "changed", "\2\0\2\16\1\0\377\377", 8},
        {"session", "deaf", "\2\0\2\17\0\10\7\320\0\377\377", 11},
        {"session", "skew", "\11\77\1\6\0\0\377\377\1\377\377\0\377\377", 14},
        {"vault", "clean", "\0", 1},
        {"vault", "killed", "\1", 1},
        {"vault", "header", "\0\0\0\22\1\0\0\34\0", 9},
        {"vault", "pages", "\0\2\0\5\0\3\0\10\377\4\0\0\15\5\17\200\77", 17},
        {"vault", "log", "\1\200\0\5\0\201\0\10\377\202\0\0\15\203\17\200\77", 17},
        {"merge", "equal", "\0\0\0\0\0\0\0\0\0\1\0\0\1\0\1\0\0\0\0\0\0\0\1\0\0\1", 26},
        {"merge", "members", "\2\0\0\0\0\0\0\0\0\2\1\0\1\2\0\0\0\0\0\0\0\0\3\1\1\2", 26},
        {"merge", "future", "\1\0\377\377\377\377\377\377\377\376\0\0\1\2\0\0\0\0\0\0\0\0\3\2\1\2",
         26},
    };
    for (size_t i = 0; i < PV_COUNT(seeds); i++) {
        begin();
        if (strcmp(seeds[i].target, "session") == 0)
            pv_wr_bytes(&w, up, sizeof up);
        pv_wr_bytes(&w, seeds[i].bytes, seeds[i].len);
        save(seeds[i].target, "%s", seeds[i].name);
    }
}

/* Each as it is, and as what a member says to a node (digest.c). */
static void save_message(const char *name)
{
    uint8_t copy[4096];
    size_t len = pv_wr_len(&w);
    save("message", "%s", name);
    cr_assert(len <= sizeof copy);
    memcpy(copy, bytes, len);
    begin();
    for (unsigned i = 0; i < 2; i++) {
        pv_wr_u16(&w, (uint16_t)len);
        pv_wr_bytes(&w, copy, len);
    }
    save("digest", "%s", name);
    begin();
}

static void some_messages(void)
{
    static struct pv_id ids[3] = {{{1}}, {{2}}, {{3}}};
    static struct pv_bucket buckets[2] = {{1, {9}}, {2, {8}}};
    struct pv_msg_hello hello = {.version = 1, .role = 1, .proof_count = 1};
    struct pv_msg_ping ping = {.cookie = 5, .wall_ms = 6};
    struct pv_offer offers[2] = {{ids[0], 1, 304}, {ids[1], 0, 70000}};
    struct pv_want wants[2] = {{ids[0], 0, 7}, {ids[1], 65536, 8}};
    static const uint8_t id_types[] = {PV_MSG_GET, PV_MSG_FOUND, PV_MSG_NOT_FOUND, PV_MSG_FULL,
                                       PV_MSG_LOST};
    begin();
    pv_msg_put_hello(&w, &hello);
    save_message("hello");
    pv_msg_put_ping(&w, PV_MSG_PING, &ping);
    save_message("ping");
    pv_msg_put_store(&w, offers, 2);
    save_message("store");
    pv_msg_put_wants(&w, PV_MSG_WANT, wants, 2);
    save_message("want");
    pv_msg_put_wants(&w, PV_MSG_FETCH, wants, 2);
    save_message("fetch");
    for (uint8_t what = PV_STORED_BLOBS; what <= PV_STORED_RECORDS; what++) {
        pv_msg_put_stored(&w, what, ids, 3);
        save_message(what == PV_STORED_BLOBS ? "stored" : "stored-records");
    }
    for (size_t i = 0; i < PV_COUNT(id_types); i++) {
        bool numbered = id_types[i] != PV_MSG_FULL && id_types[i] != PV_MSG_LOST;
        pv_msg_put_ids(&w, id_types[i], numbered ? 1 : 0, ids, 3);
        save_message(pv_msg_name(id_types[i]));
    }
    pv_msg_put_cancel(&w, 7);
    save_message("cancel");
    pv_msg_put_digest_root(&w, ids[0].b);
    save_message("root");
    pv_msg_put_digest_buckets(&w, 0, buckets, 2);
    save_message("buckets");
    pv_msg_put_digest_hashes(&w, 9, true, ids, 3);
    save_message("hashes");
    pv_msg_put_error(&w, 3, "text");
    save_message("error");
    pv_msg_put_goodbye(&w, PV_BYE_SHUTDOWN, 4);
    save_message("goodbye");
}

static void messages_with_secrets(void)
{
    static struct pv_keyring k;
    static const char *const addresses[] = {"127.0.0.1:3000", "[::1]:3000"};
    uint8_t key[PV_KEY_LEN] = {1, 2};
    struct pv_msg_token token = {.created_s = 5, .overlap_until_s = 6, .text = "a pass phrase"};
    cr_assert_eq(pv_keyring_add_token(&k, token.text, 5), PV_OK);
    cr_assert_eq(pv_keyring_add_cluster_key(&k, key, 5), PV_OK);
    pv_msg_put_join_request(&w, "laptop");
    save_message("join");
    pv_msg_put_join_confirm(&w);
    save_message("join-confirm");
    pv_msg_put_join_grant(&w, PV_ROLE_KEYED, &k, addresses, 2);
    save_message("grant");
    pv_msg_put_join_grant(&w, PV_ROLE_BLIND, &k, addresses, 1);
    save_message("grant-blind");
    pv_msg_put_token(&w, &token);
    save_message("token");
}

/* ---- what lies on disks ---- */

static void records(void)
{
    json_t *file = pvt_json_load(VECTORS "records.json"), *item;
    size_t i;
    json_array_foreach(json_object_get(file, "records"), i, item)
    {
        struct pvt_bytes env = pvt_json_hex(item, "envelope");
        begin();
        pv_wr_u8(&w, i & 1);
        pv_wr_bytes(&w, env.p, env.len);
        save("record", "envelope-%zu", i);
        save("backup", "record-%zu", i); /* the first byte chooses there, too */
        begin();
        pv_msg_begin_records(&w);
        pv_msg_add_record(&w, env.p, env.len);
        save_message(i == 0 ? "record" : i == 1 ? "record-other" : "record-last");
        pvt_bytes_release(&env);
    }
    json_decref(file);
    file = pvt_json_load(VECTORS "bodies.json");
    const char *name;
    json_object_foreach(file, name, item)
    {
        struct pvt_bytes body = pvt_json_hex(file, name);
        begin();
        pv_wr_u8(&w, 0);
        pv_wr_bytes(&w, body.p, body.len);
        save("record", "body-%s", name);
        pvt_bytes_release(&body);
    }
    json_decref(file);
}

static void blobs(void)
{
    json_t *file = pvt_json_load(VECTORS "blobs.json"), *item;
    size_t i, payload_len;
    const uint8_t *payload;
    json_array_foreach(json_object_get(file, "blobs"), i, item)
    {
        if (json_object_get(item, "blob") == NULL)
            continue;
        struct pvt_bytes blob = pvt_json_hex(item, "blob"), dk = pvt_json_hex(item, "dk");
        enum pv_blob_kind kind = (enum pv_blob_kind)pvt_json_number(item, "kind");
        begin();
        pv_wr_u8(&w, 0);
        pv_wr_bytes(&w, blob.p, blob.len);
        save("blob", "whole-%zu", i);
        begin();
        pv_wr_u8(&w, 1);
        pv_sha256(pv_wr_room(&w, PV_ID_LEN), blob.p, blob.len);
        pv_wr_bytes(&w, blob.p, blob.len);
        save("backup", "blob-%zu", i);
        cr_assert_eq(pv_blob_open(blob.p, blob.len, dk.p, kind, &payload, &payload_len), PV_OK);
        begin();
        pv_wr_u8(&w, kind == PV_BLOB_NODE ? 3 : 1);
        pv_wr_bytes(&w, blob.p, blob.len - PV_TAG_LEN);
        save("blob", "plain-%zu", i);
        pvt_bytes_release(&blob);
        pvt_bytes_release(&dk);
    }
    json_decref(file);
}

static void secret_files(void)
{
    json_t *file = pvt_json_load(VECTORS "keyring.json");
    char text[2048];
    (void)snprintf(text, sizeof text, "%s", pvt_json_text(file, "text"));
    save_text("keyring", "whole", text);
    *strstr(text, "sum ") = '\0'; /* the target adds one */
    save_text("keyring", "without-sum", text);
    (void)snprintf(text + strlen(text), 1024,
                   "overlap 1767312009\n"
                   "invite 01020304 000102030405060708090a0b0c0d0e0f keyed 1767312010\n"
                   "invite 01020305 000102030405060708090a0b0c0d0e0f blind 1767312010 %064d\n"
                   "invite 01020306 000102030405060708090a0b0c0d0e0f blind 1767312010 confirm\n",
                   7);
    save_text("keyring", "invites", text);
    save_text("keyring", "blind",
              "peervault-keyring 1\ntoken a pass phrase 1\n"
              "root 0101010101010101010101010101010101010101010101010101010101010101\n");
    json_decref(file);
    file = pvt_json_load(VECTORS "identities.json");
    struct pvt_bytes identity = pvt_json_hex(json_array_get(file, 0), "file");
    begin();
    pv_wr_bytes(&w, identity.p, identity.len);
    save("keyring", "identity");
    pvt_bytes_release(&identity);
    save_text("id", "node", pvt_json_text(json_array_get(file, 0), "text"));
    save_text("id", "hex", pvt_json_text(json_array_get(file, 0), "node_id"));
    json_decref(file);
}

/* ---- what people write ---- */

/* The same, but for one byte, under the right sum. */
static void changed_invite(const char *name, const char *code, size_t at)
{
    enum { BYTES = 46, SUM = 4, PREFIX = 5 };
    uint8_t raw[BYTES], hash[PV_HASH_LEN];
    char text[PV_INVITE_TEXT_LEN + 1];
    cr_assert_eq(pv_base32_decode(raw, BYTES, code + PREFIX, PV_INVITE_TEXT_LEN - PREFIX), PV_OK);
    raw[at] = 9;
    pv_sha256(hash, raw, BYTES - SUM);
    memcpy(raw + BYTES - SUM, hash, SUM);
    memcpy(text, code, PREFIX);
    pv_base32_encode(text + PREFIX, sizeof text - PREFIX, raw, BYTES);
    save_text("text", name, text);
}

static void texts(void)
{
    static const char *const some[] = {"127.0.0.1:3000",
                                       "[fe80::1%eth0]:80",
                                       "nas.local:65535",
                                       "[::1]:0",
                                       "12h",
                                       "500ms",
                                       "64MiB",
                                       "3T",
                                       "a pass phrase"};
    struct pv_invite invite = {.role = PV_ROLE_KEYED, .expires_s = 1767312000, .id = {9}};
    static struct pv_policy policy;
    struct pv_policy_entry entry = {.kind = PV_POLICY_ALLOW,
                                    .role = PV_ROLE_KEYED,
                                    .weight = 2,
                                    .since_s = 1,
                                    .until_s = 9,
                                    .zone = "z",
                                    .reason = "why"};
    char code[PV_INVITE_TEXT_LEN + 1];
    struct pv_buf table;
    for (size_t i = 0; i < PV_COUNT(some); i++) {
        begin();
        pv_wr_bytes(&w, some[i], strlen(some[i]));
        save("text", "some-%zu", i);
    }
    pv_invite_format(code, &invite);
    save_text("text", "invite", code);
    changed_invite("invite-of-later", code, 0);
    changed_invite("invite-role", code, 1);
    json_t *tokens = pvt_json_load(VECTORS "tokens.json");
    save_text("text", "token", pvt_json_text(json_array_get(tokens, 0), "token"));
    json_decref(tokens);
    pv_buf_init(&table, 4096);
    cr_assert_eq(pv_policy_put(&policy, &entry, 2), PV_OK);
    cr_assert_eq(pv_policy_encode(&table, &policy), PV_OK);
    begin();
    pv_wr_bytes(&w, table.data, table.len);
    save("text", "policy");
    pv_buf_release(&table);
    save_text("config", "all",
              "# a comment\nlisten = [::1]:0\npeers = a:1, b:2\n  c:3\nadvertise = none\n"
              "replicas = 2\nrole = blind\nmembership = allowlist\nrepair_after = 90s\n"
              "max_skew = 1h\ngc_grace = 0s\nmem_limit = 128MiB\ndisk_limit = 1T\n"
              "limit_up = 64KiB\nlimit_lan = on\nconvergence = epoch\nscrub = off\n"
              "confine = on\nlog_level = debug\nlog_format = json\n");
    save_text("config", "repeated", "replicas = 2\nreplicas = 3\n");
    save_text("config", "section", "[a]\nreplicas = 2\n");
    save_text("config", "unknown", "colour = red");
}

/* The first byte chooses, in both. */
static void arguments(void)
{
    char text[256];
    save_text("args", "forms", " -q\n--vault=d\n-oout\n--peer\na\n-p\nb\n-\nword\n--\n--word");
    save_text("args", "stop", "!--json\nstore\n--peer");
    save_text("args", "twice", " --output=a\n-qob");
    save_text("args", "numbers", " 5-10\n0-\n1000\n7\n2-1");
    json_t *tokens = pvt_json_load(VECTORS "tokens.json");
    const char *token = pvt_json_text(json_array_get(tokens, 0), "token");
    (void)snprintf(text, sizeof text, " %063d7\1%s", 0, token);
    save_text("secrets", "variables", text);
    text[0] = '#';
    save_text("secrets", "files", text);
    (void)snprintf(text, sizeof text, "#\n %063d7\r\n\1%063d7 \n", 0, 0);
    save_text("secrets", "equal", text);
    save_text("secrets", "phrase", "\"\1a pass phrase\n");
    save_text("secrets", "lines", "#one\ntwo\1\n");
    json_decref(tokens);
}

static void control(void)
{
    static const char *const requests[] = {
        "\"op\":\"ls\",\"limit\":3",
        "\"op\":\"get\",\"target\":\"a\",\"range\":[0,1]",
        "\"op\":\"stat\",\"target\":\"0000000000000000\"",
        "\"op\":\"rm\",\"target\":\"a\"",
        "\"op\":\"restore\",\"target\":\"a\"",
        "\"op\":\"history\",\"name\":\"a\"",
        "\"op\":\"gc\",\"dry_run\":true",
        "\"op\":\"status\",\"copies\":true",
        "\"op\":\"peers\"",
        "\"op\":\"verify\",\"deep\":true,\"repair\":true",
        "\"op\":\"allow\",\"node\":\"aaaa\",\"weight\":2,\"zone\":\"z\"",
        "\"op\":\"block\",\"node\":\"aaaa\",\"ttl_s\":60,\"reason\":\"r\"",
        "\"op\":\"forget\",\"node\":\"aaaa\"",
        "\"op\":\"invite\",\"role\":\"blind\",\"ttl_s\":60,\"address\":\"a:1\"",
        "\"op\":\"token_rotate\",\"overlap_s\":60",
        "\"op\":\"ping\",\"node\":\"aaaa\",\"count\":1",
        "\"op\":\"value\",\"name\":\"a\"",
        "\"op\":\"unset\",\"name\":\"a\"",
        "\"op\":\"undo\",\"name\":\"a\",\"version\":\"00000000\"",
        "\"op\":\"watch\",\"prefix\":\"a\"",
        "\"op\":\"ls\",\"values\":true",
        "\"op\":\"set\",\"name\":\"a\",\"if_absent\":true",
        "\"op\":\"store\",\"name\":\"a\",\"size\":5,\"wait\":false",
    };
    char text[256];
    for (size_t i = 0; i < PV_COUNT(requests); i++) {
        int len = snprintf(text, sizeof text, "{\"id\":%zu,%s}", i + 1, requests[i]);
        bool uploads = i + 2 >= PV_COUNT(requests);
        begin();
        pv_frame_header_encode(pv_wr_room(&w, PV_FRAME_HEADER_LEN), PV_FRAME_MESSAGE,
                               (uint32_t)len);
        pv_wr_bytes(&w, text, (size_t)len);
        if (uploads)
            pv_wr_bytes(&w, "\x02\x00\x00\x00\x04\x00six\x02\x00\x00\x00\x03\x01to", 17);
        save("control", "op-%zu", i);
    }
    begin();
    pv_frame_header_encode(pv_wr_room(&w, PV_FRAME_HEADER_LEN), PV_FRAME_MESSAGE, 600);
    memset(pv_wr_room(&w, 600), '[', 600);
    save("control", "deep");
}

int main(int argc, char **argv)
{
    cr_assert(argc == 2);
    out = argv[1];
    cr_assert(mkdir(out, 0777) == 0 || errno == EEXIST);
    LLVMFuzzerInitialize(&argc, &argv);
    frames();
    events();
    some_messages();
    messages_with_secrets();
    records();
    blobs();
    secret_files();
    texts();
    arguments();
    control();
    return 0;
}
