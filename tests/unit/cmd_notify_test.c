/* Messages to a service manager, with a real datagram socket at the other end. */
#include "cmd/peervault/notify.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(notify, .timeout = 10);

/* A manager's socket; name[0] == '@': abstract. */
static int listen_at(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    memcpy(a.sun_path, name, len);
    if (name[0] == '@')
        a.sun_path[0] = '\0';
    socklen_t a_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, a_len), 0);
    return fd;
}

static void arrives(int fd, const char *expected)
{
    char got[256];
    ssize_t n = recv(fd, got, sizeof got, 0);
    cr_assert_eq(n, (ssize_t)strlen(expected));
    cr_assert_eq(memcmp(got, expected, strlen(expected)), 0);
}

/* The longest path that fits, with the zero byte that connect() of some systems wants. */
static void path_of_length(char *out, const char *folder, size_t len)
{
    int n = snprintf(out, len + 1, "%s/", folder);
    cr_assert(n > 0 && (size_t)n < len);
    memset(out + n, 'n', len - (size_t)n);
    out[len] = '\0';
}

Test(notify, a_path_and_an_abstract_name_are_reached)
{
    char folder[] = "/tmp/pv-notify-XXXXXX", path[sizeof(struct sockaddr_un)], abstract[64];
    const size_t len_max = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    cr_assert_not_null(mkdtemp(folder));
    path_of_length(path, folder, len_max);
    int fd = listen_at(path);
    cr_assert_eq(pv_notify_send(path, "READY=1\nSTATUS=here"), PV_OK);
    arrives(fd, "READY=1\nSTATUS=here");
    cr_assert_eq(pv_notify_send(path, "STOPPING=1"), PV_OK);
    arrives(fd, "STOPPING=1");
    close(fd);
    cr_assert_eq(pv_notify_send(path, "READY=1"), PV_E_NOT_FOUND); /* nobody reads there any more */
    unlink(path);
    cr_assert_eq(pv_notify_send(path, "READY=1"), PV_E_NOT_FOUND);
    rmdir(folder);

    snprintf(abstract, sizeof abstract, "@pv-notify-%ld", (long)getpid());
    fd = listen_at(abstract);
    cr_assert_eq(pv_notify_send(abstract, "READY=1"), PV_OK);
    arrives(fd, "READY=1");
    close(fd);
    cr_assert_eq(pv_notify_send(abstract, "READY=1"), PV_E_NOT_FOUND);
}

Test(notify, nobody_to_tell_is_no_error)
{
    cr_assert_eq(pv_notify_send(NULL, "READY=1"), PV_OK);
    cr_assert_eq(pv_notify_send("", "READY=1"), PV_OK);
}

Test(notify, addresses_of_other_kinds_are_refused)
{
    char path[sizeof(struct sockaddr_un) + 8];
    path_of_length(path, "/tmp", sizeof((struct sockaddr_un *)0)->sun_path);
    cr_assert_eq(pv_notify_send(path, "READY=1"), PV_E_INVALID);
    cr_assert_eq(pv_notify_send("run/notify", "READY=1"), PV_E_INVALID);
    cr_assert_eq(pv_notify_send("vsock:2:1234", "READY=1"), PV_E_INVALID);
    cr_assert_eq(pv_notify_send("/", "READY=1"), PV_E_INVALID);
    cr_assert_eq(pv_notify_send("@", "READY=1"), PV_E_INVALID);
}

Test(notify, a_receiver_that_does_not_read_ends_in_a_timeout)
{
    char abstract[64];
    enum pv_err err = PV_OK;
    snprintf(abstract, sizeof abstract, "@pv-notify-full-%ld", (long)getpid());
    int fd = listen_at(abstract);
    for (int i = 0; err == PV_OK && i < 100000; i++)
        err = pv_notify_send(abstract, "STATUS=full");
    cr_assert_eq(err, PV_E_TIMEOUT);
    close(fd);
}
