/* The operations that clients ask for, by the files of this folder that answer them. */
#ifndef PV_FILE_FILES_PRIVATE_H
#define PV_FILE_FILES_PRIVATE_H

#include "internal/file/context.h"

/* Each takes over the request and answers it. */
void pv_ingest_start(struct pv_files *f, struct pv_request *rq);
void pv_retrieve_start(struct pv_files *f, struct pv_request *rq);
void pv_query_ls(struct pv_files *f, struct pv_request *rq);
void pv_query_stat(struct pv_files *f, struct pv_request *rq);
void pv_query_where(struct pv_files *f, struct pv_request *rq);
void pv_query_rm(struct pv_files *f, struct pv_request *rq);
void pv_query_status(struct pv_files *f, struct pv_request *rq);
void pv_query_restore(struct pv_files *f, struct pv_request *rq);
void pv_query_value(struct pv_files *f, struct pv_request *rq);
void pv_write_set(struct pv_files *f, struct pv_request *rq);
void pv_write_unset(struct pv_files *f, struct pv_request *rq);
void pv_write_undo(struct pv_files *f, struct pv_request *rq);
void pv_query_watch(struct pv_files *f, struct pv_request *rq);
void pv_query_history(struct pv_files *f, struct pv_request *rq);

#endif
