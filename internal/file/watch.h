/*
 * watch: who is told what names come to mean, whoever wrote it.
 *
 * Every record of a name that a commit made current is a change. Nobody waits for a watcher: what
 * it does not read in time is counted, and it is told how many changes it missed. Loop thread.
 */
#ifndef PV_FILE_WATCH_H
#define PV_FILE_WATCH_H

#include "internal/base/err.h"

struct pv_files;
struct pv_watching;
struct pv_commit;

PV_MUST enum pv_err pv_watching_new(struct pv_watching **out, struct pv_files *f);
void pv_watching_free(struct pv_watching *w); /* accepts NULL; nobody watches, no job runs */
void pv_watching_committed(struct pv_watching *w, const struct pv_commit *c);

#endif
