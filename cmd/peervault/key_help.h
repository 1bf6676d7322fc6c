/* What `help` says of the commands about secrets; apart, because the table has its limits. */
#ifndef PV_CMD_KEY_HELP_H
#define PV_CMD_KEY_HELP_H

extern const char pv_init_details[], pv_init_examples[];
extern const char pv_invite_details[], pv_invite_examples[], pv_invite_confirm_details[],
    pv_join_details[];
extern const char pv_key_export_details[], pv_key_export_examples[], pv_key_import_details[],
    pv_key_list_details[], pv_key_list_json[], pv_key_rotate_details[], pv_token_rotate_details[],
    pv_token_rotate_json[];

#endif
