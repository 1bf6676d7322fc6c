/*
 * The keyring as data, and its file.
 *
 * Loading reads the whole file into one buffer, takes it line by line into a local keyring, and
 * hands that out only when all of it is valid. Every line ends in a newline, so that a cut file is
 * noticed. Each key stands next to its kid, so that a mistyped digit is noticed too: without that
 * it would be another, valid key that opens nothing. What no such rule protects, times and
 * passphrases, the sum at the end does.
 */
#include "crypto/keyring.h"

#include "crypto/body.h"
#include "crypto/hash.h"
#include "crypto/secret_file.h"
#include "internal/base/mem.h"
#include "internal/base/wr.h"
#include <stdio.h>
#include <string.h>

enum {
    KEY_HEX_LEN = 2 * PV_KEY_LEN,
    KID_HEX_LEN = 2 * PV_KID_LEN,
    SUM_LINE_LEN = 4 + 2 * PV_HASH_LEN + 1,
    FILE_LEN_MAX = 16384, /* 16 keys of <= 130 bytes, 2 tokens of <= 1055, 32 invites of <= 153 */
};

static const char file_name[] = "keyring";
static const char first_line[] = "peervault-keyring 1", sum_word[] = "sum ";
static const char *const state_names[] = {
    [PV_KEY_ACTIVE] = "active",
    [PV_KEY_STAGED] = "staged",
    [PV_KEY_READ_ONLY] = "read-only",
    [PV_KEY_RETIRED] = "retired",
};

void pv_keyring_init(struct pv_keyring *k)
{
    memset(k, 0, sizeof *k);
}

void pv_keyring_wipe(struct pv_keyring *k)
{
    pv_wipe(k, sizeof *k);
}

/* ---- look-ups ------------------------------------------------------------------------------ */

static struct pv_keyring_key *entry_of(struct pv_keyring *k, const struct pv_kid *kid)
{
    for (size_t i = 0; i < k->key_count; i++)
        if (memcmp(k->keys[i].keys.kid.b, kid->b, PV_KID_LEN) == 0)
            return &k->keys[i];
    return NULL;
}

const char *pv_key_state_name(enum pv_key_state state)
{
    return state_names[state];
}

const struct pv_cluster_keys *pv_keyring_active(const struct pv_keyring *k)
{
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state == PV_KEY_ACTIVE)
            return &k->keys[i].keys;
    return NULL;
}

const struct pv_cluster_keys *pv_keyring_find(const struct pv_keyring *k, const struct pv_kid *kid)
{
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state != PV_KEY_RETIRED &&
            memcmp(k->keys[i].keys.kid.b, kid->b, PV_KID_LEN) == 0)
            return &k->keys[i].keys;
    return NULL;
}

const struct pv_cluster_keys *pv_keyring_dedup(const struct pv_keyring *k)
{
    return pv_keyring_find(k, &k->dedup_kid);
}

/* ---- changes ------------------------------------------------------------------------------- */

static void set_active(struct pv_keyring *k, struct pv_keyring_key *entry)
{
    for (size_t i = 0; i < k->key_count; i++)
        if (k->keys[i].state == PV_KEY_ACTIVE)
            k->keys[i].state = PV_KEY_READ_ONLY;
    entry->state = PV_KEY_ACTIVE;
}

enum pv_err pv_keyring_add_key(struct pv_keyring *k, const uint8_t key[static PV_KEY_LEN],
                               enum pv_key_state state, uint64_t created_s)
{
    struct pv_cluster_keys keys;
    enum pv_err err = pv_cluster_keys_derive(&keys, key);
    for (size_t i = 0; err == PV_OK && i < k->token_count; i++)
        if (pv_token_is_key(k->tokens[i].text, key))
            err = PV_E_INVALID;
    if (err == PV_OK && entry_of(k, &keys.kid) != NULL)
        err = PV_E_EXISTS;
    if (err == PV_OK && k->key_count == PV_KEYRING_KEYS_MAX)
        err = PV_E_LIMIT;
    if (err != PV_OK)
        goto out;
    struct pv_keyring_key *entry = &k->keys[k->key_count++];
    entry->keys = keys;
    entry->state = state;
    entry->created_s = created_s;
    if (state == PV_KEY_ACTIVE) {
        set_active(k, entry);
        if (pv_keyring_dedup(k) == NULL)
            k->dedup_kid = keys.kid;
    }
out:
    pv_wipe(&keys, sizeof keys);
    return err;
}

enum pv_err pv_keyring_add_cluster_key(struct pv_keyring *k, const uint8_t key[static PV_KEY_LEN],
                                       uint64_t created_s)
{
    return pv_keyring_add_key(k, key, PV_KEY_ACTIVE, created_s);
}

