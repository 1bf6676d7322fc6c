/*
 * The identity file and people's form of a node id.
 *
 * Check digits are computed in GF(32), the field of 32 elements, with a = x modulo x^5 + x^2 + 1:
 * the check digit is g + a^4 d0 + a^3 d1 + a^2 d2 + a d3, where g is the number of the group (0 to
 * 12) and + is exclusive or. In a prime field 32 digits do not fit 31 values. Here the weights
 * a^4, a^3, a^2, a and 1 (of the check digit itself) are different and not zero, so every change of
 * one digit and every exchange of two digits of a group changes the sum.
 */
#include "crypto/identity.h"

#include "crypto/secret_file.h"
#include "internal/base/mem.h"
#include <string.h>
#include <strings.h>

enum { MAGIC_LEN = 8, BODY_LEN = MAGIC_LEN + PV_SEED_LEN, FILE_LEN = BODY_LEN + PV_HASH_LEN };
enum { GROUPS = 13, GROUP_DIGITS = 4, GROUP_LEN = GROUP_DIGITS + 2 };
enum { ID_DIGITS = GROUPS * GROUP_DIGITS };

static const uint8_t magic[MAGIC_LEN] = {'P', 'V', 'I', '1', 0, 0, 0, 0};
static const char file_name[] = "identity";
static const char digits32[] = "abcdefghijklmnopqrstuvwxyz234567";

void pv_node_id_of(struct pv_id *node_id, const uint8_t pub[static PV_PUB_LEN])
{
    pv_sha256(node_id->b, pub, PV_PUB_LEN);
}

static void identity_from_seed(struct pv_identity *out, const uint8_t seed[static PV_SEED_LEN])
{
    memcpy(out->seed, seed, PV_SEED_LEN);
    pv_ed25519_public(out->pub, seed);
    pv_node_id_of(&out->node_id, out->pub);
}

enum pv_err pv_identity_create(struct pv_identity *out, const struct pv_fs *fs, pv_fd vault,
                               const struct pv_env *env)
{
    uint8_t file[FILE_LEN];
    struct pv_fs_stat st;
    enum pv_err err = fs->stat_at(fs->ctx, vault, file_name, &st);
    if (err == PV_OK)
        return PV_E_EXISTS;
    if (err != PV_E_NOT_FOUND)
        return err;
    memcpy(file, magic, MAGIC_LEN);
    pv_env_random(env, file + MAGIC_LEN, PV_SEED_LEN);
    pv_sha256(file + BODY_LEN, file, BODY_LEN);
    err = pv_secret_file_write(fs, vault, file_name, "identity.tmp", file, sizeof file);
    if (err == PV_OK)
        identity_from_seed(out, file + MAGIC_LEN);
    pv_wipe(file, sizeof file);
    return err;
}

enum pv_err pv_identity_load(struct pv_identity *out, const struct pv_fs *fs, pv_fd vault)
{
    uint8_t file[FILE_LEN], hash[PV_HASH_LEN];
    size_t len = 0;
    enum pv_err err = pv_secret_file_read(fs, vault, file_name, file, sizeof file, &len);
    if (err != PV_OK)
        goto out;
    pv_sha256(hash, file, BODY_LEN);
    if (len != FILE_LEN || memcmp(file, magic, MAGIC_LEN) != 0 ||
        !pv_secret_equal(hash, file + BODY_LEN, PV_HASH_LEN))
        err = PV_E_CORRUPT;
    else
        identity_from_seed(out, file + MAGIC_LEN);
out:
    pv_wipe(file, sizeof file);
    pv_wipe(hash, sizeof hash);
    return err;
}

void pv_identity_wipe(struct pv_identity *id)
{
    pv_wipe(id, sizeof *id);
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    const char *p = c != '\0' ? strchr(digits32, c) : NULL;
    return p != NULL ? (int)(p - digits32) : -1;
}

/* Times x in GF(32). */
static unsigned gf32_double(unsigned v)
{
    v <<= 1;
    return v & 32 ? v ^ 37 : v; /* 37 = x^5 + x^2 + 1 */
}

/* The digits are known to be valid. */
static char check_digit(const char *group, unsigned number)
{
    unsigned sum = 0;
    for (size_t i = 0; i < GROUP_DIGITS; i++)
        sum = gf32_double(sum ^ (unsigned)digit_value(group[i]));
    return digits32[sum ^ number];
}

void pv_node_id_format(char out[static PV_NODE_TEXT_LEN], const struct pv_id *node_id)
{
    char text[ID_DIGITS + 1];
    pv_base32_encode(text, sizeof text, node_id->b, PV_ID_LEN);
    for (unsigned g = 0; g < GROUPS; g++) {
        char *group = out + (size_t)g * GROUP_LEN;
        memcpy(group, text + (size_t)g * GROUP_DIGITS, GROUP_DIGITS);
        group[GROUP_DIGITS] = check_digit(group, g);
        group[GROUP_DIGITS + 1] = g + 1 < GROUPS ? '-' : '\0';
    }
}

enum pv_err pv_node_id_parse(struct pv_id *out, const char *text)
{
    char digits[ID_DIGITS];
    size_t len = strnlen(text, PV_NODE_TEXT_LEN);
    if (len == PV_ID_HEX_LEN)
        return pv_id_parse(out, text);
    if (len != PV_NODE_TEXT_LEN - 1)
        return PV_E_INVALID;
    for (unsigned g = 0; g < GROUPS; g++) {
        const char *group = text + (size_t)g * GROUP_LEN;
        for (size_t i = 0; i <= GROUP_DIGITS; i++)
            if (digit_value(group[i]) < 0)
                return PV_E_INVALID;
        if (digit_value(group[GROUP_DIGITS]) != digit_value(check_digit(group, g)) ||
            group[GROUP_DIGITS + 1] != (g + 1 < GROUPS ? '-' : '\0'))
            return PV_E_INVALID;
        memcpy(digits + (size_t)g * GROUP_DIGITS, group, GROUP_DIGITS);
    }
    return pv_base32_decode(out->b, PV_ID_LEN, digits, sizeof digits);
}

bool pv_node_id_begins(const struct pv_id *node_id, const char *beginning)
{
    char text[PV_NODE_TEXT_LEN], hex[PV_ID_HEX_LEN + 1];
    size_t len = strlen(beginning);
    pv_node_id_format(text, node_id);
    pv_id_hex(hex, node_id);
    return strncasecmp(text, beginning, len) == 0 || strncasecmp(hex, beginning, len) == 0;
}
