/* The command: which seeds, for how long, and what is said of them. */
#include "tests/sim/sim.h"

#include <sqlite3.h>
#include <dirent.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t from, to, virtual_us;
    unsigned nodes, time_s, twice;
    bool random, trace, log, shrink, all_marks, until_failure;
    const char *regress, *exhaustive;
    bool no_op[SIM_OPS_MAX], no_fault[SIM_FAULTS_MAX];
};

static struct sim_stats total;
static uint64_t virtual_us_total, seeds, failures;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add_stats(const struct sim_result *r)
{
    uint64_t *to = (uint64_t *)&total;
    const uint64_t *from = (const uint64_t *)&r->stats;
    for (size_t i = 0; i < sizeof total / sizeof *to; i++)
        to[i] += from[i];
    virtual_us_total += r->end_us;
}

/* ---- one seed ---- */

static void run(struct sim_result *out, const struct sim_plan *plan, bool trace, struct pv_log *log)
{
    /* SQLite draws from a generator of its own, one for the process. */
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(plan->seed & 0x7fffffff) | 1, NULL);
    sim_run(out, plan, trace, log);
}

void sim_run_seeded(struct sim_result *out, const struct sim_plan *plan)
{
    run(out, plan, false, NULL);
}

static void print_list(const char *option, const bool *out, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++)
        if (out[i]) {
            printf("%s%u", any ? "," : option, i);
            any = true;
        }
}

static void print_options(const struct sim_plan *plan, const struct options *o)
{
    printf("--seed %llu", (unsigned long long)plan->seed);
    if (o->nodes != 0)
        printf(" --nodes %u", o->nodes);
    if (o->virtual_us != 0)
        printf(" --virtual %llus", (unsigned long long)(o->virtual_us / SIM_S));
    print_list(" --no-ops ", plan->no_op, plan->ops);
    print_list(" --no-faults ", plan->no_fault, plan->faults);
}

/* False: it failed, and has been told. */
static bool try_seed(uint64_t seed, const struct options *o, bool twice)
{
    struct sim_plan plan;
    struct sim_result result, again;
    struct pv_log *log = NULL;
    if (o->log && (pv_log_new_fd(&log, STDOUT_FILENO, false) != PV_OK ||
                   pv_log_set_levels(log, "debug") != PV_OK))
        exit(70);
    sim_plan_draw(&plan, seed, o->virtual_us, o->nodes);
    memcpy(plan.no_op, o->no_op, sizeof plan.no_op);
    memcpy(plan.no_fault, o->no_fault, sizeof plan.no_fault);
    run(&result, &plan, o->trace, log);
    pv_log_free(log);
    add_stats(&result);
    seeds++;
    if (!result.failed && twice) {
        sim_run_seeded(&again, &plan);
        result.failed = again.hash != result.hash;
        if (result.failed)
            (void)snprintf(result.cause, sizeof result.cause, "O12: two traces of one seed");
    }
    if (o->from == o->to || o->trace)
        printf("seed %llu: %u nodes, %llu events, trace %016llx\n", (unsigned long long)seed,
               plan.nodes, (unsigned long long)result.stats.events,
               (unsigned long long)result.hash);
    if (!result.failed)
        return true;
    failures++;
    if (o->shrink)
        sim_shrink(&plan, &result);
    printf("FAILED ");
    print_options(&plan, o);
    printf(": %s\n", result.cause);
    fflush(stdout);
    return false;
}

/* ---- options ---- */

static void usage(void)
{
    fputs("usage: pvsim [--seed N | --seeds A..B | --random | --regress DIR |\n"
          "              --exhaustive ops=N,nodes=N] [--time T]\n"
          "             [--virtual T] [--nodes N] [--no-ops LIST] [--no-faults LIST]\n"
          "             [--twice N] [--all-marks] [--until-failure] [--shrink]\n"
          "             [--trace] [--log]\n",
          stderr);
    exit(2);
}

static uint64_t duration_us(const char *text)
{
    uint64_t ms;
    if (pv_duration_parse(&ms, text) != PV_OK)
        usage();
    return ms * SIM_MS;
}

