/*
 * Threads that libuv starts later, when the first name is looked up. It ends the process when it
 * cannot, so whether it could is tried at the start, where a person can be told.
 */
#ifndef PV_SERVER_THREADS_H
#define PV_SERVER_THREADS_H

#include <stdbool.h>

enum { PV_UV_THREADS = 4 }; /* libuv's own number, without UV_THREADPOOL_SIZE */

/* Whether count more threads may run at once now. */
bool pv_threads_room(unsigned count);

#endif
