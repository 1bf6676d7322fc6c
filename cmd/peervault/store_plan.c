/*
 * Results wait in their items until it is their turn. An item is done when it was printed and
 * nothing more will come of it; then only the totals remember it.
 */
#include "cmd/peervault/store_plan.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

enum pv_exit pv_store_plan_init(struct pv_store_plan *plan, const struct pv_args *args)
{
    const char *copies = pv_args_value(args, "copies");
    *plan = (struct pv_store_plan){.wait = !pv_args_has(args, "no-wait"),
                                   .is_private = pv_args_has(args, "private"),
                                   .replace = pv_args_has(args, "replace")};
    if (copies != NULL && pv_number_parse(&plan->copies, copies, 1, PV_MEMBERS_MAX) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--copies %.80s: must be a number from 1 to %d", copies,
                           PV_MEMBERS_MAX);
    if (copies != NULL && !plan->wait)
        return pv_out_fail(PV_EXIT_USAGE, "--copies and --no-wait contradict each other");
    return PV_EXIT_OK;
}

static struct pv_store_item *at(struct pv_store_plan *plan, uint64_t no)
{
    return &plan->ring[no % PV_STORE_RING];
}

static void item_release(struct pv_store_item *item)
{
    pv_free(item->path);
    pv_free(item->name);
    pv_free(item->error);
    *item = (struct pv_store_item){0};
}

void pv_store_plan_release(struct pv_store_plan *plan)
{
    for (; plan->done < plan->begun; plan->done++)
        item_release(at(plan, plan->done));
}

/* ---- items ---- */

bool pv_store_plan_has_room(const struct pv_store_plan *plan)
{
    return plan->begun - plan->done < PV_STORE_RING;
}

struct pv_store_item *pv_store_plan_add(struct pv_store_plan *plan, const char *path,
                                        const char *name)
{
    struct pv_store_item *item = at(plan, plan->begun);
    PV_ASSERT(pv_store_plan_has_room(plan));
    item->path = pv_strdup(path);
    item->name = name != NULL ? pv_strdup(name) : NULL;
    if (item->path == NULL || (name != NULL && item->name == NULL)) {
        item_release(item);
        return NULL;
    }
    plan->begun++;
    return item;
}

struct pv_store_item *pv_store_plan_find(struct pv_store_plan *plan, json_int_t id)
{
    for (uint64_t i = plan->done; i < plan->begun; i++)
        if (at(plan, i)->id == id && !at(plan, i)->settled)
            return at(plan, i);
    return NULL;
}

void pv_store_settle(struct pv_store_item *item, enum pv_exit exit, const char *error)
{
    item->settled = true;
    item->exit = exit;
    item->error = error != NULL ? pv_strdup(error) : NULL;
}

void pv_store_plan_settle_all(struct pv_store_plan *plan, enum pv_exit exit, const char *error)
{
    for (uint64_t i = plan->done; i < plan->begun; i++)
        if (!at(plan, i)->settled)
            pv_store_settle(at(plan, i), exit, error);
}

/* ---- lines ---- */

static enum pv_exit print_json(const struct pv_store_item *item)
{
    json_t *object = json_object();
    if (!pv_json_set_bytes(object, "path", item->path))
        goto no_memory;
    if (item->key[0] != '\0') {
        json_object_set_new(object, "key", json_string(item->key));
        json_object_set_new(object, "size", json_integer(item->size));
        json_object_set_new(object, "new_bytes", json_integer(item->new_bytes));
        if (item->name != NULL && !pv_json_set_bytes(object, "name", item->name))
            goto no_memory;
        json_object_set_new(object, "copies", json_integer(item->copies));
        json_object_set_new(object, "want", json_integer(item->want));
    }
    if (item->skipped != NULL)
        json_object_set_new(object, "skipped", json_string(item->skipped));
    if (item->exit != PV_EXIT_OK) {
        json_object_set_new(object, "exit", json_integer((json_int_t)item->exit));
        (void)pv_json_set_bytes(object, "error", item->error != NULL ? item->error : "");
    }
    return pv_out_json(object);
no_memory:
    json_decref(object);
    return pv_out_no_memory();
}

