/* invite and join: how a machine comes into a cluster. */
#include "cmd/peervault/client.h"
#include "cmd/peervault/commands.h"
#include "cmd/peervault/output.h"
#include "crypto/secret_file.h"
#include "internal/base/mem.h"
#include "internal/config.h"
#include "internal/config_value.h"
#include "internal/server/uv_join.h"
#include "internal/setup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXPIRED_SLACK_S = 300, CODE_ADDRESSES_MAX = 16 };
#define TTL_MS_MAX (UINT64_C(30) * 24 * 3600 * 1000)

/* ---- invite ---- */

static enum pv_exit print_invite(const struct pv_cli *cli, json_t *reply)
{
    if (cli->json) {
        pv_message_strip(reply);
        return pv_out_json(json_incref(reply));
    }
    uint64_t now_ms = pv_env_wall_ms(&cli->env);
    uint64_t until_ms = (uint64_t)pv_json_int(reply, "expires_ms");
    char left[PV_TIME_TEXT_MAX];
    pv_duration_text(left, until_ms > now_ms ? until_ms - now_ms : 0);
    printf("%s\n", pv_json_text(reply, "code"));
    enum pv_exit exit = pv_out_flush();
    pv_cli_note(cli, "for one machine, %s, within %s: run `peervault join CODE` there",
                pv_json_text(reply, "role"), left);
    return exit;
}

enum pv_exit pv_cmd_invite(const struct pv_cli *cli, const struct pv_args *args)
{
    const char *role = pv_args_value(args, "role"), *ttl = pv_args_value(args, "ttl"),
               *address = pv_args_value(args, "address");
    struct pv_client *client = NULL;
    json_t *reply = NULL;
    uint64_t ttl_ms = 3600 * 1000;
    if (ttl != NULL &&
        (pv_duration_parse(&ttl_ms, ttl) != PV_OK || ttl_ms < 1000 || ttl_ms > TTL_MS_MAX))
        return pv_out_fail(PV_EXIT_USAGE, "--ttl %.80s: must be a time from 1s to 30d", ttl);
    json_t *rq =
        json_pack("{s:s, s:s, s:I, s:s*}", "op", "invite", "role", role != NULL ? role : "blind",
                  "ttl_s", (json_int_t)(ttl_ms / 1000), "address", address);
    if (rq == NULL)
        return pv_out_fail(PV_EXIT_USAGE, "malformed role or address");
    enum pv_exit exit = pv_client_open(&client, cli, 0);
    if (exit != PV_EXIT_OK) {
        json_decref(rq);
        return exit;
    }
    exit = pv_client_call(client, rq, NULL, NULL, &reply);
    if (exit == PV_EXIT_OK)
        exit = pv_reply_exit(reply, NULL);
    if (exit == PV_EXIT_OK)
        exit = print_invite(cli, reply);
    json_decref(reply);
    return pv_client_close(client, exit);
}

/* ---- join ---- */

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
    if (c->invite.expires_s + EXPIRED_SLACK_S < pv_env_wall_ms(&cli->env) / 1000)
        return pv_out_fail(PV_EXIT_DENIED, "the invite has expired: ask for another one");
    return PV_EXIT_OK;
}

