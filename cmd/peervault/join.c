/* join: this machine comes into a cluster, or back into it, by a code of `invite`. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "internal/base/mem.h"
#include "internal/config.h"
#include "internal/config_file.h"
#include "internal/config_value.h"
#include "internal/rejoin.h"
#include "internal/server/uv_join.h"
#include "internal/setup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXPIRED_SLACK_S = 300, CODE_ADDRESSES_MAX = 16 };

struct code {
    struct pv_invite invite;
    char text[CODE_ADDRESSES_MAX][PV_ADDRESS_MAX + 1];
    const char *addresses[CODE_ADDRESSES_MAX];
    size_t count;
};

static enum pv_exit malformed(void)
{
    return pv_out_fail(PV_EXIT_USAGE,
                       "malformed code: copy all of what `peervault invite` printed, with what is "
                       "behind the @");
}

static enum pv_exit parse_code(struct code *c, const struct pv_cli *cli, const char *text)
{
    const char *at = strchr(text, '@');
    enum pv_err err =
        at == NULL ? PV_E_INVALID : pv_invite_parse(&c->invite, text, (size_t)(at - text));
    if (err == PV_E_UNSUPPORTED)
        return pv_out_fail(PV_EXIT_FAILED, "the invite is of a later version: update peervault");
    if (err != PV_OK)
        return malformed();
    for (const char *p = at + 1;; p++) {
        size_t len = strcspn(p, ",");
        if (len > PV_ADDRESS_MAX || c->count == CODE_ADDRESSES_MAX)
            return malformed();
        char *address = c->text[c->count];
        memcpy(address, p, len);
        address[len] = '\0';
        if (pv_address_form(address, 1) != PV_OK)
            return malformed();
        c->addresses[c->count++] = address;
        p += len;
        if (*p == '\0')
            break;
    }
    if (c->invite.expires_s + EXPIRED_SLACK_S < pv_env_wall_s(&cli->env))
        return pv_out_fail(PV_EXIT_DENIED, "the invite has expired: ask for another one");
    return PV_EXIT_OK;
}

struct joining {
    const struct pv_cli *cli;
    const char *listen;
    struct code code;
    struct pv_setup setup;
    bool again;                /* the vault is there already */
    struct pv_config settings; /* of its file */
    struct pv_join_result joined;
    char peers[1 + PV_ADDRESSES_MAX][PV_ADDRESS_MAX + 1]; /* the one that answered first */
    size_t peer_count;
};

static bool is_among(const char *address, char (*list)[PV_ADDRESS_MAX + 1], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], address) == 0)
            return true;
    return false;
}

static void list_peers(struct joining *j)
{
    const struct pv_msg_join *grant = &j->joined.grant;
    memcpy(j->peers[j->peer_count++], j->joined.reached, sizeof j->peers[0]);
    for (size_t i = 0; i < grant->address_count; i++) {
        const char *address = grant->addresses[i];
        if (pv_address_form(address, 1) == PV_OK && !is_among(address, j->peers, j->peer_count))
            memcpy(j->peers[j->peer_count++], address, sizeof j->peers[0]);
    }
}

/* Those that are not in the file yet, each on a line of its own: a line of it is limited, and peers
 * may be given in several. */
static enum pv_err write_peers(struct pv_buf *text, struct joining *j)
{
    enum pv_err err = PV_OK;
    for (size_t i = 0; err == PV_OK && i < j->peer_count; i++)
        if (!is_among(j->peers[i], j->settings.peers, j->settings.peer_count))
            err = pv_buf_printf(text, "peers = %s\n", j->peers[i]);
    return err;
}

/* What was in the file before stays. */
static enum pv_err write_settings(struct joining *j, char *why)
{
    const struct pv_vault *v = &j->setup.vault;
    struct pv_buf lines;
    pv_buf_init(&lines, PV_CONFIG_FILE_MAX);
    enum pv_err err = write_peers(&lines, j);
    if (err == PV_OK && j->listen != NULL && j->settings.line[PV_CONFIG_LISTEN] == 0)
        err = pv_buf_printf(&lines, "listen = %s\n", j->listen);
    if (err == PV_OK)
        err = pv_buf_append(&lines, "", 1);
    if (err == PV_OK && lines.len > 1)
        err = pv_config_file_append((const char *)lines.data, v->fs, v->dir, why);
    pv_buf_release(&lines);
    return err;
}

