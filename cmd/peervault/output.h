/*
 * What people and scripts read: error lines, names that are safe to show, and numbers in words.
 *
 * Results go to stdout (stdio, flushed by whoever wrote), everything else to stderr. An error is
 * one line, "peervault: what went wrong: what to do about it"; control characters in it are
 * escaped, because names of files and texts of peers stand in it.
 */
#ifndef PV_CMD_OUTPUT_H
#define PV_CMD_OUTPUT_H

#include "internal/base/buf.h"
#include "internal/exit.h"
#include <jansson.h>
#include <stdbool.h>

/* One line on stderr, escaped. say returns exit, for `return pv_out_fail(PV_EXIT_..., ...)`. */
void pv_out_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
enum pv_exit pv_out_fail(enum pv_exit exit, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
enum pv_exit pv_out_no_memory(void);

/* Flushes stdout. FAILED with a line, when it could not be written (closed pipe, full disk). */
enum pv_exit pv_out_flush(void);

/* One object as one line of stdout; object is stolen. */
enum pv_exit pv_out_json(json_t *object);

/* What the whole call exits with, when several things were done: the single cause, else 1. */
void pv_exit_add(enum pv_exit *all, enum pv_exit one);

/* Control characters as \xNN: bytes below 0x20, 0x7f, and U+0080..U+009F. */
PV_MUST enum pv_err pv_append_escaped(struct pv_buf *out, const char *text, size_t len);

/*
 * The line of sha256sum without its newline: "<hex>  <name>", or, when name has a backslash, a
 * newline or a carriage return in it, "\<hex>  <name>" with those as \\, \n and \r.
 */
PV_MUST enum pv_err pv_append_sum_line(struct pv_buf *out, const char *hex, const char *name);

/* A name for a table: as it is, or escaped when it goes to a terminal. */
void pv_out_name(const char *name, size_t len, bool terminal);

enum { PV_SIZE_TEXT_MAX = 24, PV_TIME_TEXT_MAX = 32 };
void pv_size_text(char out[static PV_SIZE_TEXT_MAX], uint64_t bytes);   /* "1.5 MiB" */
void pv_duration_text(char out[static PV_TIME_TEXT_MAX], uint64_t ms);  /* "2m 05s" */
void pv_date_text(char out[static PV_TIME_TEXT_MAX], uint64_t unix_ms); /* local time */

#endif
