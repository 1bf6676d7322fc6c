#include "crypto/keyring.h"

#include <string.h>

const struct pv_keyring_key *pv_keyring_entry(const struct pv_keyring *k, const struct pv_kid *kid)
{
    for (size_t i = 0; i < k->key_count; i++)
        if (memcmp(k->keys[i].keys.kid.b, kid->b, PV_KID_LEN) == 0)
            return &k->keys[i];
    return NULL;
}

bool pv_keyring_newer(const struct pv_keyring_key *a, const struct pv_keyring_key *b)
{
    if (a->created_s != b->created_s)
        return a->created_s > b->created_s;
    return memcmp(a->keys.kid.b, b->keys.kid.b, PV_KID_LEN) > 0;
}