enum pv_err pv_keyring_activate(struct pv_keyring *k, const struct pv_kid *kid)
{
    struct pv_keyring_key *entry = entry_of(k, kid);
    if (entry == NULL)
        return PV_E_NOT_FOUND;
    if (entry->state == PV_KEY_RETIRED)
        return PV_E_INVALID;
    set_active(k, entry);
    if (pv_keyring_dedup(k) == NULL)
        k->dedup_kid = *kid;
    return PV_OK;
}

enum pv_err pv_keyring_set_dedup(struct pv_keyring *k, const struct pv_kid *kid)
{
    if (pv_keyring_find(k, kid) == NULL)
        return PV_E_NOT_FOUND;
    k->dedup_kid = *kid;
    return PV_OK;
}

enum pv_err pv_keyring_retire(struct pv_keyring *k, const struct pv_kid *kid)
{
    struct pv_keyring_key *entry = entry_of(k, kid);
    const struct pv_cluster_keys *active = pv_keyring_active(k);
    if (entry == NULL)
        return PV_E_NOT_FOUND;
    if (entry->state == PV_KEY_ACTIVE || active == NULL)
        return PV_E_INVALID;
    entry->state = PV_KEY_RETIRED;
    if (pv_keyring_dedup(k) == NULL)
        k->dedup_kid = active->kid;
    return PV_OK;
}

enum pv_err pv_keyring_drop(struct pv_keyring *k, const struct pv_kid *kid)
{
    struct pv_keyring_key *entry = entry_of(k, kid);
    if (entry == NULL)
        return PV_E_NOT_FOUND;
    if (entry->state != PV_KEY_RETIRED)
        return PV_E_INVALID;
    size_t after = k->key_count - 1 - (size_t)(entry - k->keys);
    memmove(entry, entry + 1, after * sizeof *entry);
    k->key_count--;
    pv_wipe(&k->keys[k->key_count], sizeof k->keys[0]);
    return PV_OK;
}

/* Also what keeps a token on its own line of the file. */
static bool has_control_bytes(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static enum pv_err check_token(const struct pv_keyring *k, const char *token)
{
    bool weak;
    enum pv_err err = pv_token_check(token, &weak);
    if (err != PV_OK)
        return err;
    if (has_control_bytes(token))
        return PV_E_INVALID;
    for (size_t i = 0; i < k->key_count; i++)
        if (pv_token_is_key(token, k->keys[i].keys.cluster_key))
            return PV_E_INVALID;
    for (size_t i = 0; i < k->token_count; i++)
        if (strcmp(k->tokens[i].text, token) == 0)
            return PV_E_EXISTS;
    return PV_OK;
}

static void set_token(struct pv_keyring_token *slot, const char *token, uint64_t created_s)
{
    pv_wipe(slot, sizeof *slot);
    memcpy(slot->text, token, strlen(token)); /* checked: at most PV_TOKEN_LEN_MAX */
    slot->created_s = created_s;
}

enum pv_err pv_keyring_add_token(struct pv_keyring *k, const char *token, uint64_t created_s)
{
    enum pv_err err = check_token(k, token);
    if (err != PV_OK)
        return err;
    memmove(&k->tokens[1], &k->tokens[0], sizeof k->tokens - sizeof k->tokens[0]);
    set_token(&k->tokens[0], token, created_s);
    if (k->token_count < PV_KEYRING_TOKENS_MAX)
        k->token_count++;
    return PV_OK;
}

void pv_keyring_drop_old_tokens(struct pv_keyring *k)
{
    if (k->token_count > 1)
        k->token_count = 1;
    pv_wipe(&k->tokens[1], sizeof k->tokens - sizeof k->tokens[0]);
    k->overlap_until_s = 0;
}

struct pv_keyring_invite *pv_keyring_find_invite(struct pv_keyring *k,
                                                 const uint8_t id[static PV_INVITE_ID_LEN])
{
    for (size_t i = 0; i < k->invite_count; i++)
        if (memcmp(k->invites[i].id, id, PV_INVITE_ID_LEN) == 0)
            return &k->invites[i];
    return NULL;
}

void pv_keyring_take_doors(struct pv_keyring *k, const struct pv_keyring *from)
{
    memcpy(k->tokens, from->tokens, sizeof k->tokens);
    k->token_count = from->token_count;
    k->overlap_until_s = from->overlap_until_s;
    memcpy(k->invites, from->invites, sizeof k->invites);
    k->invite_count = from->invite_count;
}

enum pv_err pv_keyring_add_invite(struct pv_keyring *k, const struct pv_invite *invite)
{
    if (pv_keyring_find_invite(k, invite->id) != NULL)
        return PV_E_EXISTS;
    if (k->invite_count == PV_INVITES_MAX)
        return PV_E_LIMIT;
    struct pv_keyring_invite *slot = &k->invites[k->invite_count++];
    *slot = (struct pv_keyring_invite){.role = invite->role, .expires_s = invite->expires_s};
    memcpy(slot->id, invite->id, sizeof slot->id);
    memcpy(slot->secret, invite->secret, sizeof slot->secret);
    return PV_OK;
}

void pv_keyring_drop_invites(struct pv_keyring *k, uint64_t now_s)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->invite_count; i++)
        if (k->invites[i].expires_s > now_s)
            k->invites[kept++] = k->invites[i];
    k->invite_count = kept;
    pv_wipe(&k->invites[kept], (PV_INVITES_MAX - kept) * sizeof k->invites[0]);
}

