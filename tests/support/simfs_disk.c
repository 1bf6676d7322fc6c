/*
 * The disk of simfs. Sectors are shared between the two states of a file, its pending changes and
 * the copies that crashes make, and copied when they are written to: a crash costs a pointer for
 * each sector. Reference counts are atomic because copies may live on other threads.
 */
#include "tests/support/simfs_private.h"

#include <stdlib.h>
#include <string.h>

void *sim_grow(void *items, size_t *cap, size_t item_len)
{
    *cap = *cap == 0 ? 8 : *cap * 2;
    void *grown = realloc(items, *cap * item_len);
    PV_ASSERT(grown != NULL);
    return grown;
}

/* splitmix64 */
uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

/* ---- sectors ---- */

static struct sim_sector *sector_new(const struct sim_sector *like)
{
    struct sim_sector *s = calloc(1, sizeof *s);
    PV_ASSERT(s != NULL);
    atomic_init(&s->refs, 1);
    if (like != NULL)
        memcpy(s->bytes, like->bytes, sizeof s->bytes);
    return s;
}

static struct sim_sector *sector_hold(struct sim_sector *s)
{
    if (s != NULL)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void sector_drop(struct sim_sector *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        free(s);
}

/* ---- contents ---- */

static uint64_t sectors_of(uint64_t size)
{
    return (size + PVT_SECTOR_LEN - 1) / PVT_SECTOR_LEN;
}

static struct sim_sector *content_get(const struct sim_content *c, uint64_t at)
{
    return at < c->count ? c->sectors[at] : NULL;
}

/* Takes over the reference to data. The length stays. */
static void content_put(struct sim_content *c, uint64_t at, struct sim_sector *data)
{
    while (c->cap <= at)
        c->sectors = sim_grow(c->sectors, &c->cap, sizeof *c->sectors);
    while (c->count <= at)
        c->sectors[c->count++] = NULL;
    sector_drop(c->sectors[at]);
    c->sectors[at] = data;
}

/* Drops what is beyond size, so that growing again shows zeros. */
static void content_cut(struct sim_content *c, uint64_t size)
{
    while (c->count > sectors_of(size))
        sector_drop(c->sectors[--c->count]);
    size_t tail = size % PVT_SECTOR_LEN;
    struct sim_sector *last = tail != 0 ? content_get(c, size / PVT_SECTOR_LEN) : NULL;
    if (last != NULL) {
        struct sim_sector *cut = sector_new(last);
        memset(cut->bytes + tail, 0, PVT_SECTOR_LEN - tail);
        content_put(c, size / PVT_SECTOR_LEN, cut);
    }
}

static void content_set_size(struct sim_content *c, uint64_t size)
{
    if (size < c->size)
        content_cut(c, size);
    c->size = size;
}

static void content_copy(struct sim_content *dst, const struct sim_content *src)
{
    *dst = (struct sim_content){.size = src->size, .count = src->count, .cap = src->count};
    if (src->count == 0)
        return;
    dst->sectors = malloc(src->count * sizeof *dst->sectors);
    PV_ASSERT(dst->sectors != NULL);
    for (size_t i = 0; i < src->count; i++)
        dst->sectors[i] = sector_hold(src->sectors[i]);
}

static void content_release(struct sim_content *c)
{
    for (size_t i = 0; i < c->count; i++)
        sector_drop(c->sectors[i]);
    free(c->sectors);
}

/* ---- inodes ---- */

struct sim_inode *sim_inode_new(bool is_dir)
{
    struct sim_inode *inode = calloc(1, sizeof *inode);
    PV_ASSERT(inode != NULL);
    inode->refs = 1;
    inode->is_dir = is_dir;
    return inode;
}

void sim_inode_hold(struct sim_inode *inode)
{
    inode->refs++;
}

static void names_release(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        sim_inode_drop(names->entries[i].inode);
    free(names->entries);
}

void sim_inode_drop(struct sim_inode *inode)
{
    if (inode == NULL || --inode->refs > 0)
        return;
    names_release(&inode->names);
    names_release(&inode->durable_names);
    content_release(&inode->content);
    content_release(&inode->durable);
    for (size_t i = 0; i < inode->change_count; i++)
        sector_drop(inode->changes[i].data);
    free(inode->changes);
    free(inode);
}

/* ---- files ---- */

static void note(struct sim_inode *inode, struct sim_sector *data, uint64_t at)
{
    if (inode->change_count == inode->change_cap)
        inode->changes = sim_grow(inode->changes, &inode->change_cap, sizeof *inode->changes);
    inode->changes[inode->change_count++] = (struct sim_change){sector_hold(data), at, false};
}

void sim_file_read(const struct sim_inode *inode, void *dst, size_t len, uint64_t offset)
{
    uint8_t *p = dst;
    while (len > 0) {
        size_t into = offset % PVT_SECTOR_LEN, n = PVT_SECTOR_LEN - into;
        const struct sim_sector *s = content_get(&inode->content, offset / PVT_SECTOR_LEN);
        n = n < len ? n : len;
        if (s != NULL)
            memcpy(p, s->bytes + into, n);
        else
            memset(p, 0, n);
        p += n;
        offset += n;
        len -= n;
    }
}

void sim_file_write(struct sim_inode *inode, const void *src, size_t len, uint64_t offset)
{
    const uint8_t *p = src;
    while (len > 0) {
        uint64_t at = offset / PVT_SECTOR_LEN;
        size_t into = offset % PVT_SECTOR_LEN, n = PVT_SECTOR_LEN - into;
        n = n < len ? n : len;
        struct sim_sector *s = sector_new(content_get(&inode->content, at));
        memcpy(s->bytes + into, p, n);
        note(inode, s, at);
        content_put(&inode->content, at, s);
        p += n;
        offset += n;
        len -= n;
    }
    if (offset > inode->content.size)
        sim_file_set_size(inode, offset);
}

void sim_file_set_size(struct sim_inode *inode, uint64_t size)
{
    if (size == inode->content.size)
        return;
    note(inode, NULL, size);
    content_set_size(&inode->content, size);
}

/* Lost bytes stay lost until something newer has taken their place. */
static bool still_lost(const struct sim_inode *inode, size_t i)
{
    const struct sim_change *change = &inode->changes[i];
    for (size_t k = i + 1; k < inode->change_count; k++) {
        const struct sim_change *later = &inode->changes[k];
        if (later->data == NULL && later->at <= change->at * PVT_SECTOR_LEN)
            return false;
        if (later->data != NULL && !later->lost && later->at == change->at)
            return false;
    }
    return true;
}

bool sim_file_sync(struct sim_inode *inode)
{
    size_t kept = 0;
    bool changed = false;
    for (size_t i = 0; i < inode->change_count; i++) {
        struct sim_change *change = &inode->changes[i];
        if (change->lost && still_lost(inode, i)) {
            inode->changes[kept++] = *change;
            continue;
        }
        changed = true;
        if (change->data == NULL)
            content_set_size(&inode->durable, change->at);
        else if (!change->lost)
            content_put(&inode->durable, change->at, sector_hold(change->data));
        sector_drop(change->data);
    }
    inode->change_count = kept;
    return changed;
}

void sim_file_lose(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->change_count; i++)
        inode->changes[i].lost = inode->changes[i].data != NULL;
}

