/*
 * The one table of commands. The parser, `help` and `help COMMAND` are driven by it, and so can be
 * whatever else needs to know the commands.
 */
#ifndef PV_CMD_COMMANDS_H
#define PV_CMD_COMMANDS_H

#include "cmd/peervault/cli.h"

enum { PV_WORDS_ANY = 1 << 20 };

struct pv_command {
    const char *name;                /* one word, or two: "key export" */
    const char *arguments;           /* "FILE... | -"; "" for none */
    const char *help;                /* one line, no full stop */
    const char *details;             /* lines of text; NULL: nothing more to say */
    const char *json;                /* what --json prints; NULL: nothing */
    const char *examples;            /* lines; NULL: none */
    const struct pv_option *options; /* of its own; NULL: none */
    size_t words_min, words_max;
    bool may_be_empty; /* a word of it */
    bool vaultless;    /* works where nothing says where a vault is */
    enum pv_exit (*run)(const struct pv_cli *cli, const struct pv_args *args);
};

extern const struct pv_command pv_commands[]; /* ends with a NULL name */
extern const struct pv_option pv_global_options[];

/*
 * The command whose name is words[0], or words[0] and words[1]; *used words name it (1 or 2).
 * NULL: none.
 */
const struct pv_command *pv_command_find(const char *const *words, size_t count, size_t *used);
/* Whether some command has this first word and needs a second one: "key". */
bool pv_command_needs_second(const char *word);

enum pv_exit pv_cmd_init(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_daemon(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_store(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_get(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_ls(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_where(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_stat(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_rm(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_restore(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_set(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_value(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_unset(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_undo(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_watch(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_shell(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_gc(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_status(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_peers(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_peers_allow(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_peers_block(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_peers_forget(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_peers_drain(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_invite(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_invite_confirm(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_join(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_ping(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_verify(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_doctor(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_id(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_key_export(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_key_import(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_key_list(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_key_rotate(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_token_rotate(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_token_new(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_config_show(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_config_check(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_install_service(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_uninstall_service(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_demo(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_version(const struct pv_cli *cli, const struct pv_args *args);
enum pv_exit pv_cmd_help(const struct pv_cli *cli, const struct pv_args *args);

/* `peervault help` and `peervault help COMMAND` as text on stdout. */
enum pv_exit pv_help_all(void);
enum pv_exit pv_help_command(const struct pv_command *command);

#endif