/* ---- the file ------------------------------------------------------------------------------ */

static void wr_text(struct pv_wr *w, const char *text)
{
    pv_wr_bytes(w, text, strlen(text));
}

static void wr_seconds(struct pv_wr *w, uint64_t seconds)
{
    char number[24];
    snprintf(number, sizeof number, " %llu", (unsigned long long)seconds);
    wr_text(w, number);
}

static void wr_created(struct pv_wr *w, uint64_t created_s)
{
    wr_seconds(w, created_s);
    wr_text(w, "\n");
}

static void wr_hex(struct pv_wr *w, const uint8_t *bytes, size_t len)
{
    char hex[KEY_HEX_LEN + 1];
    PV_ASSERT(len <= PV_KEY_LEN);
    pv_hex_encode(hex, bytes, len);
    wr_text(w, hex);
    pv_wipe(hex, sizeof hex);
}

static void write_invite(struct pv_wr *w, const struct pv_keyring_invite *invite)
{
    wr_text(w, "invite ");
    wr_hex(w, invite->id, sizeof invite->id);
    wr_text(w, " ");
    wr_hex(w, invite->secret, sizeof invite->secret);
    wr_text(w, " ");
    wr_text(w, pv_role_name(invite->role));
    wr_seconds(w, invite->expires_s);
    if (invite->confirm)
        wr_text(w, " confirm");
    if (invite->used) {
        wr_text(w, " ");
        wr_hex(w, invite->joiner.b, PV_ID_LEN);
    }
    wr_text(w, "\n");
}

static void write_text(struct pv_wr *w, const struct pv_keyring *k)
{
    wr_text(w, first_line);
    wr_text(w, "\n");
    for (size_t i = 0; i < k->key_count; i++) {
        wr_text(w, "cluster ");
        wr_hex(w, k->keys[i].keys.kid.b, PV_KID_LEN);
        wr_text(w, " ");
        wr_hex(w, k->keys[i].keys.cluster_key, PV_KEY_LEN);
        wr_text(w, " ");
        wr_text(w, state_names[k->keys[i].state]);
        wr_created(w, k->keys[i].created_s);
    }
    if (k->key_count > 0) {
        wr_text(w, "dedup ");
        wr_hex(w, k->dedup_kid.b, PV_KID_LEN);
        wr_text(w, "\n");
    }
    for (size_t i = 0; i < k->token_count; i++) {
        wr_text(w, "token ");
        wr_text(w, k->tokens[i].text);
        wr_created(w, k->tokens[i].created_s);
    }
    if (k->overlap_until_s != 0) {
        wr_text(w, "overlap");
        wr_seconds(w, k->overlap_until_s);
        wr_text(w, "\n");
    }
    for (size_t i = 0; i < k->invite_count; i++)
        write_invite(w, &k->invites[i]);
    if (k->has_root) {
        wr_text(w, "root ");
        wr_hex(w, k->root.b, PV_ID_LEN);
        wr_text(w, "\n");
    }
}

/* The last line: the sum of all before it. */
static void write_sum(struct pv_wr *w, const char *text, size_t len)
{
    uint8_t sum[PV_HASH_LEN];
    pv_sha256(sum, text, len);
    wr_text(w, sum_word);
    wr_hex(w, sum, sizeof sum);
    wr_text(w, "\n");
}