static enum pv_exit print_line(const struct pv_store_item *item, const struct pv_cli *cli)
{
    struct pv_buf line;
    pv_buf_init(&line, 64 * 1024);
    enum pv_err err = pv_append_sum_line(&line, item->key, item->path);
    if (err == PV_OK) {
        pv_out_name((const char *)line.data, line.len, cli->stdout_terminal);
        fputc('\n', stdout);
    }
    pv_buf_release(&line);
    return err == PV_OK ? pv_out_flush() : pv_out_no_memory();
}

static bool is_known(const struct pv_store_item *item, const struct pv_cli *cli)
{
    return item->settled || (!cli->json && item->key[0] != '\0');
}

bool pv_store_plan_is_ready(const struct pv_store_plan *plan, const struct pv_cli *cli)
{
    return plan->printed < plan->begun && is_known(&plan->ring[plan->printed % PV_STORE_RING], cli);
}

static void count(struct pv_store_plan *plan, const struct pv_store_item *item)
{
    pv_exit_add(&plan->exit, item->exit);
    plan->skipped += item->skipped != NULL ? 1 : 0;
    plan->failed += item->exit != PV_EXIT_OK ? 1 : 0;
    if (item->exit != PV_EXIT_OK || item->key[0] == '\0')
        return;
    plan->stored++;
    plan->bytes += (uint64_t)item->size;
    plan->fresh += (uint64_t)item->new_bytes;
    if (item->copies < item->want) {
        plan->behind++;
        plan->last_copies = item->copies;
        plan->last_want = item->want;
    }
}

enum pv_exit pv_store_plan_print(struct pv_store_plan *plan, const struct pv_cli *cli)
{
    enum pv_exit exit = PV_EXIT_OK;
    while (exit == PV_EXIT_OK && pv_store_plan_is_ready(plan, cli)) {
        const struct pv_store_item *item = at(plan, plan->printed++);
        if (cli->json)
            exit = print_json(item);
        else if (item->key[0] != '\0')
            exit = print_line(item, cli);
    }
    while (plan->done < plan->printed && at(plan, plan->done)->settled) {
        count(plan, at(plan, plan->done));
        item_release(at(plan, plan->done++));
    }
    return exit;
}

static void note_behind(const struct pv_store_plan *p, const struct pv_cli *cli, bool embedded)
{
    if (p->stored > 0 && embedded)
        pv_cli_note(cli, "1 copy, replicates when the daemon runs");
    else if (p->behind == 1)
        pv_cli_note(cli, "%lld of %lld copies, will go on", (long long)p->last_copies,
                    (long long)p->last_want);
    else if (p->behind > 1)
        pv_cli_note(cli, "%llu files with %lld of %lld copies, will go on",
                    (unsigned long long)p->behind, (long long)p->last_copies,
                    (long long)p->last_want);
}

enum pv_exit pv_store_plan_finish(const struct pv_store_plan *p, const struct pv_cli *cli,
                                  bool embedded)
{
    unsigned long long stored = p->stored, skipped = p->skipped, failed = p->failed;
    if (stored > 0 && cli->verbose) {
        char all[PV_SIZE_TEXT_MAX], new_part[PV_SIZE_TEXT_MAX];
        pv_size_text(all, p->bytes);
        pv_size_text(new_part, p->fresh);
        pv_cli_note(cli, "%llu stored, %s, %s of it new", stored, all, new_part);
    }
    if (skipped > 0)
        pv_cli_note(cli, "%llu skipped, which are no regular files", skipped);
    if (failed > 0 && failed + stored > 1)
        pv_cli_note(cli, "%llu stored, %llu not", stored, failed);
    note_behind(p, cli, embedded);
    return p->exit;
}
