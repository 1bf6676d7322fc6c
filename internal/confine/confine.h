/*
 * Self-confinement: what the daemon gives up before the first byte from outside arrives, so that
 * whoever takes it over through a bug in it gets little more than its vault.
 *
 *   privileges    no_new_privs, and every capability dropped, from the bounding set too. Two are
 *                 kept where the daemon needs them: CAP_NET_BIND_SERVICE for a port below 1024,
 *                 CAP_DAC_OVERRIDE for root with a vault that is somebody else's, or lies behind
 *                 somebody else's folder.
 *   landlock      files: the vault and all below it; besides, read-only, what looking up host names
 *                 takes (the files of the resolver and libraries), /dev/urandom and /dev/null. No
 *                 execution, and no ioctls of devices. No TCP port but the one
 *                 listened on, no signals to and no abstract sockets of processes outside.
 *   seccomp       a list of the system calls that program and libraries use (calls.c has it);
 *                 sockets are of the families UNIX, INET, INET6 and NETLINK only, nothing becomes
 *                 executable that was writable, threads but no processes. Any other call fails with
 *                 EPERM; one that only an intruder makes (execve, ptrace, mount, bpf,
 *                 ...) kills the process.
 *
 * All of it holds for the calling thread and those it makes from then on, and is never taken back:
 * call it while there is one thread. What the kernel, or whatever the daemon itself was started by,
 * does not allow is left out, and struct pv_confined says so; the daemon works without.
 *
 * What is known by path is found once: rules hold for files, not for names. A file of the resolver
 * that is replaced, not rewritten, is another file. Where the daemon is not root's it may therefore
 * read all of /etc that everybody may read; as root, with /etc/shadow there, it may not, and does
 * not see such a new file before it is started again. Host names known from /run/systemd/resolve,
 * /run/resolvconf and /run/NetworkManager stay known in both cases.
 *
 * Only the daemon is confined. A command that works without one has the server in its own process
 * and opens the user's files there; its secrets are kept from core dumps only.
 *
 * A build with instruments (sanitizers, coverage) opens files and traces itself: there landlock,
 * seccomp and the ban on dumps are left out.
 */
#ifndef PV_CONFINE_H
#define PV_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PV_CONFINED_TEXT_MAX = 200 };

struct pv_confine_config {
    int vault;              /* an open handle of its folder */
    const char *vault_path; /* the same */
    uint16_t port;          /* that will be listened on; 0: any free one */
    bool abstract_sockets;  /* some outside have to be reached (NOTIFY_SOCKET=@...) */
};

struct pv_confined {       /* what is in force; zeroed: nothing */
    bool wanted;           /* by the settings */
    unsigned landlock;     /* its version; 0: not in force */
    bool seccomp;          /* likewise */
    bool no_new_privs;     /* likewise */
    uint64_t capabilities; /* that are left: bit n is capability n */
    int landlock_errno;    /* why it is not in force: an errno; 0: it is, or was not tried */
    int seccomp_errno;
};

/* Confines the process, as far as it can be. umask becomes 077. */
void pv_confine(struct pv_confined *out, const struct pv_confine_config *config);

/* No core dumps of this process, and no other of its user may look into it. For main(). */
void pv_confine_no_dumps(void);

/* Overwrites the value of an environment variable where it came to the process, and unsets it. */
void pv_confine_forget(const char *variable);

/* "landlock 7, seccomp, no new privileges, no capabilities", with what is missing and why. */
void pv_confined_text(char text[static PV_CONFINED_TEXT_MAX], const struct pv_confined *c);

/* Nothing is missing that there could be. */
bool pv_confined_fully(const struct pv_confined *c);

#endif
