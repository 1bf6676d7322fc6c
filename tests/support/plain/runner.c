/*
 * Runs tests that were compiled with criterion/criterion.h beside this file: each in a process that
 * is forked from this one, which has no threads, so that nothing is lost on the way. How the
 * process ends decides. A body that came to its end exits through exit(), where LeakSanitizer looks
 * and changes the exit status to its own; every status but the expected one is a failure, be it a
 * sanitizer's or that of a body that called exit() itself.
 *
 * A test has a process group of its own, which is killed when its time is over or its first process
 * has ended: nothing outlives a test.
 */
#include "tests/support/plain/criterion/criterion.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PASSED = 90, FAILED, SKIPPED }; /* how a test's process exits */
enum { JOBS_MAX = 64 };

struct running {
    const struct plain_test *test;
    pid_t pid; /* 0: free */
    uint64_t start_ms, deadline_ms;
    bool timed_out;
};

static struct plain_test *tests, **tests_end = &tests;
static struct running slots[JOBS_MAX];
static int jobs = 1, slower = 1;
static bool verbose, no_fork;
static unsigned passed, failed, crashed, skipped;
static volatile bool expectation_failed;

void plain_register(struct plain_test *test)
{
    *tests_end = test;
    tests_end = &test->next;
}

void plain_report(const char *file, int line, const char *what, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    fprintf(stderr, "[----] %s:%d: Assertion Failed: %s %s\n", file, line, what, message);
    expectation_failed = true;
}

void plain_stop(void)
{
    fflush(NULL);
    _exit(FAILED); /* what a test leaves half-way is no leak */
}

void plain_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("[SKIP] ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    _exit(SKIPPED);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static const struct plain_options *suite_of(const struct plain_test *test)
{
    static const struct plain_options none;
    for (const struct plain_test *t = tests; t != NULL; t = t->next)
        if (t->body == NULL && strcmp(t->suite, test->suite) == 0)
            return &t->options;
    return &none;
}

static void run_body(const struct plain_test *test)
{
    const struct plain_options *suite = suite_of(test);
    if (suite->init != NULL)
        suite->init();
    if (test->options.init != NULL)
        test->options.init();
    test->body();
    if (test->options.fini != NULL)
        test->options.fini();
    if (suite->fini != NULL)
        suite->fini();
}

static void start(struct running *r, const struct plain_test *test)
{
    double seconds = test->options.timeout > 0 ? test->options.timeout : suite_of(test)->timeout;
    *r = (struct running){.test = test, .start_ms = now_ms(), .deadline_ms = UINT64_MAX};
    if (seconds > 0)
        r->deadline_ms = r->start_ms + (uint64_t)(seconds * 1000 * slower);
    fflush(NULL);
    r->pid = fork();
    if (r->pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_body(test);
        exit(expectation_failed ? FAILED : PASSED);
    }
    if (r->pid < 0) {
        perror("runner: fork");
        exit(EXIT_FAILURE);
    }
    setpgid(r->pid, r->pid); /* here too: who comes first is not known */
}

static void count(const struct running *r, const char *sign, unsigned *counter, const char *why)
{
    ++*counter;
    if (verbose || (counter != &passed && counter != &skipped))
        fprintf(stderr, "[%s] %s::%s: (%.2fs)%s\n", sign, r->test->suite, r->test->name,
                (double)(now_ms() - r->start_ms) / 1000, why);
}

static void judge(const struct running *r, int status)
{
    const struct plain_options *o = &r->test->options;
    int expected = o->exit_code != 0 ? o->exit_code : PASSED;
    char why[64] = "";
    if (r->timed_out) {
        count(r, "FAIL", &failed, " timed out");
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == o->signal) {
        count(r, "PASS", &passed, "");
    } else if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, " killed by signal %d", WTERMSIG(status));
        count(r, "FAIL", &crashed, why);
    } else if (WEXITSTATUS(status) == SKIPPED) {
        count(r, "SKIP", &skipped, "");
    } else if (WEXITSTATUS(status) == FAILED) {
        count(r, "FAIL", &failed, "");
    } else if (o->signal != 0) {
        snprintf(why, sizeof why, " lived on where signal %d was expected", o->signal);
        count(r, "FAIL", &failed, why);
    } else if (WEXITSTATUS(status) != expected) {
        snprintf(why, sizeof why, " ended with status %d", WEXITSTATUS(status));
        count(r, "FAIL", &crashed, why);
    } else {
        count(r, "PASS", &passed, "");
    }
}

