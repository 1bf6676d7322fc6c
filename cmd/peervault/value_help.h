/* What `help` says of the commands about values, and of the shell; apart, because the table has its
 * limits. */
#ifndef PV_CMD_VALUE_HELP_H
#define PV_CMD_VALUE_HELP_H

extern const char pv_set_details[], pv_set_json[], pv_set_examples[];
extern const char pv_value_json[], pv_value_examples[];
extern const char pv_unset_details[], pv_unset_json[], pv_unset_examples[];
extern const char pv_undo_details[], pv_undo_json[], pv_undo_examples[];
extern const char pv_watch_details[], pv_watch_json[], pv_watch_examples[];
extern const char pv_shell_details[], pv_shell_examples[];

#endif
