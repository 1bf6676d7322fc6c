/*
 * Names are compared before anything is stored, because the second of two equal names would take
 * the first one's place without a word. Results wait in their items until it is their turn.
 */
#include "cmd/peervault/store_plan.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "crypto/body.h"
#include "internal/base/limits.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

const char *pv_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static int by_name(const void *a, const void *b)
{
    const struct pv_store_item *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum pv_exit check_names(const struct pv_store_plan *plan)
{
    size_t count = 0;
    PV_AUTO_FREE const struct pv_store_item **sorted = pv_calloc(plan->count + 1, sizeof *sorted);
    if (sorted == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < plan->count; i++)
        if (plan->items[i].name != NULL)
            sorted[count++] = &plan->items[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return pv_out_fail(PV_EXIT_USAGE,
                               "%s and %s would get the same name: store them one by one, one of "
                               "them with --name",
                               sorted[i - 1]->path, sorted[i]->path);
    return PV_EXIT_OK;
}

static enum pv_exit read_options(struct pv_store_plan *plan, const struct pv_args *args)
{
    const char *copies = pv_args_value(args, "copies");
    const char *name = pv_args_value(args, "name");
    plan->wait = !pv_args_has(args, "no-wait");
    plan->is_private = pv_args_has(args, "private");
    if (copies != NULL && pv_number_parse(&plan->copies, copies, 1, PV_MEMBERS_MAX) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--copies %.80s: must be a number from 1 to %d", copies,
                           PV_MEMBERS_MAX);
    if (copies != NULL && !plan->wait)
        return pv_out_fail(PV_EXIT_USAGE, "--copies and --no-wait contradict each other");
    if (name != NULL && args->word_count > 1)
        return pv_out_fail(PV_EXIT_USAGE, "--name is for one file: %zu are given",
                           args->word_count);
    if (name != NULL && strlen(name) > PV_NAME_MAX)
        return pv_out_fail(PV_EXIT_USAGE, "--name: a name has at most %d bytes", PV_NAME_MAX);
    return PV_EXIT_OK;
}

enum pv_exit pv_store_plan_make(struct pv_store_plan *plan, const struct pv_args *args)
{
    size_t stdins = 0;
    *plan = (struct pv_store_plan){.count = args->word_count};
    enum pv_exit exit = read_options(plan, args);
    if (exit != PV_EXIT_OK)
        return exit;
    plan->items = pv_calloc(plan->count, sizeof *plan->items);
    if (plan->items == NULL)
        return pv_out_no_memory();
    for (size_t i = 0; i < plan->count; i++) {
        struct pv_store_item *item = &plan->items[i];
        item->path = args->words[i];
        bool is_stdin = strcmp(item->path, "-") == 0;
        stdins += is_stdin ? 1 : 0;
        item->name = pv_args_value(args, "name");
        if (item->name == NULL && !is_stdin)
            item->name = pv_base_name(item->path);
        if (item->name != NULL && item->name[0] == '\0')
            item->name = NULL; /* ends with a slash: it will not be a regular file */
    }
    if (stdins > 1)
        return pv_out_fail(PV_EXIT_USAGE, "standard input (-) is given twice");
    return check_names(plan);
}

void pv_store_plan_release(struct pv_store_plan *plan)
{
    for (size_t i = 0; plan->items != NULL && i < plan->count; i++)
        pv_free(plan->items[i].error);
    pv_free(plan->items);
    *plan = (struct pv_store_plan){0};
}

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

enum pv_exit pv_store_plan_print(struct pv_store_plan *plan, const struct pv_cli *cli)
{
    enum pv_exit exit = PV_EXIT_OK;
    while (exit == PV_EXIT_OK && plan->printed < plan->count) {
        const struct pv_store_item *item = &plan->items[plan->printed];
        if (!item->settled && (cli->json || item->key[0] == '\0'))
            break;
        if (cli->json)
            exit = print_json(item);
        else if (item->key[0] != '\0')
            exit = print_line(item, cli);
        plan->printed++;
    }
    return exit;
}

enum pv_exit pv_store_plan_finish(const struct pv_store_plan *plan, const struct pv_cli *cli,
                                  bool embedded)
{
    enum pv_exit exit = PV_EXIT_OK;
    const struct pv_store_item *last = NULL;
    size_t stored = 0, behind = 0;
    uint64_t bytes = 0, fresh = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct pv_store_item *item = &plan->items[i];
        pv_exit_add(&exit, item->exit);
        if (item->exit != PV_EXIT_OK || item->key[0] == '\0')
            continue;
        stored++;
        bytes += (uint64_t)item->size;
        fresh += (uint64_t)item->new_bytes;
        if (item->copies < item->want) {
            behind++;
            last = item;
        }
    }
    if (stored > 0 && cli->verbose) {
        char all[PV_SIZE_TEXT_MAX], new_part[PV_SIZE_TEXT_MAX];
        pv_size_text(all, bytes);
        pv_size_text(new_part, fresh);
        pv_cli_note(cli, "%zu stored, %s, %s of it new", stored, all, new_part);
    }
    if (stored > 0 && embedded)
        pv_cli_note(cli, "1 copy, replicates when the daemon runs");
    else if (behind == 1)
        pv_cli_note(cli, "%lld of %lld copies, will go on", (long long)last->copies,
                    (long long)last->want);
    else if (behind > 1)
        pv_cli_note(cli, "%zu files with %lld of %lld copies, will go on", behind,
                    (long long)last->copies, (long long)last->want);
    return exit;
}
