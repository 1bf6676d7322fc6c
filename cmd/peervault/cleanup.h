/*
 * What is to be taken back when SIGINT, SIGTERM or SIGHUP ends the process: temporary files.
 */
#ifndef PV_CMD_CLEANUP_H
#define PV_CMD_CLEANUP_H

/*
 * From now on those signals call clean, then take their course; a signal that was ignored (nohup)
 * stays so. clean may only do what a signal handler may. One a process, the same in every call.
 */
void pv_cleanup_on_signal(void (*clean)(void));

#endif
