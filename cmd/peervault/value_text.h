/*
 * Names and values as lines: NAME, a tab, VALUE. `ls --values` and `watch` write them, `set
 * --lines` reads them, and what is read is what was written. A backslash begins an escape: \\, \t,
 * \n, \r, \xHH (two hex digits). Written are escapes for these, for other control bytes, and for
 * nothing else.
 */
#ifndef PV_CMD_VALUE_TEXT_H
#define PV_CMD_VALUE_TEXT_H

#include "internal/base/buf.h"

PV_MUST enum pv_err pv_append_value(struct pv_buf *out, const void *bytes, size_t len);
/* Turns escapes back, in place. INVALID: an unknown one. */
PV_MUST enum pv_err pv_value_unescape(char *text, size_t *len);

#endif
