/* One request of a client, in place of the control socket. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE = 60000 };

static struct sim_op *op_of(const struct pv_request *rq)
{
    return rq->owner;
}

static int content_of(const struct sim_world *w, const char *key, bool of_value)
{
    for (int i = 0; key != NULL && i < SIM_CONTENTS; i++)
        if (w->contents[i].bytes != NULL &&
            strcmp(of_value ? w->contents[i].value_key : w->contents[i].key, key) == 0)
            return i;
    return -1;
}

static uint64_t number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void on_event(struct pv_request *rq, json_t *message)
{
    struct sim_op *op = op_of(rq);
    const char *event = json_string_value(json_object_get(message, "event"));
    if (event != NULL && strcmp(event, "durable") == 0) {
        op->durable_us = op->w->now;
        op->w->stats.acked++;
        sim_trace(op->w, "op %u: durable on node %u", (unsigned)(op - op->w->ops), op->node);
    } else if (event != NULL && strcmp(event, "copies") == 0) {
        op->copies_have = (unsigned)number(message, "have");
    } else if (event != NULL && strcmp(event, "file") == 0) {
        op->key_content =
            content_of(op->w, json_string_value(json_object_get(message, "key")), false);
        op->data_at = number(message, "offset");
        if (op->key_content < 0)
            sim_fail(op->w, "O2", "op %u is given a file that nobody stored",
                     (unsigned)(op - op->w->ops));
    } else if (event != NULL && strcmp(event, "value") == 0) {
        op->key_content =
            content_of(op->w, json_string_value(json_object_get(message, "sha256")), true);
        if (op->key_content < 0)
            sim_fail(op->w, "O2", "op %u is given a value that nobody set",
                     (unsigned)(op - op->w->ops));
    }
    json_decref(message);
}

static void on_data(struct pv_request *rq, const uint8_t *bytes, size_t len, bool end)
{
    struct sim_op *op = op_of(rq);
    (void)end;
    sim_check_data(op->w, op, bytes, len);
    op->data_at += len;
    op->data_len += len;
}

static void on_finish(struct pv_request *rq, json_t *message)
{
    struct sim_op *op = op_of(rq);
    struct sim_world *w = op->w;
    op->state = json_is_true(json_object_get(message, "ok")) ? SIM_OP_OK : SIM_OP_FAILED;
    op->end_us = w->now;
    op->exit = (unsigned)number(message, "exit");
    if (op->kind == SIM_OP_SET && op->state == SIM_OP_OK)
        op->durable_us = w->now;
    op->files = number(message, "files");
    op->names = number(message, "names");
    const char *error = json_string_value(json_object_get(message, "error"));
    (void)snprintf(op->error, sizeof op->error, "%s", error != NULL ? error : "");
    const char *key = json_string_value(json_object_get(message, "key"));
    if (key != NULL)
        op->key_content = content_of(w, key, false);
    if (json_object_get(message, "copies") != NULL)
        op->copies_have = (unsigned)number(message, "copies");
    sim_trace(w, "op %u: %s on node %u: %s %s", (unsigned)(op - w->ops), sim_op_text(op->kind),
              op->node, op->state == SIM_OP_OK ? "ok" : "failed", op->error);
    sim_note(w, (uint64_t)(op - w->ops), 7000U + op->exit);
    w->stats.done[op->kind]++;
    w->stats.ok[op->kind] += op->state == SIM_OP_OK;
    json_decref(rq->args);
    rq->ops = NULL;
    sim_check_answer(w, op);
    json_decref(message);
}

static bool is_writable(const struct pv_request *rq)
{
    (void)rq;
    return true;
}

static void feed_later(struct sim_op *op, uint64_t in_us)
{
    struct sim_world *w = op->w;
    if (op->client_due)
        return;
    op->client_due = true;
    sim_at(w, w->now + in_us,
           (struct sim_event){.kind = SIM_EV_CLIENT,
                              .node = (uint8_t)op->node,
                              .life = w->nodes[op->node].life,
                              .a = (uint32_t)(op - w->ops)});
}

static void on_pause(struct pv_request *rq, bool paused)
{
    struct sim_op *op = op_of(rq);
    op->paused = paused;
    if (!paused)
        feed_later(op, 10);
}

static json_t *arguments(struct sim_world *w, const struct sim_op *op)
{
    char name[16];
    json_t *args = json_object();
    static const char *const ops[] = {"store",  "get", "get", "rm",  "rm",    "gc",   "verify",
                                      "status", "ls",  "get", "set", "value", "unset"};
    json_object_set_new(args, "op", json_string(ops[op->kind]));
    if (op->name >= 0)
        sim_name_text(name, op->name);
    if (op->name >= SIM_NAMES)
        json_object_set_new(args, "name", json_string(name));
    if (op->kind == SIM_OP_STORE) {
        if (op->name >= 0)
            json_object_set_new(args, "name", json_string(name));
        if (op->copies > 0)
            json_object_set_new(args, "copies", json_integer(op->copies));
        if (op->range_from % 2 == 0)
            json_object_set_new(args, "size",
                                json_integer(op->range_from % 3 == 0 /* it is a hint */
                                                 ? 10
                                                 : (json_int_t)w->contents[op->content].len));
    } else if (op->kind == SIM_OP_RM_NAME || op->kind == SIM_OP_FIND) {
        json_object_set_new(args, "target", json_string(name));
    } else if (op->kind == SIM_OP_GET || op->kind == SIM_OP_RANGE || op->kind == SIM_OP_RM) {
        json_object_set_new(args, "target", json_string(w->contents[op->content].key));
    } else if (op->kind == SIM_OP_VERIFY) {
        json_object_set_new(args, "deep", json_boolean(op->range_from % 2 == 0));
        json_object_set_new(args, "repair", json_true());
    } else if (op->kind == SIM_OP_GC) {
        json_object_set_new(args, "now", json_boolean(op->range_from % 2 == 0));
    }
    if (op->kind == SIM_OP_RANGE)
        json_object_set_new(
            args, "range",
            json_pack("[I, I]", (json_int_t)op->range_from, (json_int_t)op->range_to));
    return args;
}

