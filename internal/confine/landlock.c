/*
 * A ruleset handles every right that the kernel knows and this file has a bit for, so that whatever
 * no rule grants is refused. The kernel says its version; later versions handle more.
 *
 * Version 1 cannot grant that a file moves between two folders, which is how each blob gets its
 * name: it is not used.
 */
#include "internal/confine/confine_private.h"

#include "internal/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the headers of Debian 12 (Linux 6.1) lack; from include/uapi/linux/landlock.h of 6.12. */
enum {
    FS_TRUNCATE = 1 << 14,        /* version 3 */
    FS_IOCTL_DEV = 1 << 15,       /* 5 */
    NET_BIND_TCP = 1 << 0,        /* 4 */
    SCOPE_ABSTRACT_UNIX = 1 << 0, /* 6 */
    SCOPE_SIGNAL = 1 << 1,        /* 6 */
    RULE_NET_PORT = 2,
};
struct ruleset {
    uint64_t fs, net, scoped;
};
struct net_port {
    uint64_t allowed, port;
};

enum {
    READ_ONLY = LANDLOCK_ACCESS_FS_READ_FILE,
    READ_WRITE = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE,
    SINCE_VERSION_1 = (LANDLOCK_ACCESS_FS_REFER << 1) - 1, /* and 2 */
    /* To move what somebody put into a blob's place to quarantine takes the right to make such a
     * thing there. That links, pipes and devices are not made is seen to by seccomp. */
    IN_VAULT = (SINCE_VERSION_1 & ~LANDLOCK_ACCESS_FS_EXECUTE) | FS_TRUNCATE,
};

static const char *const read_only[] = {
    /* host names, and libraries that are loaded when a name needs them */
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf",
    "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/etc/ld.so.cache", "/lib",
    "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib",
    /* how many threads are worth it, and chance */
    "/sys/devices/system/cpu/online", "/dev/urandom"};

static int allow_below(int ruleset, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    return rc == 0 ? 0 : errno;
}

/* What is not there, or cannot be reached, needs no rule. */
static int allow_path(int ruleset, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int error = allow_below(ruleset, fd, access);
    (void)close(fd);
    return error;
}

static int allow_port(int ruleset, uint16_t port)
{
    struct net_port rule = {.allowed = NET_BIND_TCP, .port = port};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) == 0 ? 0 : errno;
}

static int fill(int fd, const struct ruleset *r, const struct pv_confine_config *config)
{
    int error = allow_below(fd, config->vault, IN_VAULT & r->fs);
    for (size_t i = 0; i < PV_COUNT(read_only) && error == 0; i++)
        error = allow_path(fd, read_only[i], READ_ONLY);
    if (error == 0)
        error = allow_path(fd, "/dev/null", READ_WRITE);
    if (error == 0 && geteuid() != 0)
        error = allow_path(fd, "/etc", READ_ONLY);
    if (error == 0 && r->net != 0)
        error = allow_port(fd, config->port);
    return error;
}

int pv_confine_landlock(const struct pv_confine_config *config, unsigned *version)
{
    long known = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (known < 2)
        return known < 0 ? errno : EOPNOTSUPP;
    struct ruleset r = {.fs = SINCE_VERSION_1};
    r.fs |= known >= 3 ? FS_TRUNCATE : 0;
    r.fs |= known >= 5 ? FS_IOCTL_DEV : 0;
    r.net = known >= 4 ? NET_BIND_TCP : 0;
    if (known >= 6)
        r.scoped = SCOPE_SIGNAL | (config->abstract_sockets ? 0 : SCOPE_ABSTRACT_UNIX);
    /* An older kernel takes a longer struct whose end is zero. */
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof r, 0);
    if (fd < 0)
        return errno;
    int error = fill(fd, &r, config);
    if (error == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        error = errno;
    (void)close(fd);
    if (error == 0)
        *version = (unsigned)known;
    return error;
}