static bool is_among(const char *address, const char *list)
{
    size_t len = strlen(address);
    for (const char *p = list; (p = strstr(p, address)) != NULL; p += len)
        if ((p == list || p[-1] == ' ') && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

/* "a:1, b:2": the address that answered first. */
static enum pv_err list_peers(struct pv_buf *out, const struct pv_join_result *joined)
{
    enum pv_err err = pv_buf_printf(out, "%s", joined->reached);
    for (size_t i = 0; err == PV_OK && i < joined->grant.address_count; i++) {
        const char *address = joined->grant.addresses[i];
        if ((err = pv_buf_append(out, "", 1)) != PV_OK) /* a NUL to search in */
            break;
        out->len--;
        if (pv_address_form(address, 1) == PV_OK && !is_among(address, (const char *)out->data))
            err = pv_buf_printf(out, ", %s", address);
    }
    return err;
}

/* Each on a line of its own: a line of the file is limited, and peers may be given in several. */
static enum pv_err write_peers(struct pv_buf *text, const char *peers)
{
    enum pv_err err = PV_OK;
    while (err == PV_OK && *peers != '\0') {
        size_t len = strcspn(peers, ",");
        err = pv_buf_printf(text, "peers = %.*s\n", (int)len, peers);
        peers += len;
        peers += strspn(peers, ", ");
    }
    return err;
}

/* What was in the file before stays. */
static enum pv_err write_settings(struct pv_setup *s, const char *peers, const char *listen)
{
    char old[PV_CONFIG_FILE_MAX];
    size_t len = 0;
    struct pv_buf text;
    enum pv_err err =
        pv_secret_file_read(s->vault.fs, s->vault.dir, PV_CONFIG_FILE_NAME, old, sizeof old, &len);
    if (err != PV_OK && err != PV_E_NOT_FOUND)
        return err;
    pv_buf_init(&text, PV_CONFIG_FILE_MAX);
    err = pv_buf_append(&text, old, len);
    if (err == PV_OK && len > 0 && old[len - 1] != '\n')
        err = pv_buf_append(&text, "\n", 1);
    if (err == PV_OK)
        err = write_peers(&text, peers);
    if (err == PV_OK && listen != NULL)
        err = pv_buf_printf(&text, "listen = %s\n", listen);
    if (err == PV_OK)
        err = pv_secret_file_write(s->vault.fs, s->vault.dir, PV_CONFIG_FILE_NAME,
                                   PV_CONFIG_FILE_NAME ".tmp", text.data, text.len);
    pv_buf_release(&text);
    return err;
}

static enum pv_exit settle(const struct pv_cli *cli, struct pv_setup *s,
                           const struct pv_join_result *joined, const char *listen)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory", node[PV_NODE_TEXT_LEN], by[PV_NODE_TEXT_LEN];
    struct pv_buf peers;
    pv_buf_init(&peers, PV_CONFIG_FILE_MAX / 2);
    enum pv_err err = list_peers(&peers, joined);
    if (err == PV_OK)
        err = pv_buf_append(&peers, "", 1);
    if (err == PV_OK && (err = write_settings(s, (const char *)peers.data, listen)) != PV_OK)
        (void)snprintf(why, sizeof why, "cannot write %s: %s", PV_CONFIG_FILE_NAME,
                       pv_err_text(err));
    s->keyring = joined->grant.keyring;
    s->keyring.has_root = joined->grant.role == PV_ROLE_BLIND;
    if (s->keyring.has_root)
        s->keyring.root = joined->inviter;
    if (err == PV_OK)
        err = pv_setup_complete(s, cli->vault, why);
    enum pv_exit exit = PV_EXIT_OK;
    const char *role = joined->grant.role == PV_ROLE_BLIND ? "blind" : "keyed";
    pv_node_id_format(node, &s->identity.node_id);
    pv_node_id_format(by, &joined->inviter);
    if (err != PV_OK) {
        exit = pv_out_fail(pv_exit_of(err), "%s: run the same command again", why);
    } else if (cli->json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "node", node, "role", role, "inviter", by,
                              "peers", (const char *)peers.data);
        (void)pv_json_set_bytes(o, "vault", cli->vault);
        exit = pv_out_json(o);
    } else {
        printf("node   %s\nrole   %s\npeers  %s\n", node, role, (const char *)peers.data);
        exit = pv_out_flush();
        pv_cli_note(cli, "this machine has joined: start it with `peervault daemon`, or "
                         "`peervault install-service`");
    }
    pv_buf_release(&peers);
    return exit;
}

enum pv_exit pv_cmd_join(const struct pv_cli *cli, const struct pv_args *args)
{
    char why[PV_SETUP_TEXT_MAX] = "out of memory", name[PV_JOIN_NAME_MAX + 1] = "";
    const char *listen = pv_args_value(args, "listen");
    struct pv_setup setup;
    struct pv_join_result *joined;
    struct code code = {.count = 0};
    _Static_assert((int)PV_SETUP_TEXT_MAX >= (int)PV_JOIN_TEXT_MAX, "one buffer serves both");
    if (listen != NULL && pv_address_form(listen, 0) != PV_OK)
        return pv_out_fail(PV_EXIT_USAGE, "--listen %.80s: must be ADDRESS:PORT", listen);
    enum pv_exit exit = parse_code(&code, cli, args->words[0]);
    if (exit != PV_EXIT_OK)
        return exit;
    joined = pv_calloc(1, sizeof *joined);
    if (joined == NULL)
        return pv_out_no_memory();
    if (gethostname(name, sizeof name - 1) != 0)
        name[0] = '\0';
    enum pv_err err = pv_setup_begin(&setup, cli->vault, pv_fs_real(), &cli->env, why);
    struct pv_join join = {.env = &cli->env,
                           .identity = &setup.identity,
                           .invite = &code.invite,
                           .addresses = code.addresses,
                           .address_count = code.count,
                           .name = name};
    if (err == PV_OK)
        err = pv_join_ask(joined, &join, why);
    exit = err == PV_OK ? settle(cli, &setup, joined, listen)
                        : pv_out_fail(err == PV_E_TIMEOUT ? PV_EXIT_UNAVAILABLE : pv_exit_of(err),
                                      "%s", why);
    pv_setup_close(&setup);
    pv_wipe(&code, sizeof code);
    pv_wipe(joined, sizeof *joined);
    pv_free(joined);
    return exit;
}
