/* Member records are few (PV_MEMBERS_KNOWN_MAX), so all of them are looked at. They were verified
 * when they were taken. */
#include "internal/rejoin.h"

#include "crypto/body.h"
#include "crypto/identity.h"
#include "crypto/record.h"
#include "storage/store.h"

enum { CACHE_BYTES = 1 << 20 };

struct search {
    const struct pv_invite *invite;
    bool known, good;
};

static bool look_at(void *arg, const uint8_t *env, size_t len, bool pending)
{
    struct search *s = arg;
    struct pv_record rec;
    struct pv_member_body body;
    struct pv_id node_id;
    (void)pending;
    if (pv_record_parse(&rec, env, len) != PV_OK ||
        pv_member_body_decode(&body, rec.body, rec.body_len) != PV_OK)
        return true;
    pv_node_id_of(&node_id, body.subject);
    s->known = pv_invite_is_from(s->invite, &node_id);
    s->good = s->known && body.role == PV_ROLE_KEYED && !body.expelled;
    return !s->known;
}

enum pv_err pv_rejoin_check_inviter(struct pv_setup *s, const struct pv_invite *invite,
                                    const struct pv_env *env)
{
    struct pv_store_config config = {
        .vault = &s->vault, .env = env, .cache_bytes = CACHE_BYTES, .reserve_bytes = UINT64_MAX};
    struct search search = {.invite = invite};
    struct pv_id after = {{0}};
    struct pv_store *store = NULL;
    bool end = false;
    enum pv_err err = pv_store_open(&store, &config);
    while (err == PV_OK && !end && !search.known)
        err = pv_store_records(store, PV_RECORD_MEMBER, &after, PV_SCAN_ROWS_MAX, look_at, &search,
                               &end);
    pv_store_close(store);
    if (err != PV_OK)
        return err;
    bool is_root = s->keyring.has_root && pv_invite_is_from(invite, &s->keyring.root);
    return (search.known ? search.good : is_root) ? PV_OK : PV_E_NOT_FOUND;
}
