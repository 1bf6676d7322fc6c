#include "tests/unit/internal_client_fixture.h"

#include "internal/file/lookup.h"

TestSuite(lookup, .timeout = 60);

static struct pvt_client *find(struct pvt_server *s, const char *target)
{
    return pvt_ask_target(s, "get", target);
}

static void found(struct pvt_server *s, const char *target, const char *text)
{
    struct pvt_client *c = find(s, target);
    pvt_assert_ok(c);
    cr_assert_eq(c->len, strlen(text), "%s", target);
    cr_assert_arr_eq(c->data, text, c->len);
    pvt_client_free(c);
}

static void not_found(struct pvt_server *s, const char *target)
{
    pvt_refused(find(s, target), PV_EXIT_NOT_FOUND, "not found");
}

static struct pvt_key upper(struct pvt_key key)
{
    for (char *p = key.hex; *p != '\0'; p++)
        if (*p >= 'a' && *p <= 'f')
            *p = (char)(*p - 'a' + 'A');
    return key;
}

Test(lookup, by_key_name_and_prefix)
{
    struct pvt_server *s = pvt_server_new(1);
    char prefix[PV_ID_HEX_LEN + 1];
    struct pvt_key key = pvt_store_text(s, "a name", "some text");
    pvt_store_text(s, "other", "other text");
    found(s, key.hex, "some text");
    found(s, upper(key).hex, "some text");
    found(s, "a name", "some text");
    for (int digits = 1; digits < PV_ID_HEX_LEN; digits++) {
        snprintf(prefix, sizeof prefix, "%.*s", digits, key.hex);
        if (digits >= 8)
            found(s, prefix, "some text");
        else
            not_found(s, prefix);
    }
    snprintf(prefix, sizeof prefix, "%.8s", upper(key).hex);
    found(s, prefix, "some text");
    not_found(s, "a nam");
    not_found(s, "a name ");
    not_found(s, pvt_key_of("nothing", 7).hex);
    key.hex[9] = key.hex[9] == '0' ? '1' : '0'; /* the same first four bytes */
    not_found(s, key.hex);
    key.hex[10] = '\0';
    not_found(s, key.hex);
    pvt_server_free(s);
}

/* An exact name comes before a prefix, a key before a name. */
Test(lookup, what_comes_first)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, NULL, "some text"), prefix = key;
    prefix.hex[12] = '\0';
    pvt_store_text(s, prefix.hex, "named like a prefix");
    found(s, prefix.hex, "named like a prefix");
    pvt_store_text(s, key.hex, "named like a key");
    found(s, key.hex, "some text");
    pvt_server_free(s);
}

Test(lookup, an_ambiguous_prefix_lists_the_candidates)
{
    enum { ALIKE = PV_LOOKUP_CANDIDATES + 4 };
    struct pvt_server *s = pvt_server_new(1);
    struct pv_id id = {{0xab, 0xcd, 0xef, 0x01}};
    char target[9] = "abcdef01";
    pvt_put_inline(pvt_me(s), &id, "x", NULL);
    pvt_refused(find(s, target), PV_EXIT_CORRUPT,
                "SHA-256"); /* found, though its hash is made up */
    for (uint8_t i = 1; i < ALIKE; i++) {
        id.b[31] = i;
        pvt_put_inline(pvt_me(s), &id, "x", NULL);
        struct pvt_client *c = find(s, target);
        const json_t *list = json_object_get(c->final, "candidates");
        cr_assert_eq(json_array_size(list),
                     i + 1u < PV_LOOKUP_CANDIDATES ? i + 1u : PV_LOOKUP_CANDIDATES);
        for (size_t k = 0; k < json_array_size(list); k++)
            cr_assert_eq(strncmp(json_string_value(json_array_get(list, k)), target, 8), 0);
        pvt_refused(c, PV_EXIT_USAGE, "ambiguous");
    }
    pvt_server_free(s);
}

