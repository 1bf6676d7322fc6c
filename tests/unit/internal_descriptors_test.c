/* How open files are divided: nobody gets so much that another one's share is not there. */
#include "internal/server/descriptors.h"
#include "internal/server/pool.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

TestSuite(descriptors, .timeout = 30);

enum { OWN = 32, OF_ALL = OWN + PV_POOL_THREADS_MAX + 4 + 64 + 64 + 512 };

static unsigned disk_of(const struct pv_descriptors *d)
{
    return PV_POOL_THREADS_MAX + 4 + d->blob_files;
}

Test(descriptors, too_few_are_refused)
{
    struct pv_descriptors d;
    cr_assert_eq(pv_descriptors_divide(&d, 0), PV_E_LIMIT);
    cr_assert_eq(pv_descriptors_divide(&d, PV_DESCRIPTORS_MIN - 1), PV_E_LIMIT);
    cr_assert_eq(pv_descriptors_divide(&d, PV_DESCRIPTORS_MIN), PV_OK);
}

Test(descriptors, shares_never_exceed_the_limit_and_grow_with_it)
{
    struct pv_descriptors before = {0}, d;
    for (unsigned limit = PV_DESCRIPTORS_MIN; limit <= OF_ALL; limit++) {
        cr_assert_eq(pv_descriptors_divide(&d, limit), PV_OK);
        cr_assert_leq(OWN + disk_of(&d) + d.clients + d.connections, limit);
        cr_assert_geq(d.blob_files, before.blob_files);
        cr_assert_geq(d.clients, 4);
        cr_assert_geq(d.connections, 4);
        before = d;
    }
    cr_assert_eq(d.blob_files, PV_COMMIT_BLOBS_MAX);
    cr_assert_eq(d.clients, PV_CONTROL_CLIENTS_MAX);
    cr_assert_eq(d.connections, PV_CONNECTIONS_MAX);
    cr_assert_eq(pv_descriptors_divide(&d, UINT64_MAX), PV_OK);
    cr_assert_eq(d.connections, PV_CONNECTIONS_MAX);
}

Test(descriptors, the_table_of_the_header_is_true)
{
    static const unsigned rows[][4] = {
        {64, 24, 4, 4}, {128, 32, 16, 48}, {256, 64, 40, 120}, {692, 84, 64, 512}};
    for (size_t i = 0; i < PV_COUNT(rows); i++) {
        struct pv_descriptors d;
        cr_assert_eq(pv_descriptors_divide(&d, rows[i][0]), PV_OK);
        cr_expect_eq(disk_of(&d), rows[i][1]);
        cr_expect_eq(d.clients, rows[i][2]);
        cr_expect_eq(d.connections, rows[i][3]);
    }
}

Test(descriptors, the_soft_limit_is_raised_as_far_as_it_helps)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_geq(limit.rlim_max, OF_ALL, "this machine allows as many as any other");
    limit.rlim_cur = 100;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(pv_descriptors_raise(), OF_ALL);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(limit.rlim_cur, OF_ALL);

    limit.rlim_cur = OF_ALL + 1; /* never lowered */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(pv_descriptors_raise(), OF_ALL + 1);

    limit.rlim_cur = 100;
    limit.rlim_max = 200;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(pv_descriptors_raise(), 200);
}
