/*
 * One growing node a level. Levels above the lowest non-empty one never need to be looked at while
 * entries arrive; only finish asks what is above.
 */
#include "internal/file/tree_builder.h"

#include "internal/base/mem.h"

void pv_tree_builder_init(struct pv_tree_builder *b, size_t fan_out)
{
    PV_ASSERT(fan_out >= 2 && fan_out <= PV_NODE_ENTRIES_MAX);
    *b = (struct pv_tree_builder){.fan_out = fan_out};
}

static void level_release(struct pv_tree_level *l)
{
    if (l->buf != NULL)
        pv_wipe(l->buf, l->cap);
    pv_free(l->buf);
    *l = (struct pv_tree_level){0};
}

void pv_tree_builder_release(struct pv_tree_builder *b)
{
    for (unsigned i = 0; i < PV_TREE_LEVELS; i++)
        level_release(&b->levels[i]);
}

static uint8_t *entry_at(const struct pv_tree_level *l, size_t index)
{
    return l->buf + PV_BLOB_PAYLOAD_OFFSET + index * PV_ENTRY_LEN;
}

/* Room for one more entry, and for sealing what is there. */
static enum pv_err level_reserve(struct pv_tree_level *l)
{
    if (l->buf != NULL && (l->count < PV_TREE_SMALL_ENTRIES || l->cap > PV_TREE_SMALL_LEN))
        return PV_OK;
    size_t cap = l->buf == NULL ? PV_TREE_SMALL_LEN : PV_BLOB_LEN_MAX;
    uint8_t *buf = pv_malloc(cap);
    if (buf == NULL)
        return PV_E_NOMEM;
    if (l->buf != NULL) {
        memcpy(buf, l->buf, l->cap);
        pv_wipe(l->buf, l->cap);
        pv_free(l->buf);
    }
    l->buf = buf;
    l->cap = cap;
    return PV_OK;
}

static void hand_out(struct pv_tree_builder *b, unsigned level, struct pv_tree_node *node)
{
    struct pv_tree_level *l = &b->levels[level];
    *node = (struct pv_tree_node){
        .buf = l->buf,
        .cap = l->cap,
        .payload_len = l->count * PV_ENTRY_LEN,
        .length = l->length,
        .level = level + 1,
    };
    *l = (struct pv_tree_level){0};
}

enum pv_err pv_tree_builder_add(struct pv_tree_builder *b, unsigned level,
                                const struct pv_entry *entry, struct pv_tree_node *node)
{
    *node = (struct pv_tree_node){0};
    if (level >= PV_TREE_LEVELS)
        return PV_E_LIMIT;
    struct pv_tree_level *l = &b->levels[level];
    if (l->count == b->fan_out || entry->length > UINT64_MAX - l->length)
        return PV_E_LIMIT;
    enum pv_err err = level_reserve(l);
    if (err != PV_OK)
        return err;
    pv_entry_encode(entry_at(l, l->count), entry);
    l->count++;
    l->length += entry->length;
    if (l->count == b->fan_out && level < PV_TREE_LEVELS - 1) /* the topmost can only be the root */
        hand_out(b, level, node);
    return PV_OK;
}

bool pv_tree_builder_finish(struct pv_tree_builder *b, struct pv_tree_node *node,
                            struct pv_entry *root)
{
    unsigned lowest = 0, others = 0;
    while (lowest < PV_TREE_LEVELS && b->levels[lowest].count == 0)
        lowest++;
    PV_ASSERT(lowest < PV_TREE_LEVELS);
    for (unsigned i = lowest + 1; i < PV_TREE_LEVELS; i++)
        others += b->levels[i].count > 0;
    if (others == 0 && b->levels[lowest].count == 1) {
        enum pv_err err = pv_entry_decode(root, entry_at(&b->levels[lowest], 0));
        PV_ASSERT(err == PV_OK); /* we encoded it */
        level_release(&b->levels[lowest]);
        return false;
    }
    hand_out(b, lowest, node);
    node->is_root = others == 0;
    return true;
}

size_t pv_tree_builder_bytes(const struct pv_tree_builder *b)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < PV_TREE_LEVELS; i++)
        bytes += b->levels[i].cap;
    return bytes;
}

unsigned pv_tree_builder_large(const struct pv_tree_builder *b)
{
    unsigned large = 0;
    for (unsigned i = 0; i < PV_TREE_LEVELS; i++)
        large += b->levels[i].count > PV_TREE_SMALL_ENTRIES / 2;
    return large;
}
