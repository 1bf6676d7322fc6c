/* Lines are at most 80 columns, so that no printer breaks them elsewhere. */
#include "cmd/peervault/sheet.h"

#include "cmd/peervault/access.h"
#include "cmd/peervault/client.h"
#include "cmd/peervault/output.h"
#include "cmd/peervault/secrets_text.h"
#include "internal/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { ROW_LEN = 32, GROUP_LEN = 8 };

static const char head[] =
    "PeerVault recovery sheet\n"
    "\n"
    "Whoever has this sheet can read every file of the cluster named below, and join\n"
    "it: keep it as you would keep the files. It brings everything back as long as\n"
    "one other node of the cluster is alive, or a copy of a vault is left. It is no\n"
    "copy of the files; and without it, or the `keyring` of a node, nothing ever\n"
    "opens them again.\n"
    "\n";

static const char steps_import[] =
    "How to get the files back, on a machine that has nothing yet:\n"
    "\n"
    "1. Install peervault, of the version above or a newer one.\n"
    "2. Type or scan this sheet, or only the rows of the secrets, into a file `sheet`\n"
    "   (a wrong digit will be noticed), and make a vault with them:\n"
    "\n"
    "       umask 077\n"
    "       peervault key import @sheet\n"
    "\n"
    "3. Start it, with the address of any node of the cluster that is alive:\n"
    "\n";

static const char steps_wait[] =
    "\n"
    "   All is here when `peervault status` shows as many files and blobs as there.\n"
    "   `peervault ls` lists the files, `peervault get NAME -o FILE` gives one back.\n"
    "4. If no other node is alive, but the folder of a vault or a copy of it is left:\n"
    "   leave out step 3, and use that folder: peervault --vault FOLDER ls\n"
    "   If only its file `keyring` is missing, step 2 with --vault FOLDER makes it.\n"
    "5. Remove the file `sheet`.\n";

/* ---- the other nodes ---- */

struct nodes {
    json_t *peers;            /* of the daemon's answer; NULL: none runs */
    struct pv_config *config; /* else: the addresses in it */
};

static json_t *ask(const struct pv_cli *cli)
{
    struct pv_client *client = NULL;
    json_t *reply = NULL;
    if (!pv_client_reachable(cli->vault) || pv_client_open(&client, cli, 0) != PV_EXIT_OK)
        return NULL;
    enum pv_exit exit =
        pv_client_call(client, json_pack("{s:s}", "op", "peers"), NULL, NULL, &reply);
    if (pv_client_close(client, exit) != PV_EXIT_OK) {
        json_decref(reply);
        reply = NULL;
    }
    return reply;
}

/* Where a daemon can dial: not the far end of a connection that came from there. */
static const char *address_of(const json_t *peer)
{
    return json_is_true(json_object_get(peer, "dialled"))
               ? json_string_value(json_object_get(peer, "address"))
               : NULL;
}

static void print_node(const char *node, const char *address)
{
    if (node != NULL)
        printf("  %s\n", node);
    if (address != NULL)
        printf("  %s%s\n", node != NULL ? "  at " : "", address);
}

/* One address to dial; NULL: none is known. */
static const char *print_nodes(const struct nodes *n)
{
    const char *dial = NULL;
    size_t i;
    const json_t *peer;
    puts("other nodes");
    json_array_foreach(json_object_get(n->peers, "peers"), i, peer)
    {
        print_node(json_string_value(json_object_get(peer, "node")), address_of(peer));
        dial = dial != NULL ? dial : address_of(peer);
    }
    for (i = 0; n->peers == NULL && i < n->config->peer_count; i++) {
        print_node(NULL, n->config->peers[i]);
        dial = n->config->peers[0];
    }
    if (dial == NULL)
        puts("  no address is known here: write one down by hand: ____________________________");
    return dial;
}

/* ---- the secrets ---- */

