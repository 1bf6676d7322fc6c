/* Two stores of one content at once, and the older record is committed second. */
#include "tests/unit/internal_client_fixture.h"

TestSuite(race, .timeout = 120);

/* The job that commits the file record of a store; it is taken off the queue. */
static struct pv_job *hold_back(struct pvt_node *n)
{
    for (struct pv_job **at = &n->jobs; *at != NULL; at = &(*at)->next) {
        struct pv_job *job = *at;
        if (job->run != NULL || job->commit.count == 0 ||
            job->commit.ops[job->commit.count - 1].type != PV_COMMIT_RECORD)
            continue;
        *at = job->next;
        if (job->next == NULL)
            n->jobs_tail = at;
        return job;
    }
    return NULL;
}

static void put_back(struct pvt_node *n, struct pv_job *job)
{
    job->next = NULL;
    *n->jobs_tail = job;
    n->jobs_tail = &job->next;
}

static struct pvt_client *store(struct pvt_server *s, const char *name, const uint8_t *bytes,
                                size_t len)
{
    return pvt_begin_store(s, json_pack("{s:s, s:i}", "name", name, "copies", 2), bytes, len);
}

static void has_copies(struct pvt_client *c)
{
    cr_assert_not(c->is_open, "it waits although the copies are there");
    pvt_assert_ok(c);
    cr_assert_eq(pvt_number(c->final, "copies"), 2);
    pvt_client_free(c);
}

static void in_order(size_t len, bool newer_is_published, bool same_name)
{
    struct pvt_server *s = pvt_server_with(2, 2 * PV_FILES_MEMORY_MIN);
    struct pvt_node *n = pvt_me(s);
    uint8_t *bytes = pvt_content(1, len);
    struct pv_job *older;
    struct pvt_client *a = store(s, "older", bytes, len);
    while ((older = hold_back(n)) == NULL)
        cr_assert(pvt_step(&s->net));
    if (!newer_is_published) { /* nothing gets out before the older one is there too */
        pvt_cut(&s->net, 0, 1);
        pvt_settle(&s->net);
    }
    struct pvt_client *b = store(s, same_name ? "older" : "newer", bytes, len);
    pvt_wait(s, newer_is_published ? 2000 : 0);
    pvt_settle(&s->net);
    cr_assert_eq(b->is_open, !newer_is_published);
    put_back(n, older);
    pvt_settle(&s->net);
    if (!newer_is_published)
        pvt_connect(&s->net, 0, 1);
    pvt_wait(s, 10000);
    has_copies(a);
    has_copies(b);
    pvt_wait(s, 60000);
    cr_assert_eq(pvt_counts(n).pending, 0);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).files, 1);
    cr_assert_eq(pvt_counts(&s->net.nodes[1]).names, same_name ? 1 : 2);
    cr_assert(pvt_all_agree(&s->net));
    free(bytes);
    pvt_server_free(s);
}

Test(race, the_newer_one_is_pending)
{
    in_order(200000, false, false);
    in_order(200000, false, true);
    in_order(100, false, false);
    in_order(100, false, true);
}

Test(race, the_newer_one_is_published)
{
    in_order(200000, true, false);
    in_order(200000, true, true);
    in_order(100, true, false);
    in_order(100, true, true);
}

/* The file is gone again before its record could leave: its name does not stay behind. */
Test(race, removed_before_it_could_leave)
{
    struct pvt_server *s = pvt_server_new(2);
    struct pvt_node *n = pvt_me(s);
    struct pv_id sha256, rid;
    struct pvt_record tombstone;
    pvt_cut(&s->net, 0, 1);
    pvt_settle(&s->net);
    struct pvt_client *c = store(s, "name", (const uint8_t *)"text", 4);
    pvt_settle(&s->net);
    pv_sha256(sha256.b, "text", 4);
    pv_rid_file(&rid, pv_keyring_active(&n->keyring), &sha256);
    uint8_t plain[600] = {0}, salt[32] = {1};
    struct pv_record_draft draft = {.type = PV_RECORD_FILE,
                                    .flags = PV_RECORD_TOMBSTONE,
                                    .rid = rid,
                                    .hlc = pvt_hlc(n),
                                    .epoch = pv_epoch_of(n->env.wall_ms),
                                    .body = plain,
                                    .body_len = sizeof plain};
    cr_assert_eq(pv_record_seal(tombstone.env, &tombstone.len, &draft,
                                pv_keyring_active(&n->keyring), n->identity.seed, salt),
                 PV_OK);
    pvt_put(n, &tombstone, false);
    cr_assert_eq(pvt_counts(n).pending, 1, "the name");
    pvt_connect(&s->net, 0, 1);
    pvt_wait(s, 60000);
    cr_assert_eq(pvt_counts(n).pending, 0);
    cr_assert_not(c->is_open);
    pvt_client_free(c);
    pvt_server_free(s);
}
