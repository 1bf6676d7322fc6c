/* They are started, wait until the last one has been, and end. */
#include "internal/server/threads.h"
#include "internal/base/err.h"

#include <pthread.h>
#include <signal.h>

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
    sigset_t all, before;
    PV_ASSERT(count <= PV_COUNT(threads));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the loop's thread */
    pthread_mutex_lock(&gate);
    while (started < count && pthread_create(&threads[started], NULL, wait_for_all, &gate) == 0)
        started++;
    pthread_mutex_unlock(&gate);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started == count;
}
