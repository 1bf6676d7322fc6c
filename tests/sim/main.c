/* The command: which seeds, for how long, and what is said of them. */
#include "tests/sim/sim.h"

#include <sqlite3.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t from, to, virtual_us;
    unsigned nodes, time_s, twice;
    bool random, trace, log, shrink, quiet;
};

static struct sim_stats total;
static uint64_t virtual_us_total;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
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

/* SQLite draws from a generator of its own, one for the process. */
static void seed_sqlite(uint64_t seed)
{
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(seed & 0x7fffffff) | 1, NULL);
}

static void run(struct sim_result *out, const struct sim_plan *plan, const struct options *o)
{
    struct pv_log *log = NULL;
    if (o->log && pv_log_new_fd(&log, STDOUT_FILENO, false) != PV_OK)
        exit(70);
    if (log != NULL)
        (void)!pv_log_set_levels(log, "debug");
    seed_sqlite(plan->seed);
    sim_run(out, plan, o->trace, log);
    pv_log_free(log);
}

/* False: it failed, and has been told. */
static bool try_seed(uint64_t seed, const struct options *o, bool twice)
{
    struct sim_plan plan;
    struct sim_result result, again;
    sim_plan_draw(&plan, seed, o->virtual_us, o->nodes);
    run(&result, &plan, o);
    add_stats(&result);
    if (!result.failed && twice) {
        run(&again, &plan, o);
        if (again.hash != result.hash) {
            result.failed = true;
            (void)snprintf(result.cause, sizeof result.cause,
                           "O12: the same seed gave another trace");
        }
    }
    if (o->from == o->to || o->trace)
        printf("seed %llu: %u nodes, %llu events, trace %016llx\n", (unsigned long long)seed,
               plan.nodes, (unsigned long long)result.stats.events,
               (unsigned long long)result.hash);
    if (!result.failed)
        return true;
    printf("FAILED --seed %llu: %s\n", (unsigned long long)seed, result.cause);
    fflush(stdout);
    return false;
}

static uint64_t duration_us(const char *text)
{
    uint64_t ms;
    if (pv_duration_parse(&ms, text) != PV_OK) {
        fprintf(stderr, "pvsim: not a duration: %s\n", text);
        exit(2);
    }
    return ms * SIM_MS;
}

static void usage(void)
{
    fputs("usage: pvsim [--seed N | --seeds A..B | --random] [--time T] [--virtual T] [--nodes N]\n"
          "             [--twice N] [--trace] [--log]\n",
          stderr);
    exit(2);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},    {"seeds", required_argument, NULL, 'S'},
        {"random", no_argument, NULL, 'r'},        {"time", required_argument, NULL, 't'},
        {"virtual", required_argument, NULL, 'v'}, {"nodes", required_argument, NULL, 'n'},
        {"twice", required_argument, NULL, '2'},   {"trace", no_argument, NULL, 'T'},
        {"log", no_argument, NULL, 'l'},           {NULL, 0, NULL, 0}};
    *o = (struct options){.from = 1, .to = 100};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        char *end = NULL;
        if (c == 's') {
            o->from = o->to = strtoull(optarg, &end, 10);
        } else if (c == 'S') {
            o->from = strtoull(optarg, &end, 10);
            if (strncmp(end, "..", 2) != 0)
                usage();
            o->to = strtoull(end + 2, &end, 10);
        } else if (c == 'r') {
            o->random = true;
        } else if (c == 't') {
            o->time_s = (unsigned)(duration_us(optarg) / SIM_S);
        } else if (c == 'v') {
            o->virtual_us = duration_us(optarg);
        } else if (c == 'n') {
            o->nodes = (unsigned)strtoul(optarg, &end, 10);
        } else if (c == '2') {
            o->twice = (unsigned)strtoul(optarg, &end, 10);
        } else if (c == 'T') {
            o->trace = true;
        } else if (c == 'l') {
            o->log = true;
        } else {
            usage();
        }
    }
    if (o->random) {
        o->from = (uint64_t)time(NULL) * 1000003 % 1000000000;
        o->to = UINT64_MAX;
    }
    if (o->nodes > SIM_NODES_MAX || optind != argc)
        usage();
}

static void summary(uint64_t seeds, uint64_t failures, double took)
{
    printf("%llu seeds, %llu failed; %.0f virtual hours in %.0f s; %llu events, %.0f a second\n",
           (unsigned long long)seeds, (unsigned long long)failures,
           (double)virtual_us_total / 3.6e9, took, (unsigned long long)total.events,
           (double)total.events / took);
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
    uint64_t seeds = 0, failures = 0;
    parse(&o, argc, argv);
    pv_crypto_init();
    json_object_seed(1);
    double start = seconds();
    for (uint64_t seed = o.from; seed <= o.to; seed++) {
        failures += !try_seed(seed, &o, seeds < o.twice);
        seeds++;
        if (seed == UINT64_MAX || (o.time_s > 0 && seconds() - start >= o.time_s))
            break;
    }
    summary(seeds, failures, seconds() - start);
    return failures == 0 ? 0 : 1;
}
