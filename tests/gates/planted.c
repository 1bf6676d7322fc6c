/*
 * Tests that `prove` plants among the unit tests: three that must pass, then one for each way to
 * fail that the run has to notice.
 */
#include "internal/base/mem.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(good, .timeout = 10);
TestSuite(planted, .timeout = 10);

Test(good, passes)
{
    cr_assert_eq(1 + 1, 2, "sums are %s", "sums");
}

Test(good, dies, .signal = SIGABRT)
{
    abort();
}

Test(good, exits, .exit_code = 3)
{
    exit(3);
}

Test(planted, fails)
{
    cr_assert_eq(*"a", 0);
}

Test(planted, expects)
{
    cr_expect_eq(*"a", 0);
}

static void fail_after(void)
{
    cr_assert_fail("in %s", "fini");
}

Test(planted, fails_in_fini, .fini = fail_after)
{
}

Test(planted, crashes)
{
    abort();
}

Test(planted, lives, .signal = SIGABRT)
{
}

Test(planted, dies_of_another, .signal = SIGABRT)
{
    raise(SIGTERM);
}

Test(planted, ends_early)
{
    exit(0);
}

Test(planted, hangs, .timeout = 0.2)
{
    for (;;)
        pause();
}

Test(planted, leaks)
{
    char *volatile p = pv_malloc(1);
    *p = 1;
    p = NULL;
}

Test(planted, overflows)
{
    char *volatile p = pv_malloc(1);
    p[1] = 0;
    pv_free(p);
}

Test(planted, undefined)
{
    volatile int most = INT_MAX;
    most++;
}

Test(planted, overflows_in_a_child)
{
    if (fork() == 0) {
        char *volatile p = pv_malloc(1);
        p[1] = 0;
    }
    wait(NULL);
}

static int shared;

static void *count_up(void *arg)
{
    (void)arg;
    shared++;
    return NULL;
}

Test(planted, races)
{
    pthread_t other;
    pthread_create(&other, NULL, count_up, NULL);
    shared++;
    pthread_join(other, NULL);
}

Test(planted, reads_what_nobody_wrote)
{
    char *volatile p = pv_malloc(1);
    if (p[0] == 'x')
        putchar('x');
    pv_free(p);
}