/* Returns when a slot is free, or every slot if all is set. */
static void wait_for_slot(bool all)
{
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    for (;;) {
        int busy = 0;
        uint64_t now = now_ms(), next = now + 60000;
        for (struct running *r = slots; r < slots + jobs; r++) {
            int status;
            if (r->pid != 0 && waitpid(r->pid, &status, WNOHANG) == r->pid) {
                kill(-r->pid, SIGKILL);
                judge(r, status);
                r->pid = 0;
            }
            if (r->pid == 0)
                continue;
            busy++;
            if (now >= r->deadline_ms && !r->timed_out) {
                r->timed_out = true;
                kill(-r->pid, SIGKILL);
            }
            if (!r->timed_out && r->deadline_ms < next)
                next = r->deadline_ms;
        }
        if (all ? busy == 0 : busy < jobs)
            return;
        struct timespec rest = {(time_t)((next - now) / 1000),
                                (long)((next - now) % 1000) * 1000000};
        sigtimedwait(&child_ended, NULL, &rest);
    }
}

static void run_one(const struct plain_test *test)
{
    if (no_fork) {
        struct running here = {.test = test, .start_ms = now_ms()};
        if (test->options.signal != 0 || test->options.exit_code != 0)
            return; /* it would be the end of all */
        run_body(test);
        if (expectation_failed)
            plain_stop();
        count(&here, "PASS", &passed, "");
        return;
    }
    wait_for_slot(false);
    struct running *r = slots;
    while (r->pid != 0)
        r++;
    start(r, test);
}

static _Noreturn void usage(void)
{
    fputs("usage: unit_LAYER [--filter 'SUITE/TEST'] [--jobs N] [--verbose] [--list] [--no-fork]\n"
          "                  [--slower N]\n"
          "A filter may have wildcards. --no-fork runs all in this process, up to the first test\n"
          "that fails. --slower multiplies the time that each test has.\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"filter", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},
        {"verbose", no_argument, NULL, 'v'},
        {"list", no_argument, NULL, 'l'},
        {"no-fork", no_argument, NULL, 'n'},
        {"slower", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    const char *filter = "*";
    bool list = false;
    for (int c; (c = getopt_long(argc, argv, "j:", options, NULL)) != -1;) {
        switch (c) {
        case 'f':
            filter = optarg;
            break;
        case 'j':
            jobs = atoi(optarg);
            break;
        case 'v':
            verbose = true;
            break;
        case 'l':
            list = true;
            break;
        case 'n':
            no_fork = true;
            break;
        case 's':
            slower = atoi(optarg);
            break;
        default:
            usage();
        }
    }
    if (optind != argc || jobs < 1 || jobs > JOBS_MAX || slower < 1)
        usage();
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, NULL);
    for (const struct plain_test *t = tests; t != NULL; t = t->next) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s", t->suite, t->body == NULL ? "" : t->name);
        bool wanted = t->body != NULL && !t->options.disabled && !suite_of(t)->disabled;
        if (!wanted || fnmatch(filter, name, FNM_EXTMATCH) != 0)
            continue;
        if (list)
            puts(name);
        else
            run_one(t);
    }
    wait_for_slot(true);
    if (!list)
        fprintf(stderr, "[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: %u\n",
                passed + failed + crashed, passed, failed, crashed);
    return failed + crashed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