/* ---- folders ---- */

static size_t names_at(const struct sim_names *names, const char *name, bool *found)
{
    size_t low = 0, high = names->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->entries[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sim_inode *sim_names_find(const struct sim_names *names, const char *name)
{
    bool found;
    size_t at = names_at(names, name, &found);
    return found ? names->entries[at].inode : NULL;
}

static void names_set(struct sim_names *names, const char *name, struct sim_inode *inode)
{
    bool found;
    size_t at = names_at(names, name, &found);
    if (inode != NULL)
        sim_inode_hold(inode);
    if (found && inode == NULL) {
        sim_inode_drop(names->entries[at].inode);
        memmove(&names->entries[at], &names->entries[at + 1],
                (--names->count - at) * sizeof *names->entries);
    } else if (found) {
        sim_inode_drop(names->entries[at].inode);
        names->entries[at].inode = inode;
    } else if (inode != NULL) {
        if (names->count == names->cap)
            names->entries = sim_grow(names->entries, &names->cap, sizeof *names->entries);
        memmove(&names->entries[at + 1], &names->entries[at],
                (names->count++ - at) * sizeof *names->entries);
        names->entries[at].inode = inode;
        memcpy(names->entries[at].name, name, strlen(name) + 1);
    }
}

void sim_dir_set(struct sim_name_ops *pending, struct sim_inode *dir, const char *name,
                 struct sim_inode *inode)
{
    if (pending->count == pending->cap)
        pending->ops = sim_grow(pending->ops, &pending->cap, sizeof *pending->ops);
    struct sim_name_op *op = &pending->ops[pending->count++];
    *op = (struct sim_name_op){.dir = dir, .inode = inode};
    memcpy(op->name, name, strlen(name) + 1);
    sim_inode_hold(dir);
    if (inode != NULL)
        sim_inode_hold(inode);
    names_set(&dir->names, name, inode);
}

void sim_dir_rename(struct sim_name_ops *pending, struct sim_inode *from_dir, const char *from,
                    struct sim_inode *to_dir, const char *to)
{
    sim_dir_set(pending, to_dir, to, sim_names_find(&from_dir->names, from));
    sim_dir_set(pending, from_dir, from, NULL);
    pending->ops[pending->count - 1].with_previous = true;
}

static bool same_name(const struct sim_name_op *a, const struct sim_name_op *b)
{
    return a->dir == b->dir && strcmp(a->name, b->name) == 0;
}

static void settle(struct sim_name_op *op)
{
    if (!op->done)
        names_set(&op->dir->durable_names, op->name, op->inode);
    op->done = true;
}

/* The new name of a rename, because the old one goes; what came before under that name, first. */
static void settle_previous(struct sim_name_ops *pending, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (k == i - 1 || same_name(&pending->ops[k], &pending->ops[i - 1]))
            settle(&pending->ops[k]);
}

static void op_release(struct sim_name_op *op)
{
    sim_inode_drop(op->inode);
    sim_inode_drop(op->dir);
}

bool sim_dir_sync(struct sim_name_ops *pending, const struct sim_inode *dir)
{
    bool changed = false, previous_done = false;
    for (size_t i = 0; i < pending->count; i++) {
        if (pending->ops[i].dir != dir)
            continue;
        changed = true;
        if (pending->ops[i].with_previous)
            settle_previous(pending, i);
        settle(&pending->ops[i]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < pending->count; i++) {
        struct sim_name_op *op = &pending->ops[i];
        bool done = op->done;
        if (done) {
            op_release(op);
        } else {
            op->with_previous = op->with_previous && !previous_done;
            pending->ops[kept++] = *op;
        }
        previous_done = done;
    }
    pending->count = kept;
    return changed;
}

void sim_name_ops_release(struct sim_name_ops *pending)
{
    for (size_t i = 0; i < pending->count; i++)
        op_release(&pending->ops[i]);
    free(pending->ops);
}

uint64_t sim_dir_used_bytes(const struct sim_inode *dir)
{
    uint64_t used = 0;
    for (size_t i = 0; i < dir->names.count; i++) {
        const struct sim_inode *inode = dir->names.entries[i].inode;
        used +=
            inode->is_dir ? sim_dir_used_bytes(inode) : (inode->content.size + 4095) / 4096 * 4096;
    }
    return used;
}

/* ---- crashes ---- */

/* How much survives: nothing, all, or so many of 8. */
struct chance {
    uint64_t state, seed;
};

static unsigned draw_share(struct chance *c)
{
    static const unsigned shares[] = {0, 1, 4, 4, 7, 8};
    return c->seed == PVT_CRASH_NOTHING ? 0
           : c->seed == PVT_CRASH_ALL   ? 8
                                        : shares[sim_random(&c->state) % PV_COUNT(shares)];
}

static bool draw(struct chance *c, unsigned share)
{
    return sim_random(&c->state) % 8 < share;
}

static size_t draw_prefix(struct chance *c, size_t count)
{
    return c->seed == PVT_CRASH_NOTHING ? 0
           : c->seed == PVT_CRASH_ALL   ? count
                                        : sim_random(&c->state) % (count + 1);
}

static void fill_garbage(struct chance *c, struct sim_content *content, uint64_t from)
{
    for (uint64_t at = from; at < sectors_of(content->size); at++) {
        if (content_get(content, at) != NULL)
            continue;
        struct sim_sector *s = sector_new(NULL);
        for (size_t i = 0; i < sizeof s->bytes; i++)
            s->bytes[i] = (uint8_t)sim_random(&c->state);
        content_put(content, at, s);
    }
}

static size_t count_sizes(const struct sim_inode *inode)
{
    size_t count = 0;
    for (size_t i = 0; i < inode->change_count; i++)
        count += inode->changes[i].data == NULL;
    return count;
}

static void crash_file(struct chance *c, const struct sim_inode *inode, struct sim_content *out)
{
    unsigned share = draw_share(c);
    size_t sizes = draw_prefix(c, count_sizes(inode));
    uint64_t seen = inode->durable.size, held_back_from = UINT64_MAX;
    content_copy(out, &inode->durable);
    for (size_t i = 0; i < inode->change_count; i++) {
        const struct sim_change *change = &inode->changes[i];
        if (change->data != NULL) {
            if (draw(c, share) && change->at < held_back_from)
                content_put(out, change->at, sector_hold(change->data));
            continue;
        }
        if (sizes > 0) {
            sizes--;
            content_cut(out, change->at);
            out->size = change->at;
        } else if (change->at < seen && change->at / PVT_SECTOR_LEN < held_back_from) {
            held_back_from = change->at / PVT_SECTOR_LEN;
        }
        seen = change->at;
    }
    content_cut(out, out->size);
    if (c->seed > PVT_CRASH_ALL && draw(c, 2))
        fill_garbage(c, out, sectors_of(inode->durable.size));
}

static bool *choose_ops(struct chance *c, const struct sim_name_ops *pending)
{
    bool *keep = calloc(pending->count + 1, sizeof *keep);
    PV_ASSERT(keep != NULL);
    bool in_order = draw(c, 4);
    size_t prefix = draw_prefix(c, pending->count);
    unsigned share = draw_share(c);
    for (size_t i = 0; i < pending->count; i++) {
        const struct sim_name_op *op = &pending->ops[i];
        keep[i] = in_order ? i < prefix : draw(c, share) && (!op->with_previous || keep[i - 1]);
        for (size_t k = 0; k < i && keep[i] && !in_order; k++)
            keep[i] = keep[k] || !same_name(&pending->ops[k], op);
    }
    return keep;
}

static struct sim_inode *twin_of(struct chance *c, struct sim_inode *inode)
{
    if (inode->twin == NULL) {
        inode->twin = sim_inode_new(inode->is_dir);
        inode->twin->mtime_ms = inode->mtime_ms;
        if (!inode->is_dir) {
            crash_file(c, inode, &inode->twin->durable);
            content_copy(&inode->twin->content, &inode->twin->durable);
        }
    } else {
        sim_inode_hold(inode->twin);
    }
    return inode->twin;
}

static void names_copy(struct sim_names *dst, const struct sim_names *src)
{
    *dst = (struct sim_names){.count = src->count, .cap = src->count};
    if (src->count == 0)
        return;
    dst->entries = malloc(src->count * sizeof *dst->entries);
    PV_ASSERT(dst->entries != NULL);
    memcpy(dst->entries, src->entries, src->count * sizeof *dst->entries);
    for (size_t i = 0; i < src->count; i++)
        sim_inode_hold(src->entries[i].inode);
}

/* Folders are few levels deep. */
static void crash_dir(struct chance *c, struct sim_inode *dir, const struct sim_name_ops *pending,
                      const bool *keep)
{
    struct sim_names survive;
    names_copy(&survive, &dir->durable_names);
    for (size_t i = 0; i < pending->count; i++)
        if (keep[i] && pending->ops[i].dir == dir)
            names_set(&survive, pending->ops[i].name, pending->ops[i].inode);
    for (size_t i = 0; i < survive.count; i++) {
        struct sim_inode *inode = survive.entries[i].inode;
        bool first = inode->twin == NULL;
        survive.entries[i].inode = twin_of(c, inode);
        if (first && inode->is_dir)
            crash_dir(c, inode, pending, keep);
        sim_inode_drop(inode);
    }
    dir->twin->durable_names = survive;
    names_copy(&dir->twin->names, &survive);
}

/* Every inode that has a twin now can be reached by a name, durable or pending. */
static void forget_twins(struct sim_inode *dir)
{
    dir->twin = NULL;
    for (size_t i = 0; dir->is_dir && i < dir->durable_names.count; i++)
        if (dir->durable_names.entries[i].inode->twin != NULL)
            forget_twins(dir->durable_names.entries[i].inode);
}

struct sim_inode *sim_disk_crash(struct sim_inode *root, const struct sim_name_ops *pending,
                                 uint64_t seed)
{
    struct chance c = {seed, seed};
    bool *keep = choose_ops(&c, pending);
    struct sim_inode *twin = twin_of(&c, root);
    crash_dir(&c, root, pending, keep);
    for (size_t i = 0; i < pending->count; i++)
        if (pending->ops[i].inode != NULL && pending->ops[i].inode->twin != NULL)
            forget_twins(pending->ops[i].inode);
    forget_twins(root);
    free(keep);
    return twin;
}
