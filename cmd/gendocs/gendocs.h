/*
 * Writes what users read from the tables that the program itself runs on, so that they cannot
 * drift apart: run while building, never installed.
 *
 *   man1, conf5         manual pages (groff's man macros) of the commands and of the settings
 *   bash, zsh, fish     completions
 *
 * Output goes to stdout through stdio; main looks for its errors once.
 */
#ifndef PV_CMD_GENDOCS_H
#define PV_CMD_GENDOCS_H

#include "cmd/peervault/commands.h"

void pv_man_commands(void);
void pv_man_settings(void);

void pv_complete_bash(void);
void pv_complete_zsh(void);
void pv_complete_fish(void);

/* What completes a value or an argument, by its name in the table. */
enum pv_values {
    PV_VALUES_NONE,
    PV_VALUES_FILES,
    PV_VALUES_FOLDERS,
    PV_VALUES_CHOICE,
    PV_VALUES_COMMANDS
};
enum pv_values pv_values_of(const char *name);

/* The first word of a command's name, its length, and whether it needs a second one. */
size_t pv_first_word(const struct pv_command *c);
bool pv_is_first_of_group(const struct pv_command *c);  /* or the only one with its first word */
bool pv_has_second_words(const struct pv_command *c);   /* the command, or others of its group */
const char *pv_second_word(const struct pv_command *c); /* NULL: none */

#endif