/* Private copies of one content have one key: that is not ambiguous. */
Test(lookup, private_files)
{
    struct pvt_server *s = pvt_server_new(1);
    const char *text = "nobody can guess this";
    struct pvt_key key = pvt_key_of(text, strlen(text));
    char prefix[9];
    snprintf(prefix, sizeof prefix, "%.8s", key.hex);
    for (int i = 0; i < 3; i++) {
        struct pvt_client *c = pvt_begin_store(s, json_pack("{s:b, s:b}", "private", 1, "wait", 0),
                                               text, strlen(text));
        pvt_settle(&s->net);
        pvt_assert_ok(c);
        pvt_client_free(c);
        cr_assert_eq(pvt_counts(pvt_me(s)).files, i + 1);
        found(s, key.hex, text);
        found(s, prefix, text);
    }
    pvt_server_free(s);
}

Test(lookup, names_need_not_be_text)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_client *c =
        pvt_begin_store(s, json_pack("{s:s, s:b}", "name_hex", "ff0a41", "wait", 0), "bytes", 5);
    pvt_settle(&s->net);
    pvt_client_free(c);
    c = pvt_ask(s, json_pack("{s:s, s:s}", "op", "get", "target_hex", "ff0a41"));
    pvt_assert_ok(c);
    cr_assert_str_eq(pvt_text(c->events[0], "name_hex"), "ff0a41");
    pvt_client_free(c);
    pvt_server_free(s);
}

Test(lookup, what_was_removed_is_gone)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "name", "text");
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    not_found(s, "name");
    not_found(s, key.hex);
    key.hex[8] = '\0';
    not_found(s, key.hex);
    pvt_server_free(s);
}

/* Only when everybody agrees with us is it certain that there is none. */
Test(lookup, not_found_for_certain)
{
    struct pvt_server *s = pvt_server_new(3);
    not_found(s, "name");
    pvt_cut(&s->net, 0, 2);
    pvt_settle(&s->net);
    pvt_refused(find(s, "name"), PV_EXIT_UNAVAILABLE, "1 of 3 members");
    pvt_server_free(s);
}

/* ---- cluster keys ---- */

static void add_key(struct pvt_node *n, uint8_t no)
{
    uint8_t key[PV_KEY_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(no + i);
    cr_assert_eq(pv_keyring_add_cluster_key(&n->keyring, key, no), PV_OK);
}

Test(lookup, under_an_older_cluster_key)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_key key = pvt_store_text(s, "name", "before"), prefix = key;
    prefix.hex[8] = '\0';
    add_key(pvt_me(s), 77);
    found(s, key.hex, "before");
    found(s, prefix.hex, "before");
    found(s, "name", "before");
    pvt_store_text(s, "name", "after");
    found(s, "name", "after");
    found(s, key.hex, "before");
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    pvt_assert_ok(c);
    for (size_t i = 0; i < c->event_count; i++)
        if (json_object_get(c->events[i], "name") != NULL)
            cr_assert_str_eq(pvt_text(c->events[i], "key"), pvt_key_of("after", 5).hex);
    pvt_client_free(c);
    pvt_client_free(pvt_ask_target(s, "rm", "name"));
    not_found(s, "name");
    pvt_store_text(s, "name", "after");

    struct pv_kid old = pvt_me(s)->keyring.keys[0].keys.kid;
    if (pvt_me(s)->keyring.keys[0].state == PV_KEY_ACTIVE)
        old = pvt_me(s)->keyring.keys[1].keys.kid;
    cr_assert_eq(pv_keyring_retire(&pvt_me(s)->keyring, &old), PV_OK);
    found(s, "name", "after");
    not_found(s, key.hex);
    pvt_server_free(s);
}

Test(lookup, under_a_cluster_key_that_is_not_here)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_cluster_keys ours = *pv_keyring_active(&pvt_me(s)->keyring), theirs = ours;
    struct pv_file_body body = {.size = 1, .is_inline = true, .data = (const uint8_t *)"x"};
    theirs.kid.b[0] ^= 1; /* the same rids, another name of the key */
    pv_sha256(body.sha256.b, "x", 1);
    pvt_put_file_under(pvt_me(s), &theirs, &body, NULL);
    pvt_refused(find(s, pvt_key_of("x", 1).hex), PV_EXIT_DENIED, "cluster key");
    pvt_server_free(s);
}