enum pv_err pv_keyring_save(const struct pv_keyring *k, const struct pv_fs *fs, pv_fd vault)
{
    if (k->key_count > 0 && (pv_keyring_active(k) == NULL || pv_keyring_dedup(k) == NULL))
        return PV_E_INVALID;
    uint8_t *text = pv_malloc(FILE_LEN_MAX);
    if (text == NULL)
        return PV_E_NOMEM;
    struct pv_wr w = pv_wr_of(text, FILE_LEN_MAX);
    write_text(&w, k);
    write_sum(&w, (const char *)text, pv_wr_len(&w));
    PV_ASSERT(!w.bad);
    enum pv_err err =
        pv_secret_file_write(fs, vault, file_name, "keyring.tmp", text, pv_wr_len(&w));
    pv_wipe(text, FILE_LEN_MAX);
    pv_free(text);
    return err;
}

/* The next word of a line, ended by a space or the end. Words are NUL-terminated in place. */
static char *next_word(char **rest)
{
    char *word = *rest;
    if (word == NULL)
        return NULL;
    char *space = strchr(word, ' ');
    if (space != NULL)
        *space++ = '\0';
    *rest = space;
    return *word != '\0' ? word : NULL;
}

/* Decimal, without sign or leading zeros: numbers have one form. */
static bool parse_seconds(uint64_t *out, const char *text)
{
    uint64_t v = 0;
    if (text == NULL || (text[0] == '0' && text[1] != '\0'))
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        unsigned digit = (unsigned)*p - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

static bool parse_kid(struct pv_kid *out, const char *word)
{
    return word != NULL && pv_hex_decode(out->b, PV_KID_LEN, word, strlen(word)) == PV_OK;
}

static bool parse_state(enum pv_key_state *out, const char *word)
{
    for (size_t i = 0; word != NULL && i < PV_COUNT(state_names); i++) {
        if (strcmp(word, state_names[i]) == 0) {
            *out = (enum pv_key_state)i;
            return true;
        }
    }
    return false;
}

static enum pv_err parse_cluster(struct pv_keyring *k, char *rest)
{
    uint8_t key[PV_KEY_LEN];
    struct pv_kid kid;
    enum pv_key_state state;
    uint64_t created_s;
    enum pv_err err = PV_E_CORRUPT;
    bool kid_valid = parse_kid(&kid, next_word(&rest));
    const char *hex = next_word(&rest);
    bool valid = kid_valid && hex != NULL && strlen(hex) == KEY_HEX_LEN &&
                 pv_hex_decode(key, sizeof key, hex, KEY_HEX_LEN) == PV_OK &&
                 parse_state(&state, next_word(&rest)) &&
                 parse_seconds(&created_s, next_word(&rest)) && rest == NULL;
    if (!valid || (state == PV_KEY_ACTIVE && pv_keyring_active(k) != NULL) ||
        pv_keyring_add_key(k, key, state, created_s) != PV_OK)
        goto out;
    if (memcmp(k->keys[k->key_count - 1].keys.kid.b, kid.b, PV_KID_LEN) == 0)
        err = PV_OK;
out:
    pv_wipe(key, sizeof key);
    return err;
}

/* The token itself may contain spaces: the last word is the time, all before it the token. */
static enum pv_err parse_token(struct pv_keyring *k, char *rest)
{
    uint64_t created_s;
    char *space = rest != NULL ? strrchr(rest, ' ') : NULL;
    if (space == NULL || !parse_seconds(&created_s, space + 1))
        return PV_E_CORRUPT;
    *space = '\0';
    if (k->token_count == PV_KEYRING_TOKENS_MAX || check_token(k, rest) != PV_OK)
        return PV_E_CORRUPT;
    set_token(&k->tokens[k->token_count++], rest, created_s);
    return PV_OK;
}

static bool parse_hex(uint8_t *dst, size_t len, const char *word)
{
    return word != NULL && pv_hex_decode(dst, len, word, strlen(word)) == PV_OK;
}

static enum pv_err parse_invite(struct pv_keyring *k, char *rest)
{
    struct pv_invite invite = {0};
    bool valid = parse_hex(invite.id, sizeof invite.id, next_word(&rest)) &&
                 parse_hex(invite.secret, sizeof invite.secret, next_word(&rest));
    invite.role = valid ? pv_role_find(next_word(&rest)) : 0;
    valid = valid && invite.role != 0 && parse_seconds(&invite.expires_s, next_word(&rest)) &&
            pv_keyring_add_invite(k, &invite) == PV_OK;
    pv_wipe(&invite, sizeof invite);
    if (!valid || rest == NULL)
        return valid ? PV_OK : PV_E_CORRUPT;
    struct pv_keyring_invite *slot = &k->invites[k->invite_count - 1];
    const char *word = next_word(&rest);
    slot->confirm = word != NULL && strcmp(word, "confirm") == 0;
    if (slot->confirm && rest == NULL)
        return PV_OK;
    slot->used = true;
    valid = parse_hex(slot->joiner.b, PV_ID_LEN, slot->confirm ? next_word(&rest) : word);
    return valid && rest == NULL ? PV_OK : PV_E_CORRUPT;
}

static enum pv_err parse_root(struct pv_keyring *k, char *rest)
{
    if (k->has_root || !parse_hex(k->root.b, PV_ID_LEN, next_word(&rest)) || rest != NULL)
        return PV_E_CORRUPT;
    k->has_root = true;
    return PV_OK;
}

static enum pv_err parse_overlap(struct pv_keyring *k, char *rest)
{
    return k->overlap_until_s == 0 && parse_seconds(&k->overlap_until_s, next_word(&rest)) &&
                   k->overlap_until_s != 0 && rest == NULL
               ? PV_OK
               : PV_E_CORRUPT;
}

struct dedup_line {
    unsigned number; /* 0: not seen */
    struct pv_kid kid;
};

static enum pv_err parse_line(struct pv_keyring *k, struct dedup_line *dedup, char *line,
                              unsigned number)
{
    if (number == 1)
        return strcmp(line, first_line) == 0 ? PV_OK : PV_E_CORRUPT;
    char *rest = line;
    const char *word = next_word(&rest);
    if (word == NULL)
        return PV_E_CORRUPT;
    if (strcmp(word, "cluster") == 0)
        return parse_cluster(k, rest);
    if (strcmp(word, "token") == 0)
        return parse_token(k, rest);
    if (strcmp(word, "overlap") == 0)
        return parse_overlap(k, rest);
    if (strcmp(word, "invite") == 0)
        return parse_invite(k, rest);
    if (strcmp(word, "root") == 0)
        return parse_root(k, rest);
    if (strcmp(word, "dedup") != 0 || dedup->number != 0 ||
        !parse_kid(&dedup->kid, next_word(&rest)) || rest != NULL)
        return PV_E_CORRUPT;
    dedup->number = number;
    return PV_OK;
}

/* Takes the sum, if there is one, off the end of the text. False: it is not the sum of the rest. */
static bool take_sum(const char *text, size_t *len)
{
    uint8_t right[SUM_LINE_LEN];
    if (*len < SUM_LINE_LEN || memcmp(text + *len - SUM_LINE_LEN, sum_word, strlen(sum_word)) != 0)
        return true;
    *len -= SUM_LINE_LEN;
    struct pv_wr w = pv_wr_of(right, sizeof right);
    write_sum(&w, text, *len);
    return memcmp(right, text + *len, sizeof right) == 0;
}

/* text is cut up in place. *line is the first bad line, or the line that is missing. */
static enum pv_err parse_text(struct pv_keyring *k, char *text, size_t len, unsigned *line)
{
    struct dedup_line dedup = {0};
    bool sum_fits = take_sum(text, &len);
    char *end = text + len;
    for (*line = 1; text < end; ++*line) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        if (newline == NULL || memchr(text, '\0', (size_t)(newline - text)) != NULL)
            return PV_E_CORRUPT;
        *newline = '\0';
        enum pv_err err = parse_line(k, &dedup, text, *line);
        if (err != PV_OK)
            return err;
        text = newline + 1;
    }
    if (*line == 1 || (k->key_count > 0 && (pv_keyring_active(k) == NULL || dedup.number == 0)))
        return PV_E_CORRUPT;
    if (dedup.number != 0 && pv_keyring_set_dedup(k, &dedup.kid) != PV_OK) {
        *line = dedup.number;
        return PV_E_CORRUPT;
    }
    return sum_fits ? PV_OK : PV_E_CORRUPT; /* said last: a bad line says more */
}

enum pv_err pv_keyring_load(struct pv_keyring *out, const struct pv_fs *fs, pv_fd vault,
                            unsigned *line)
{
    struct pv_keyring k;
    size_t len = 0;
    unsigned at = 0;
    char *text = pv_malloc(FILE_LEN_MAX);
    if (text == NULL)
        return PV_E_NOMEM;
    pv_keyring_init(&k);
    enum pv_err err = pv_secret_file_read(fs, vault, file_name, text, FILE_LEN_MAX, &len);
    if (err == PV_OK)
        err = parse_text(&k, text, len, &at);
    if (err == PV_OK)
        *out = k;
    else if (err == PV_E_CORRUPT && line != NULL)
        *line = at;
    pv_keyring_wipe(&k);
    pv_wipe(text, FILE_LEN_MAX);
    pv_free(text);
    return err;
}
