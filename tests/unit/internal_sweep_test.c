#include "internal/upkeep/sweep.h"
#include "tests/unit/internal_client_fixture.h"

#include <fcntl.h>
#include <unistd.h>

TestSuite(sweep, .timeout = 60);

/* A blob file that vault.db does not know. */
static void leave_file(struct pvt_node *n, uint8_t no)
{
    struct pv_id id = {{no, 1, 2, 3}};
    char name[PV_BLOB_PATH_LEN + 1], path[700];
    pv_blob_path(name, &id);
    snprintf(path, sizeof path, "%s/%s", n->vault_path, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

static size_t left(struct pvt_node *n)
{
    size_t count = 0;
    for (unsigned no = 0; no < 256; no++) {
        struct pv_id id = {{(uint8_t)no, 1, 2, 3}};
        char name[PV_BLOB_PATH_LEN + 1], path[700];
        pv_blob_path(name, &id);
        snprintf(path, sizeof path, "%s/%s", n->vault_path, name);
        count += access(path, F_OK) == 0;
    }
    return count;
}

static void is_healthy(struct pvt_server *s, bool yes)
{
    struct pvt_client *c = pvt_ask(s, json_pack("{s:s}", "op", "status"));
    pvt_assert_ok(c);
    cr_assert_eq(json_is_true(json_object_get(c->final, "healthy")), yes);
    cr_assert_eq(pvt_number(c->final, "unknown_files") > PV_UNKNOWN_MAX, !yes);
    pvt_client_free(c);
}

Test(sweep, what_a_crash_leaves_is_deleted)
{
    struct pvt_server *s = pvt_server_new(1);
    uint8_t *bytes = pvt_content(1, 500000);
    struct pvt_key key = pvt_store(s, NULL, bytes, 500000);
    pv_sweep_start(pvt_me(s)->node);
    pvt_settle(&s->net);
    cr_assert_not(pvt_log_has(&s->net.log, "deleted"));
    for (unsigned i = 0; i < PV_UNKNOWN_MAX; i++)
        leave_file(pvt_me(s), (uint8_t)(i * 3));
    pv_sweep_start(pvt_me(s)->node);
    pvt_settle(&s->net);
    cr_assert_eq(left(pvt_me(s)), 0);
    cr_assert(pvt_log_has(&s->net.log, "deleted blob files left by a crash"));
    struct pvt_client *c = pvt_ask_target(s, "get", key.hex);
    pvt_assert_ok(c);
    pvt_client_free(c);
    free(bytes);
    pvt_server_free(s);
}

Test(sweep, more_than_that_means_an_old_database)
{
    struct pvt_server *s = pvt_server_new(1);
    for (unsigned i = 0; i <= PV_UNKNOWN_MAX; i++)
        leave_file(pvt_me(s), (uint8_t)(i * 3));
    pv_sweep_start(pvt_me(s)->node);
    pvt_settle(&s->net);
    cr_assert_eq(left(pvt_me(s)), PV_UNKNOWN_MAX + 1);
    cr_assert(pvt_log_has(&s->net.log, "nothing deleted"));
    is_healthy(s, false);
    pvt_server_free(s);
}

/* The node ends in the middle of it, or memory does. */
Test(sweep, cut_short)
{
    for (uint64_t steps = 0; steps < 600; steps += 199) {
        struct pvt_server *s = pvt_server_new(1);
        leave_file(pvt_me(s), 7);
        pv_sweep_start(pvt_me(s)->node);
        pvt_steps(&s->net, steps);
        pvt_node_stop(&s->net.nodes[0]);
        pv_cluster_free(s->cluster);
        pv_upkeep_free(s->upkeep);
        pv_files_free(s->files);
        pvt_nodes_release(&s->net);
        free(s);
    }
    struct pvt_server *s = pvt_server_new(1);
    leave_file(pvt_me(s), 7);
    for (uint64_t k = 0; k < 3; k++) {
        pv_mem_fail_after(k);
        pv_sweep_start(pvt_me(s)->node);
        for (int i = 0; i < 2000 && pvt_step(&s->net); i++)
            continue;
        pv_mem_fail_after(UINT64_MAX);
        cr_assert_leq(left(pvt_me(s)), 1);
    }
    pv_sweep_start(pvt_me(s)->node);
    pvt_settle(&s->net);
    cr_assert_eq(left(pvt_me(s)), 0);
    is_healthy(s, true);
    pvt_server_free(s);
}