/* After a change of the cluster key a file lies under another rid than the one in its name. */
Test(lookup, a_name_with_the_rid_of_an_older_key)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_id rid, old_rid, sha256;
    const struct pv_cluster_keys *old = pv_keyring_active(&n->keyring);
    pv_sha256(sha256.b, "text", 4);
    pv_rid_file(&old_rid, old, &sha256);
    add_key(n, 99);
    pvt_put_inline(n, &sha256, "text", &rid);
    cr_assert_not(pv_id_equal(&rid, &old_rid));
    pvt_put_name_under(n, pv_keyring_active(&n->keyring), "name", &sha256, &old_rid);
    found(s, "name", "text");

    struct pvt_client *c = pvt_ask_target(s, "stat", "name");
    pvt_assert_ok(c);
    cr_assert_eq(json_array_size(json_object_get(c->final, "names")), 1);
    pvt_client_free(c);
    c = pvt_ask(s, json_pack("{s:s}", "op", "ls"));
    cr_assert_eq(c->event_count, 1);
    cr_assert_str_eq(pvt_text(c->events[0], "name"), "name");
    pvt_client_free(c);

    c = pvt_ask_target(s, "rm", "name");
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "files"), 1);
    cr_assert_eq(pvt_number(c->final, "names"), 1);
    pvt_client_free(c);
    not_found(s, pvt_key_of("text", 4).hex);
    pvt_server_free(s);
}

/* A name whose file is gone does not stand for a private copy of it. */
Test(lookup, a_dangling_name_means_no_private_file)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pvt_node *n = pvt_me(s);
    struct pv_id sha256, rid = {{9}};
    struct pv_file_body body = {.size = 4,
                                .is_inline = true,
                                .data = (const uint8_t *)"text",
                                .is_private = true,
                                .private_salt = {5}};
    pv_sha256(sha256.b, "text", 4);
    body.sha256 = sha256;
    pvt_put_file(n, &body, NULL);
    pvt_put_name_under(n, pv_keyring_active(&n->keyring), "name", &sha256, &rid);
    not_found(s, "name");
    found(s, pvt_key_of("text", 4).hex, "text");
    struct pvt_client *c = pvt_ask_target(s, "rm", "name"); /* it can be removed all the same */
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "files"), 0);
    cr_assert_eq(pvt_number(c->final, "names"), 1);
    pvt_client_free(c);
    found(s, pvt_key_of("text", 4).hex, "text");
    pvt_server_free(s);
}

/* One record that cannot be read does not hide another with the same first digits. */
Test(lookup, a_corrupt_record_with_the_same_prefix)
{
    struct pvt_server *s = pvt_server_new(1);
    struct pv_id other;
    struct pvt_key key = pvt_store_text(s, NULL, "good text");
    uint8_t *env = calloc(1, PV_RECORD_LEN_MAX), salt[32] = {3}, plain[600];
    memset(plain, 0xff, sizeof plain);
    cr_assert_eq(pv_id_parse(&other, key.hex), PV_OK);
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .rid = {{0}},
                                    .hlc = pvt_hlc(pvt_me(s)),
                                    .epoch = pv_epoch_of(pvt_me(s)->env.wall_ms),
                                    .body = plain,
                                    .body_len = sizeof plain};
    struct pv_commit_op op = {.type = PV_COMMIT_RECORD};
    const struct pv_cluster_keys *keys = pv_keyring_active(&pvt_me(s)->keyring);
    cr_assert_eq(
        pv_record_seal(env, &op.u.record.len, &draft, keys, pvt_me(s)->identity.seed, salt), PV_OK);
    op.u.record.env = env;
    op.u.record.has_prefix = true;
    op.u.record.prefix_tag = pv_key_prefix_tag(keys, other.b);
    pvt_commit(pvt_me(s), &op, 1);
    key.hex[8] = '\0';
    found(s, key.hex, "good text");
    key.hex[8] = pvt_key_of("good text", 9).hex[8] == 'a' ? 'b' : 'a';
    key.hex[9] = '\0';
    pvt_refused(find(s, key.hex), PV_EXIT_CORRUPT, "record");
    free(env);
    pvt_server_free(s);
}
