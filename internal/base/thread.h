/* Starting threads. */
#ifndef PV_BASE_THREAD_H
#define PV_BASE_THREAD_H

#include <stdbool.h>

#include <pthread.h>

/* Starts a thread that gets no signals: those belong to the loop's. False: the system has none. */
bool pv_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
