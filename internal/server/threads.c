/* They are started, wait until the last one has been, and end. */
#include "internal/server/threads.h"
#include "internal/base/err.h"
#include "internal/base/thread.h"

static void *wait_for_all(void *arg)
{
    pthread_mutex_t *gate = arg;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

bool pv_threads_room(unsigned count)
{
    pthread_t threads[PV_UV_THREADS];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    unsigned started = 0;
    PV_ASSERT(count <= PV_COUNT(threads));
    pthread_mutex_lock(&gate);
    while (started < count && pv_thread_start(&threads[started], wait_for_all, &gate))
        started++;
    pthread_mutex_unlock(&gate);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started == count;
}
