/*
 * Order: what takes privileges first (the bounding set), then the privileges, then files, then
 * calls, because each step forbids the ones before it.
 *
 * Capabilities are set by the raw system call: the library for them would be a dependency for two
 * calls. What is left is read back from the kernel, not remembered.
 */
#include "internal/confine/confine_private.h"

#include "internal/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PRIVILEGED_PORTS = 1024, CAPABILITIES_MAX = 64 };

#ifdef PV_INSTRUMENTED
static const bool instrumented = true;
#else
static const bool instrumented = false;
#endif

/* ---- capabilities ---- */

static uint64_t permitted(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) != 0)
        return UINT64_MAX;
    return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static void set_capabilities(uint64_t permit, uint64_t effective)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].permitted = (uint32_t)(permit >> 32 * i);
        data[i].effective = (uint32_t)(effective >> 32 * i);
    }
    (void)syscall(SYS_capset, &header, data); /* what is left is asked for afterwards */
}

/* With the capabilities in effect: EACCES is the one answer that one of them would change. */
static bool can_work_in(const struct pv_confine_config *config)
{
    static const struct {
        const char *name;
        int mode;
    } parts[] = {{".", R_OK | W_OK | X_OK},
                 {"blobs", R_OK | W_OK | X_OK},
                 {"vault.db", R_OK | W_OK},
                 {"keyring", R_OK},
                 {"peervault.conf", R_OK}};
    int fd = open(config->vault_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno != EACCES;
    (void)close(fd);
    for (size_t i = 0; i < PV_COUNT(parts); i++)
        if (faccessat(config->vault, parts[i].name, parts[i].mode, AT_EACCESS) != 0 &&
            errno == EACCES)
            return false;
    return true;
}

static void drop_capabilities(const struct pv_confine_config *config)
{
    uint64_t had = permitted(), left = 0;
    if (had == 0) /* nothing to drop, and a filter of system calls may refuse to try */
        return;
    if (config->port != 0 && config->port < PRIVILEGED_PORTS)
        left |= had & UINT64_C(1) << CAP_NET_BIND_SERVICE;
    set_capabilities(had, left);
    if (!can_work_in(config))
        left |= had & UINT64_C(1) << CAP_DAC_OVERRIDE;
    set_capabilities(had, had);
    /* Fails without CAP_SETPCAP, and beyond the last capability: what is not there cannot come. */
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
        if ((left >> i & 1) == 0)
            (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    set_capabilities(left, left);
}

/* ---- all of it ---- */

void pv_confine(struct pv_confined *out, const struct pv_confine_config *config)
{
    *out = (struct pv_confined){.wanted = true};
    (void)umask(077);
    tzset(); /* the C library reads a file at the first date; ours are UTC, but it asks all the same
              */
    drop_capabilities(config);
    out->capabilities = permitted();
    out->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (!instrumented) {
        out->landlock_errno = pv_confine_landlock(config, &out->landlock);
        out->seccomp_errno = pv_confine_calls();
        out->seccomp = out->seccomp_errno == 0;
    }
}

void pv_confine_no_dumps(void)
{
    const struct rlimit none = {0, 0};
    if (instrumented)
        return;
    /* Neither can fail. */
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void pv_confine_forget(const char *variable)
{
    char *value = getenv(variable);
    if (value == NULL)
        return;
    pv_wipe(value, strlen(value));
    (void)unsetenv(variable);
}

/* ---- in words ---- */

static const char *capability_text(uint64_t left, char text[static 32])
{
    static const struct {
        unsigned bit;
        const char *name;
    } kept[] = {{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
                {CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"}};
    if (left == 0)
        return "no capabilities";
    for (size_t i = 0; i < PV_COUNT(kept); i++)
        if (left == UINT64_C(1) << kept[i].bit) {
            (void)snprintf(text, 32, "%s", kept[i].name);
            return text;
        }
    (void)snprintf(text, 32, "capabilities %#llx", (unsigned long long)left);
    return text;
}

static const char *reason(int error)
{
    if (instrumented)
        return "an instrumented build";
    return error == ENOSYS || error == EOPNOTSUPP ? "not in this kernel" : strerror(error);
}

void pv_confined_text(char text[static PV_CONFINED_TEXT_MAX], const struct pv_confined *c)
{
    char landlock[64] = "", seccomp[64] = "seccomp", capabilities[32];
    if (!c->wanted) {
        (void)snprintf(text, PV_CONFINED_TEXT_MAX, "no (confine = off)");
        return;
    }
    if (c->landlock != 0)
        (void)snprintf(landlock, sizeof landlock, "landlock %u", c->landlock);
    else
        (void)snprintf(landlock, sizeof landlock, "no landlock (%s)", reason(c->landlock_errno));
    if (!c->seccomp)
        (void)snprintf(seccomp, sizeof seccomp, "no seccomp (%s)", reason(c->seccomp_errno));
    (void)snprintf(text, PV_CONFINED_TEXT_MAX, "%s, %s, %s, %s", landlock, seccomp,
                   c->no_new_privs ? "no new privileges" : "new privileges possible",
                   capability_text(c->capabilities, capabilities));
}

bool pv_confined_fully(const struct pv_confined *c)
{
    return !c->wanted || instrumented || (c->landlock != 0 && c->seccomp && c->no_new_privs);
}