static void print_key(const char *hex)
{
    printf("PEERVAULT_CLUSTER_KEY=");
    for (size_t i = 0; hex[i] != '\0'; i++)
        printf("%s%c", i % ROW_LEN == 0 ? "\\\n    " : i % GROUP_LEN == 0 ? " " : "", hex[i]);
    putchar('\n');
}

static enum pv_err print_token(const char *token)
{
    struct pv_buf word;
    pv_buf_init(&word, 4 * PV_TOKEN_LEN_MAX + 3);
    enum pv_err err = pv_append_shell_word(&word, token);
    bool quoted = err == PV_OK && word.len > 0 && word.data[0] == '\'';
    if (err == PV_OK)
        printf("PEERVAULT_AUTH_TOKEN=");
    for (size_t i = 0; err == PV_OK && i < word.len; i++)
        printf("%s%c", i % ROW_LEN == 0 && !quoted ? "\\\n    " : "", word.data[i]);
    if (err == PV_OK)
        putchar('\n');
    if (word.len > 0)
        pv_wipe(word.data, word.len);
    pv_buf_release(&word);
    return err;
}

/* ---- the sheet ---- */

static void print_what(const struct pv_cli *cli, const struct pv_setup *setup, const char *kid_hex)
{
    char date[PV_TIME_TEXT_MAX], node[PV_NODE_TEXT_LEN];
    pv_date_text(date, pv_env_wall_ms(&cli->env));
    pv_node_id_format(node, &setup->identity.node_id);
    fputs(head, stdout);
    printf("made on    %s, by peervault %s\n", date, PV_VERSION);
    printf("cluster    %s\n", kid_hex);
    printf("vault      ");
    pv_out_name(cli->vault, strlen(cli->vault), true); /* no control bytes on paper */
    printf("\nthis node\n  %s\n", node);
}

static enum pv_exit print_all(const struct pv_cli *cli, const struct pv_setup *setup,
                              const struct nodes *nodes)
{
    const struct pv_cluster_keys *key = pv_keyring_active(&setup->keyring);
    const char *token = setup->keyring.token_count > 0 ? setup->keyring.tokens[0].text : "";
    char hex[2 * PV_KEY_LEN + 1], kid[2 * PV_KID_LEN + 1], check[PV_SECRETS_CHECK_LEN + 1];
    pv_hex_encode(hex, key->cluster_key, PV_KEY_LEN);
    pv_hex_encode(kid, key->kid.b, PV_KID_LEN);
    pv_secrets_check(check, hex, token);
    print_what(cli, setup, kid);
    const char *dial = print_nodes(nodes);
    putchar('\n');
    print_key(hex);
    enum pv_err err = print_token(token);
    printf("PEERVAULT_CHECK=%s\n\n", check);
    fputs(steps_import, stdout);
    printf("       peervault daemon --listen 0.0.0.0:3000 --peer %s\n",
           dial != NULL ? dial : "HOST:3000");
    fputs(steps_wait, stdout);
    pv_wipe(hex, sizeof hex);
    return err == PV_OK ? pv_out_flush() : pv_out_no_memory();
}

enum pv_exit pv_sheet_print(const struct pv_cli *cli, const struct pv_setup *setup)
{
    if (pv_keyring_active(&setup->keyring) == NULL)
        return pv_out_fail(PV_EXIT_FAILED, "this is a blind node, which has no cluster key: print "
                                           "the sheet on one that has it");
    struct nodes nodes = {.config = pv_malloc(sizeof *nodes.config)};
    if (nodes.config == NULL)
        return pv_out_no_memory();
    enum pv_exit exit = pv_settings_load(nodes.config, cli, NULL, 0);
    if (exit == PV_EXIT_OK) {
        nodes.peers = ask(cli);
        exit = print_all(cli, setup, &nodes);
    }
    json_decref(nodes.peers);
    pv_free(nodes.config);
    return exit;
}
