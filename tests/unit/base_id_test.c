#include "internal/base/id.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

TestSuite(id, .timeout = 10);

Test(id, hex_round_trips_every_byte)
{
    uint8_t all[256], back[256];
    char text[513];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    pv_hex_encode(text, all, sizeof all);
    cr_assert_eq(strlen(text), 512);
    cr_assert_eq(memcmp(text, "000102030405060708090a0b", 24), 0);
    cr_assert_eq(pv_hex_decode(back, sizeof back, text, 512), PV_OK);
    cr_assert_eq(memcmp(all, back, sizeof all), 0);
    pv_hex_encode(text, all, 0);
    cr_assert_str_eq(text, "");
    cr_assert_eq(pv_hex_decode(back, 0, "", 0), PV_OK);
}

Test(id, hex_takes_either_case_and_nothing_else)
{
    uint8_t b[2] = {7, 7};
    cr_assert_eq(pv_hex_decode(b, 2, "aBCd", 4), PV_OK);
    cr_assert(b[0] == 0xab && b[1] == 0xcd);
    for (int c = 0; c < 256; c++) {
        bool digit = c < 128 && strchr("0123456789abcdefABCDEF", c) != NULL && c != 0;
        for (size_t at = 0; at < 4; at++) {
            char text[4] = {'0', '0', '0', '0'};
            text[at] = (char)c;
            memset(b, 7, sizeof b);
            cr_assert_eq(pv_hex_decode(b, 2, text, 4), digit ? PV_OK : PV_E_INVALID);
            if (!digit)
                cr_assert(b[0] == 7 && b[1] == 7, "touched on error");
        }
    }
}

Test(id, hex_length_is_exact)
{
    uint8_t b[2];
    for (size_t len = 0; len <= 8; len++)
        cr_assert_eq(pv_hex_decode(b, 2, "01234567", len), len == 4 ? PV_OK : PV_E_INVALID);
    cr_assert_eq(pv_hex_decode(b, SIZE_MAX, "0123", 4), PV_E_INVALID);
}

Test(id, ids_parse_print_and_compare)
{
    static const char hex[] = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef";
    struct pv_id a, b;
    char text[PV_ID_HEX_LEN + 1], part[PV_ID_HEX_LEN + 2];
    cr_assert_eq(pv_id_parse(&a, hex), PV_OK);
    pv_id_hex(text, &a);
    cr_assert_eq(strcasecmp(text, hex), 0);
    cr_assert_str_neq(text, hex); /* printed in lower case */
    b = a;
    cr_assert(pv_id_equal(&a, &b) && pv_id_cmp(&a, &b) == 0);
    b.b[31]++;
    cr_assert(!pv_id_equal(&a, &b) && pv_id_cmp(&a, &b) < 0 && pv_id_cmp(&b, &a) > 0);
    for (size_t len = 0; len < PV_ID_HEX_LEN; len++) {
        memcpy(part, hex, len);
        part[len] = '\0';
        cr_assert_eq(pv_id_parse(&b, part), PV_E_INVALID);
    }
    snprintf(part, sizeof part, "%s0", hex);
    cr_assert_eq(pv_id_parse(&b, part), PV_E_INVALID);
}

/* RFC 4648 section 10, in lower case and without padding. */
static const struct {
    const char *plain, *text;
} vectors[] = {
    {"", ""},
    {"f", "my"},
    {"fo", "mzxq"},
    {"foo", "mzxw6"},
    {"foob", "mzxw6yq"},
    {"fooba", "mzxw6ytb"},
    {"foobar", "mzxw6ytboi"},
};

Test(id, base32_matches_the_published_vectors)
{
    for (size_t i = 0; i < PV_COUNT(vectors); i++) {
        char text[16], plain[16] = {0};
        size_t len = strlen(vectors[i].plain);
        pv_base32_encode(text, strlen(vectors[i].text) + 1, vectors[i].plain, len);
        cr_assert_str_eq(text, vectors[i].text);
        cr_assert_eq(pv_base32_decode(plain, len, text, strlen(text)), PV_OK);
        cr_assert_str_eq(plain, vectors[i].plain);
    }
    char loud[4] = {0};
    cr_assert_eq(pv_base32_decode(loud, 3, "MZXW6", 5), PV_OK);
    cr_assert_str_eq(loud, "foo");
}

Test(id, base32_round_trips_every_length)
{
    uint8_t bytes[64], back[64];
    char text[128];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 201);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t text_len = (len * 8 + 4) / 5;
        pv_base32_encode(text, sizeof text, bytes, len);
        cr_assert_eq(strlen(text), text_len);
        cr_assert_eq(pv_base32_decode(back, len, text, text_len), PV_OK);
        cr_assert_eq(memcmp(bytes, back, len), 0);
        for (size_t cut = 0; cut < text_len; cut++)
            cr_assert_eq(pv_base32_decode(back, len, text, cut), PV_E_INVALID);
        text[text_len] = 'a';
        cr_assert_eq(pv_base32_decode(back, len, text, text_len + 1), PV_E_INVALID);
    }
}

Test(id, base32_refuses_strange_digits_and_unused_bits)
{
    uint8_t b[1] = {7};
    for (int c = 0; c < 256; c++) {
        char text[2] = {(char)c, 'a'};
        bool digit = c != 0 && c < 128 &&
                     strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567", c);
        cr_assert_eq(pv_base32_decode(b, 1, text, 2), digit ? PV_OK : PV_E_INVALID, "byte %d", c);
    }
    b[0] = 7;
    cr_assert_eq(pv_base32_decode(b, 1, "mz", 2), PV_E_INVALID); /* "my" with a stray bit */
    cr_assert_eq(b[0], 7);
    cr_assert_eq(pv_base32_decode(b, SIZE_MAX, "my", 2), PV_E_INVALID);
}