static enum pv_err take_grant(struct joining *j)
{
    struct pv_keyring *k = &j->setup.keyring;
    const struct pv_msg_join *grant = &j->joined.grant;
    enum pv_err err = j->again ? pv_keyring_catch_up(k, &grant->keyring) : PV_OK;
    if (!j->again)
        *k = grant->keyring;
    k->has_root = grant->role == PV_ROLE_BLIND;
    if (k->has_root)
        k->root = j->joined.inviter;
    return err;
}

static enum pv_exit print_joined(const struct joining *j)
{
    char node[PV_NODE_TEXT_LEN], by[PV_NODE_TEXT_LEN];
    const char *role = pv_role_name(j->joined.grant.role);
    char peers[sizeof j->peers + 2 * PV_COUNT(j->peers)];
    size_t len = 0;
    for (size_t i = 0; i < j->peer_count; i++)
        len += (size_t)snprintf(peers + len, sizeof peers - len, "%s%s", i > 0 ? ", " : "",
                                j->peers[i]);
    pv_node_id_format(node, &j->setup.identity.node_id);
    pv_node_id_format(by, &j->joined.inviter);
    if (j->cli->json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "node", node, "role", role, "inviter", by,
                              "peers", peers);
        (void)pv_json_set_bytes(o, "vault", j->cli->vault);
        return pv_out_json(o);
    }
    printf("node   %s\nrole   %s\npeers  %s\n", node, role, peers);
    enum pv_exit exit = pv_out_flush();
    pv_cli_note(j->cli,
                "this machine has joined%s: start it with `peervault daemon`, or `peervault "
                "install-service`",
                j->again ? " again" : "");
    return exit;
}

/* The settings first: a vault is complete when its keyring is there. */
static enum pv_exit settle(struct joining *j)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    list_peers(j);
    enum pv_err err = write_settings(j, why);
    if (err == PV_OK && (err = take_grant(j)) != PV_OK)
        (void)snprintf(why, sizeof why, "the keyring does not take what the inviter granted: %s",
                       pv_err_text(err));
    if (err == PV_OK)
        err = pv_setup_complete(&j->setup, j->cli->vault, why);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s: run the same command again", why);
    return print_joined(j);
}

/* Whether the vault that is there may come by this invite: without asking the inviter. */
static enum pv_exit check_own(struct joining *j)
{
    bool keyed = pv_keyring_active(&j->setup.keyring) != NULL;
    const char *own = pv_role_name(keyed ? PV_ROLE_KEYED : PV_ROLE_BLIND);
    if (keyed != (j->code.invite.role == PV_ROLE_KEYED))
        return pv_out_fail(PV_EXIT_USAGE,
                           "this vault is %s, the invite is for a %s machine: ask for one with "
                           "--role %s, or name another folder with --vault",
                           own, pv_role_name(j->code.invite.role), own);
    if (keyed)
        return PV_EXIT_OK; /* the inviter must prove our key */
    enum pv_err err = pv_rejoin_check_inviter(&j->setup, &j->code.invite, &j->cli->env);
    if (err == PV_E_NOT_FOUND)
        return pv_out_fail(PV_EXIT_USAGE, "this vault knows no such inviter: it belongs to another "
                                          "cluster, or another member must invite it");
    return err == PV_OK ? PV_EXIT_OK
                        : pv_out_fail(pv_exit_of(err), "%s",
                                      err == PV_E_CORRUPT       ? PV_DB_DAMAGED_TEXT
                                      : err == PV_E_UNSUPPORTED ? PV_LATER_VERSION_TEXT
                                                                : pv_err_text(err));
}