static void take_list(bool *out, unsigned max, const char *text)
{
    for (char *end; *text != '\0'; text = *end == ',' ? end + 1 : end) {
        unsigned long i = strtoul(text, &end, 10);
        if (end == text || i >= max)
            usage();
        out[i] = true;
    }
}

static void take_range(struct options *o, const char *text)
{
    char *end;
    o->from = o->to = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0)
        o->to = strtoull(end + 2, &end, 10);
    if (*end != '\0')
        usage();
}

static void take(struct options *o, int c, const char *text)
{
    switch (c) {
    case 's':
        take_range(o, text);
        break;
    case 'r':
        o->random = true;
        break;
    case 'g':
        o->regress = text;
        break;
    case 't':
        o->time_s = (unsigned)(duration_us(text) / SIM_S);
        break;
    case 'v':
        o->virtual_us = duration_us(text);
        break;
    case 'n':
        o->nodes = (unsigned)strtoul(text, NULL, 10);
        break;
    case 'O':
        take_list(o->no_op, SIM_OPS_MAX, text);
        break;
    case 'F':
        take_list(o->no_fault, SIM_FAULTS_MAX, text);
        break;
    case '2':
        o->twice = (unsigned)strtoul(text, NULL, 10);
        break;
    case 'm':
        o->all_marks = true;
        break;
    case 'x':
        o->exhaustive = text;
        break;
    case 'u':
        o->until_failure = true;
        break;
    case 'k':
        o->shrink = true;
        break;
    case 'T':
        o->trace = true;
        break;
    case 'l':
        o->log = true;
        break;
    default:
        usage();
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"seed", required_argument, NULL, 's'},
                                          {"seeds", required_argument, NULL, 's'},
                                          {"random", no_argument, NULL, 'r'},
                                          {"regress", required_argument, NULL, 'g'},
                                          {"time", required_argument, NULL, 't'},
                                          {"virtual", required_argument, NULL, 'v'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"no-ops", required_argument, NULL, 'O'},
                                          {"no-faults", required_argument, NULL, 'F'},
                                          {"twice", required_argument, NULL, '2'},
                                          {"all-marks", no_argument, NULL, 'm'},
                                          {"exhaustive", required_argument, NULL, 'x'},
                                          {"until-failure", no_argument, NULL, 'u'},
                                          {"shrink", no_argument, NULL, 'k'},
                                          {"trace", no_argument, NULL, 'T'},
                                          {"log", no_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    *o = (struct options){.from = 1, .to = 100};
    optind = 0; /* it is called again for each file of --regress */
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        take(o, c, optarg);
    if (o->random) {
        o->from = (uint64_t)time(NULL) * 1000003 % 1000000000;
        o->to = UINT64_MAX - 1;
    }
    if (o->nodes > SIM_NODES_MAX || optind != argc)
        usage();
}

/* ---- failures of the past ---- */

/* A file holds the options of one run; lines that begin with # say what it was about. */
static void run_file(const char *dir, const char *name)
{
    enum { WORDS_MAX = 32 };
    char path[512], line[4096], *words[WORDS_MAX] = {(char *)(uintptr_t) "pvsim"};
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        usage();
    while (fgets(line, sizeof line, f) != NULL) {
        struct options o;
        int count = 1;
        for (char *w = strtok(line, " \n"); w != NULL && count < WORDS_MAX; w = strtok(NULL, " \n"))
            words[count++] = w;
        if (count == 1 || words[1][0] == '#')
            continue;
        parse(&o, count, words);
        for (uint64_t seed = o.from; seed <= o.to; seed++)
            (void)try_seed(seed, &o, true);
    }
    (void)fclose(f);
}

static int is_seed_file(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".seed") == 0;
}

static void run_past(const char *dir)
{
    struct dirent **files;
    int count = scandir(dir, &files, is_seed_file, alphasort);
    if (count < 0)
        usage();
    for (int i = 0; i < count; i++) {
        run_file(dir, files[i]->d_name);
        free(files[i]);
    }
    free(files);
}

