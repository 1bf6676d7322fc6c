#include "cmd/peervault/value_text.h"

#include "internal/base/id.h"

#include <stdio.h>
#include <string.h>

static const char letters[] = "\\\\t\tn\nr\r"; /* what is written, what it means */

static char letter_of(char byte)
{
    for (size_t i = 1; i < sizeof letters; i += 2)
        if (letters[i] == byte)
            return letters[i - 1];
    return '\0';
}

enum pv_err pv_append_value(struct pv_buf *out, const void *bytes, size_t len)
{
    const char *at = bytes;
    enum pv_err err = PV_OK;
    for (size_t i = 0, plain; err == PV_OK && i < len; i++) {
        for (plain = i; plain < len; plain++) {
            unsigned char byte = (unsigned char)at[plain];
            if (byte < 0x20 || byte == 0x7f || byte == '\\')
                break;
        }
        err = pv_buf_append(out, at + i, plain - i);
        i = plain;
        if (err != PV_OK || i == len)
            break;
        char letter = letter_of(at[i]);
        if (letter != '\0')
            err = pv_buf_append(out, (char[]){'\\', letter}, 2);
        else
            err = pv_buf_printf(out, "\\x%02x", (unsigned)(unsigned char)at[i]);
    }
    return err;
}

enum pv_err pv_value_unescape(char *text, size_t *len)
{
    size_t to = 0;
    for (size_t from = 0; from < *len; from++) {
        if (text[from] != '\\') {
            text[to++] = text[from];
            continue;
        }
        const char *letter = ++from < *len ? text + from : ""; /* the end is none of them */
        size_t i = 0;
        while (i < sizeof letters - 1 && letters[i] != *letter)
            i += 2;
        if (i < sizeof letters - 1) {
            text[to++] = letters[i + 1];
        } else if (*letter == 'x' && *len - from > 2 &&
                   pv_hex_decode(text + to, 1, text + from + 1, 2) == PV_OK) {
            to++;
            from += 2;
        } else {
            return PV_E_INVALID;
        }
    }
    *len = to;
    return PV_OK;
}
