/* The progress line at its limits: nothing done, unknown totals, more than there should be. */
#include "cmd/peervault/progress.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(progress, .timeout = 10);

static void check(uint64_t done, uint64_t total, uint64_t ms, const char *text)
{
    char out[PV_PROGRESS_TEXT_MAX];
    pv_progress_text(out, "storing", done, total, ms);
    cr_assert_str_eq(out, text);
}

Test(progress, shows_part_rate_and_time_left)
{
    const uint64_t mib = 1 << 20;
    check(10 * mib, 40 * mib, 2000,
          "storing  10.0 MiB / 40.0 MiB  [=====>              ]  25 %  5.0 MiB/s  6.0s left");
    check(40 * mib, 40 * mib, 4000,
          "storing  40.0 MiB / 40.0 MiB  [====================]  100 %  10.0 MiB/s  0.0s left");
}

Test(progress, copes_with_the_extremes)
{
    check(0, 1024, 1000, "storing  0 B / 1.0 KiB  [>                   ]  0 %  0 B/s  ? left");
    check(2048, 0, 1000, "storing  2.0 KiB  2.0 KiB/s");
    check(3000, 1000, 1000,
          "storing  2.9 KiB / 1000 B  [====================]  100 %  2.9 KiB/s  0.0s left");
    check(1, 2, 0, "storing  1 B / 2 B  [==========>         ]  50 %  1000 B/s  0.0s left");
    char out[PV_PROGRESS_TEXT_MAX];
    pv_progress_text(out, "fetching", UINT64_MAX, UINT64_MAX, 1);
    cr_assert(strlen(out) < PV_PROGRESS_TEXT_MAX - 1);
    pv_progress_text(out, "fetching", 1, UINT64_MAX, UINT64_MAX / 2);
    cr_assert(strlen(out) < PV_PROGRESS_TEXT_MAX - 1);
}

static void check_fit(const char *text, size_t columns, const char *fitted)
{
    char out[PV_PROGRESS_TEXT_MAX];
    snprintf(out, sizeof out, "%s", text);
    pv_progress_fit(out, columns);
    cr_assert_str_eq(out, fitted);
}

Test(progress, fits_into_one_line)
{
    const char *all = "storing  1.0 MiB / 4.0 MiB  [=====>    ]  25 %  5.0 MiB/s  6.0s left";
    const char *no_bar = "storing  1.0 MiB / 4.0 MiB  25 %  5.0 MiB/s  6.0s left";
    check_fit(all, 0, all);
    check_fit(all, strlen(all) + 1, all);
    check_fit(all, strlen(all), no_bar);
    check_fit(all, strlen(no_bar) + 1, no_bar);
    check_fit(all, strlen(no_bar), "storing  1.0 MiB / 4.0 MiB  25 %  5.0 MiB/s  6.0s lef");
    check_fit(all, 8, "storing");
    check_fit(all, 1, "");
    check_fit("storing  2.0 KiB  2.0 KiB/s", 20, "storing  2.0 KiB  2");
}

Test(progress, is_silent_where_nobody_looks)
{
    struct pv_cli cli = {.stderr_terminal = false};
    struct pv_progress p;
    pv_progress_start(&p, &cli, "storing", 100);
    pv_progress_add(&p, 60);
    cr_assert(!p.shown && !p.drawn);
    cr_assert_eq(p.done, 60);
    cli.stderr_terminal = cli.quiet = true;
    pv_progress_start(&p, &cli, "storing", 100);
    cr_assert(!p.shown);
    cli.quiet = false;
    cli.json = true;
    pv_progress_start(&p, &cli, "storing", 100);
    cr_assert(!p.shown);
}

Test(progress, counts_files_that_are_not_known_beforehand)
{
    char out[PV_PROGRESS_TEXT_MAX];
    struct pv_progress p = {.verb = "storing", .files = 300, .done = 3 << 20};
    pv_progress_files_text(out, &p, 1500);
    cr_assert_str_eq(out, "storing  300 files  3.0 MiB  2.0 MiB/s  200 files/s");
    pv_progress_files_text(out, &p, 0);
    p = (struct pv_progress){.verb = "fetching", .files = UINT64_MAX, .done = UINT64_MAX};
    pv_progress_files_text(out, &p, UINT64_MAX);
    cr_assert(strlen(out) < PV_PROGRESS_TEXT_MAX - 1);
}