static enum pv_exit open_again(struct joining *j)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory";
    const struct pv_secrets none = {NULL, NULL};
    long pid = 0;
    pv_setup_close(&j->setup);
    j->again = true;
    enum pv_err err =
        pv_setup_open(&j->setup, j->cli->vault, &none, pv_fs_real(), &j->cli->env, why);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    err = pv_setup_lock(&j->setup, 0, &j->cli->env, &pid);
    if (err == PV_E_BUSY)
        return pv_out_fail(PV_EXIT_UNAVAILABLE,
                           "the vault %s is in use by process %ld: stop it first", j->cli->vault,
                           pid);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "cannot lock the vault %s: %s", j->cli->vault,
                           pv_err_text(err));
    return check_own(j);
}

static const char *no_variable(void *ctx, const char *name)
{
    (void)ctx, (void)name;
    return NULL;
}

/* The vault, locked, and what its settings file says. */
static enum pv_exit open_vault(struct joining *j)
{
    char why[PV_CONFIG_WHY_MAX] = "out of memory";
    enum pv_err err = pv_setup_begin(&j->setup, j->cli->vault, pv_fs_real(), &j->cli->env, why);
    if (err != PV_OK && err != PV_E_EXISTS)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    enum pv_exit exit = err == PV_E_EXISTS ? open_again(j) : PV_EXIT_OK;
    if (exit != PV_EXIT_OK)
        return exit;
    const struct pv_config_source file = {no_variable, NULL, pv_fs_real(), j->setup.vault.dir};
    err = pv_config_load(&j->settings, &file, NULL, 0, why);
    if (err != PV_OK)
        return pv_out_fail(pv_exit_of(err), "%s", why);
    if (j->listen != NULL && j->settings.line[PV_CONFIG_LISTEN] != 0 &&
        strcmp(j->listen, j->settings.listen) != 0)
        return pv_out_fail(PV_EXIT_USAGE, "--listen: %s of this vault says %s: change it there",
                           PV_CONFIG_FILE_NAME, j->settings.listen);
    return PV_EXIT_OK;
}

/* Also with --quiet: without it nothing goes on. */
static void show_number(void *arg, uint32_t number)
{
    (void)arg;
    pv_out_line("waiting to be confirmed: run `peervault invite confirm %06u` where the code was "
                "made",
                (unsigned)number);
}

static enum pv_exit ask(struct joining *j)
{
    char why[PV_JOIN_TEXT_MAX] = "out of memory", name[PV_JOIN_NAME_MAX + 1] = "";
    bool keyed = pv_keyring_active(&j->setup.keyring) != NULL;
    if (gethostname(name, sizeof name - 1) != 0)
        name[0] = '\0';
    const struct pv_join join = {.env = &j->cli->env,
                                 .identity = &j->setup.identity,
                                 .invite = &j->code.invite,
                                 .addresses = j->code.addresses,
                                 .address_count = j->code.count,
                                 .name = name,
                                 .own = keyed ? &j->setup.keyring : NULL,
                                 .show_number = show_number};
    enum pv_err err = pv_join_ask(&j->joined, &join, why);
    if (err == PV_OK)
        return PV_EXIT_OK;
    return pv_out_fail(err == PV_E_TIMEOUT ? PV_EXIT_UNAVAILABLE : pv_exit_of(err), "%s", why);
}

enum pv_exit pv_cmd_join(const struct pv_cli *cli, const struct pv_args *args)
{
    const char *listen = pv_args_value(args, "listen");
    if (listen != NULL && pv_address_form(listen, 0) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--listen %.80s: must be ADDRESS:PORT", listen);
    struct joining *j = pv_calloc(1, sizeof *j);
    if (j == NULL)
        return pv_out_no_memory();
    j->cli = cli;
    j->listen = listen;
    enum pv_exit exit = parse_code(&j->code, cli, args->words[0]);
    if (exit == PV_EXIT_OK) {
        exit = open_vault(j);
        if (exit == PV_EXIT_OK)
            exit = ask(j);
        if (exit == PV_EXIT_OK)
            exit = settle(j);
        pv_setup_close(&j->setup);
    }
    pv_wipe(j, sizeof *j);
    pv_free(j);
    return exit;
}
