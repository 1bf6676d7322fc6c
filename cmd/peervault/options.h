/*
 * The options of each command, which the table of commands points to. Each array ends with a NULL
 * name.
 */
#ifndef PV_CMD_OPTIONS_H
#define PV_CMD_OPTIONS_H

#include "cmd/peervault/args.h"

extern const struct pv_option pv_init_options[];
extern const struct pv_option pv_key_export_options[], pv_key_rotate_options[];
extern const struct pv_option pv_daemon_options[];
extern const struct pv_option pv_store_options[];
extern const struct pv_option pv_get_options[];
extern const struct pv_option pv_ls_options[];
extern const struct pv_option pv_set_options[];
extern const struct pv_option pv_unset_options[];
extern const struct pv_option pv_undo_options[];
extern const struct pv_option pv_where_options[];
extern const struct pv_option pv_rm_options[];
extern const struct pv_option pv_restore_options[];
extern const struct pv_option pv_gc_options[];
extern const struct pv_option pv_status_options[];
extern const struct pv_option pv_verify_options[];
extern const struct pv_option pv_doctor_options[];
extern const struct pv_option pv_allow_options[];
extern const struct pv_option pv_block_options[];
extern const struct pv_option pv_invite_options[];
extern const struct pv_option pv_rotate_options[];
extern const struct pv_option pv_join_options[];
extern const struct pv_option pv_ping_options[];
extern const struct pv_option pv_demo_options[];

#endif
