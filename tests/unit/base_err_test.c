#include "internal/base/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

TestSuite(err, .timeout = 10);

Test(err, every_error_has_a_name_and_a_text_of_its_own)
{
    for (int i = 0; i < PV_ERR_COUNT; i++) {
        cr_assert_gt(strlen(pv_err_name((enum pv_err)i)), 0);
        cr_assert_gt(strlen(pv_err_text((enum pv_err)i)), 0);
        for (int j = 0; j < i; j++) {
            cr_assert_str_neq(pv_err_name((enum pv_err)i), pv_err_name((enum pv_err)j));
            cr_assert_str_neq(pv_err_text((enum pv_err)i), pv_err_text((enum pv_err)j));
        }
    }
    cr_assert_str_eq(pv_err_name(PV_OK), "OK");
    cr_assert_str_eq(pv_err_name(PV_E_NOT_FOUND), "NOT_FOUND");
    cr_assert_str_eq(pv_err_text(PV_E_NOT_FOUND), "not found");
    cr_assert_str_eq(pv_err_name(PV_E_INTERNAL), "INTERNAL");
}

Test(err, a_value_outside_the_list_has_a_name_too)
{
    cr_assert_str_eq(pv_err_name(PV_ERR_COUNT), "UNKNOWN");
    cr_assert_str_eq(pv_err_text(PV_ERR_COUNT), "unknown error");
    cr_assert_str_eq(pv_err_name((enum pv_err)1000), "UNKNOWN");
}

Test(err, errno_is_converted_by_what_the_caller_does_about_it)
{
    static const struct {
        int error;
        enum pv_err err;
    } cases[] = {
        {ENOMEM, PV_E_NOMEM},
        {ENOSPC, PV_E_NOSPACE},
        {EDQUOT, PV_E_NOSPACE},
        {ENOENT, PV_E_NOT_FOUND},
        {EEXIST, PV_E_EXISTS},
        {EACCES, PV_E_AUTH},
        {EPERM, PV_E_AUTH},
        {ELOOP, PV_E_AUTH},
        {EMFILE, PV_E_LIMIT},
        {ETIMEDOUT, PV_E_TIMEOUT},
        {ECANCELED, PV_E_CANCELLED},
        {EPIPE, PV_E_CLOSED},
        {ECONNRESET, PV_E_CLOSED},
        {ENOSYS, PV_E_UNSUPPORTED},
        {EINVAL, PV_E_INVALID},
        {EWOULDBLOCK, PV_E_BUSY},
        {ECONNREFUSED, PV_E_UNAVAILABLE},
        {EIO, PV_E_IO},
        {EROFS, PV_E_IO},
        {0, PV_E_INTERNAL},
        {-1, PV_E_IO},
        {100000, PV_E_IO},
    };
    for (size_t i = 0; i < PV_COUNT(cases); i++)
        cr_assert_eq(pv_err_from_errno(cases[i].error), cases[i].err, "errno %d", cases[i].error);
}

Test(err, no_errno_becomes_success)
{
    for (int error = -10; error < 200; error++) {
        enum pv_err err = pv_err_from_errno(error);
        cr_assert(err != PV_OK && err < PV_ERR_COUNT, "errno %d", error);
    }
}

Test(err, a_failed_assertion_aborts, .signal = SIGABRT)
{
    int two = 2;
    PV_ASSERT(two == 2);
    PV_ASSERT(two == 3);
}

Test(err, container_of_finds_the_owner)
{
    struct owner {
        char before;
        int member;
    } o = {0};
    cr_assert_eq(PV_CONTAINER_OF(&o.member, struct owner, member), &o);
}