void sim_op_begin(struct sim_world *w, unsigned index)
{
    static const struct pv_request_io io = {.event = on_event,
                                            .data = on_data,
                                            .finish = on_finish,
                                            .writable = is_writable,
                                            .pause = on_pause};
    struct sim_op *op = &w->ops[index];
    struct sim_node *n = &w->nodes[op->node];
    if (!n->up || !n->ready)
        return; /* there is nobody to ask */
    (void)sim_content(w, op->content);
    op->w = w;
    op->state = SIM_OP_OPEN;
    op->start_us = w->now;
    op->rq = (struct pv_request){
        .io = &io, .owner = op, .id = (json_int_t)index + 1, .args = arguments(w, op)};
    sim_trace(w, "op %u: %s on node %u, content %u, name %d", index, sim_op_text(op->kind),
              op->node, op->content, op->name);
    if (!pv_upkeep_request(n->upkeep, &op->rq) && !pv_cluster_request(n->cluster, &op->rq))
        pv_files_request(n->files, &op->rq);
    if (op->state == SIM_OP_OPEN && (op->kind == SIM_OP_STORE || op->kind == SIM_OP_SET))
        feed_later(op, 10);
    if (op->state == SIM_OP_OPEN && op->patience_us > 0)
        sim_at(w, w->now + op->patience_us,
               (struct sim_event){
                   .kind = SIM_EV_LEAVE, .node = (uint8_t)op->node, .life = n->life, .a = index});
}

void sim_op_feed(struct sim_world *w, unsigned index)
{
    struct sim_op *op = &w->ops[index];
    const struct sim_content *c = &w->contents[op->content];
    size_t whole = op->kind == SIM_OP_SET ? sim_value_len(c) : c->len;
    op->client_due = false;
    if (op->state != SIM_OP_OPEN || op->paused || op->sent > whole)
        return;
    size_t left = whole - op->sent, len = left < SLICE ? left : SLICE;
    bool end = len == left;
    size_t at = op->sent;
    op->sent += end ? len + 1 : len; /* one more than there is: all was sent */
    op->rq.ops->on_data(&op->rq, c->bytes + at, len, end);
    if (!end)
        feed_later(op, 50);
}

static void cancel(struct sim_op *op, const char *why)
{
    if (op->rq.ops != NULL && op->rq.ops->on_cancel != NULL)
        op->rq.ops->on_cancel(&op->rq);
    json_decref(op->rq.args);
    op->state = SIM_OP_UNKNOWN;
    op->end_us = op->w->now;
    op->client_due = false;
    sim_trace(op->w, "op %u: %s", (unsigned)(op - op->w->ops), why);
}

void sim_op_leave(struct sim_world *w, unsigned index)
{
    if (w->ops[index].state == SIM_OP_OPEN)
        cancel(&w->ops[index], "its client is gone");
}

void sim_ops_cancel(struct sim_node *n)
{
    for (unsigned i = 0; i < n->w->op_count; i++)
        if (n->w->ops[i].state == SIM_OP_OPEN && n->w->ops[i].node == n->index)
            cancel(&n->w->ops[i], "its node is gone");
}
