/* The division, and the two system calls. What each share is for stands with its constant. */
#include "internal/server/descriptors.h"

#include "internal/server/pool.h"

#include <stdbool.h>
#include <sys/resource.h>

enum {
    /* Standard streams, folder, lock, loop (6), database (10), libuv's spare, two listeners with
     * a connection each that is not taken yet, four names being looked up, the service manager. */
    OWN = 32,
    /* Each thread of the pool reads one; records.bak, a folder being synced and one being listed,
     * and the committer reading a blob it is to replace. */
    READS = PV_POOL_THREADS_MAX + 4,
    DISK_MIN = READS + 4,
    DISK_MAX = READS + PV_COMMIT_BLOBS_MAX,
    CLIENTS_MIN = 4,
    CONNECTIONS_MIN = 4,
    ALL = OWN + DISK_MAX + PV_CONTROL_CLIENTS_MAX + PV_CONNECTIONS_MAX,
};
_Static_assert((int)PV_DESCRIPTORS_MIN == OWN + DISK_MIN + CLIENTS_MIN + CONNECTIONS_MIN,
               "what is told to users");

static unsigned between(unsigned low, unsigned value, unsigned high)
{
    return value < low ? low : value > high ? high : value;
}

enum pv_err pv_descriptors_divide(struct pv_descriptors *out, uint64_t limit)
{
    if (limit < PV_DESCRIPTORS_MIN)
        return PV_E_LIMIT;
    unsigned all = limit < ALL ? (unsigned)limit : ALL;
    unsigned disk = between(DISK_MIN, all / 4, DISK_MAX);
    unsigned rest = all - OWN - disk;
    unsigned clients = between(CLIENTS_MIN, rest / 4, PV_CONTROL_CLIENTS_MAX);
    *out = (struct pv_descriptors){
        .blob_files = disk - READS,
        .clients = clients,
        .connections = between(CONNECTIONS_MIN, rest - clients, PV_CONNECTIONS_MAX),
    };
    return PV_OK;
}

uint64_t pv_descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < ALL && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max < ALL ? limit.rlim_max : ALL;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur;
}