/* ---- all orders of a few operations ---- */

/* False: it failed, and has been told. */
static bool try_order(struct sim_plan *plan, struct sim_result *result, uint64_t order,
                      const struct options *o)
{
    run(result, plan, o->trace, NULL);
    add_stats(result);
    seeds++;
    if (!result->failed)
        return true;
    failures++;
    printf("FAILED order %llu, power cut in change %llu of operation %u: %s\n",
           (unsigned long long)order, (unsigned long long)plan->cut_change, plan->cut_op,
           result->cause);
    return false;
}

static void run_all_orders(const struct options *o, double until)
{
    unsigned ops = 0, nodes = 0;
    struct sim_result result;
    struct sim_plan plan;
    if (sscanf(o->exhaustive, "ops=%u,nodes=%u", &ops, &nodes) != 2 || ops == 0 ||
        ops > SIM_SCRIPT_MAX || nodes == 0 || nodes > SIM_NODES_MAX)
        usage();
    uint64_t count = sim_exhaust_count(ops, nodes), done = 0;
    for (; done < count && seconds(CLOCK_MONOTONIC) < until; done++) {
        uint64_t order = done * 7919 % count; /* spread, for those who stop early */
        sim_exhaust_plan(&plan, order, ops, nodes);
        (void)try_order(&plan, &result, order, o);
        for (plan.cut_op = 0; plan.cut_op < ops; plan.cut_op++)
            for (plan.cut_change = 1, result.was_cut = true; result.was_cut; plan.cut_change++)
                if (!try_order(&plan, &result, order, o))
                    break;
    }
    printf("%llu of %llu orders\n", (unsigned long long)done, (unsigned long long)count);
}

/* ---- all of them ---- */

static void summary(double took, double busy)
{
    printf("%llu seeds, %llu failed; %.0f virtual hours in %.0f s; %llu events, %.0f a second of "
           "one core\n",
           (unsigned long long)seeds, (unsigned long long)failures,
           (double)virtual_us_total / 3.6e9, took, (unsigned long long)total.events,
           (double)total.events / busy);
    printf("%llu starts, %llu ends of processes, %llu connections, %llu commits, %llu MB sent\n",
           (unsigned long long)total.starts, (unsigned long long)total.crashes,
           (unsigned long long)total.links, (unsigned long long)total.commits,
           (unsigned long long)(total.bytes >> 20));
    printf("operations (ok of done):");
    for (unsigned i = 0; i < SIM_OP_KINDS; i++)
        printf(" %s %llu/%llu", sim_op_text(i), (unsigned long long)total.ok[i],
               (unsigned long long)total.done[i]);
    printf("\nfaults:");
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++)
        printf(" %s %llu", sim_fault_text(i), (unsigned long long)total.faults[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct options o;
    parse(&o, argc, argv);
    (void)setvbuf(stdout, NULL, o.log ? _IONBF : _IOLBF, 0); /* in step with the log */
    pv_crypto_init();
    json_object_seed(1);
    double start = seconds(CLOCK_MONOTONIC);
    bool drawn = o.regress == NULL && o.exhaustive == NULL;
    if (o.regress != NULL)
        run_past(o.regress);
    if (o.exhaustive != NULL)
        run_all_orders(&o, o.time_s > 0 ? start + o.time_s : 1e18);
    for (uint64_t seed = o.from; drawn && seed <= o.to; seed++) {
        (void)try_seed(seed, &o, seeds < o.twice);
        if (o.until_failure && failures > 0)
            break;
        if (o.time_s > 0 && seconds(CLOCK_MONOTONIC) - start >= o.time_s)
            break;
    }
    summary(seconds(CLOCK_MONOTONIC) - start, seconds(CLOCK_PROCESS_CPUTIME_ID));
    unsigned missed = !drawn || o.from == o.to ? 0 : sim_marks(true);
    return failures == 0 && (missed == 0 || !o.all_marks) ? 0 : 1;
}
