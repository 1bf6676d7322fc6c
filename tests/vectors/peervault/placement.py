#!/usr/bin/env python3
"""Which members keep a blob: a second implementation, from transport/protocol.md (6.12) alone.

Prints placement.json, tables of members, blob ids and their orders:

    tests/vectors/peervault/placement.py > tests/vectors/peervault/placement.json
"""
import hashlib
import json
from collections import namedtuple

Member = namedtuple("Member", "node_id weight zone keyed")

MASK = (1 << 64) - 1
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8")


def word(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def mix(data, at, secret_at):
    product = (word(data, at) ^ word(SECRET, secret_at)) * (word(data, at + 8) ^ word(SECRET, secret_at + 8))
    return (product & MASK) ^ (product >> 64)


def xxh3_65(data):
    """XXH3_64bits, seed 0, of 65 bytes."""
    assert len(data) == 65
    h = 65 * 0x9E3779B185EBCA87
    for at, secret_at in ((32, 64), (17, 80), (16, 32), (33, 48), (0, 0), (49, 16)):
        h += mix(data, at, secret_at)
    h &= MASK
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & MASK
    return h ^ h >> 32


def score(blob_id, member):
    return max(xxh3_65(blob_id + member.node_id + bytes([j])) for j in range(member.weight))


def order(members, blob_id, copies):
    """The members in the order in which they come into question, and how many of them are owners."""
    falling = sorted(members, key=lambda m: (score(blob_id, m), m.node_id), reverse=True)
    zones, first, rest = set(), [], []
    for m in falling:
        (rest if m.zone in zones else first).append(m)
        zones.add(m.zone)
    walk = first + rest
    owners = min(copies, len(walk))
    if owners and not any(m.keyed for m in walk[:owners]):
        keyed = next((m for m in walk if m.keyed), None)
        if keyed is not None:
            walk.remove(keyed)
            walk.insert(owners - 1, keyed)
    return walk, owners


# ---- vectors ----

def digest(text):
    return hashlib.sha256(text.encode()).digest()


def table(name, weights, zones, keyed):
    return [Member(digest(f"{name} member {i}"), w, z, k)
            for i, (w, z, k) in enumerate(zip(weights, zones, keyed))]


def main():
    n = 5
    tables = [
        ("one", 3, table("one", [1], [""], [True])),
        ("plain", 3, table("plain", [1] * n, [""] * n, [True] * n)),
        ("weights", 3, table("weights", [1, 2, 4, 8, 16], [""] * n, [True] * n)),
        ("zones", 3, table("zones", [1] * 6, ["a", "a", "a", "b", "b", ""], [True] * 6)),
        ("more zones than copies", 2, table("many", [1] * n, list("abcde"), [True] * n)),
        ("one keyed", 2, table("blind", [1] * 6, [""] * 6, [False, False, True, False, False, False])),
        ("keyed in a zone that is used", 2, table("used", [4, 4, 4, 1, 1], ["a", "b", "c", "a", "a"],
                                                 [False, False, False, True, True])),
        ("none keyed", 3, table("none", [1] * 4, [""] * 4, [False] * 4)),
        ("sixty-four", 3, table("many", [1 + i % 16 for i in range(64)], [str(i % 7) for i in range(64)],
                                [i % 3 == 0 for i in range(64)])),
    ]
    out = []
    for name, copies, members in tables:
        blobs = []
        for i in range(8):
            blob_id = digest(f"{name} blob {i}")
            walk, owners = order(members, blob_id, copies)
            blobs.append({"id": blob_id.hex(), "owners": owners,
                          "order": [members.index(m) for m in walk]})
        out.append({"name": name, "copies": copies, "blobs": blobs, "members": [
            {"node_id": m.node_id.hex(), "weight": m.weight, "zone": m.zone, "keyed": int(m.keyed)}
            for m in members]})
    text = json.dumps({"tables": out})
    for begin in ('{"name"', '{"id"', '{"node_id"'):
        text = text.replace(" " + begin, "\n" + begin).replace("[" + begin, "[\n" + begin)
    print(text)


if __name__ == "__main__":
    main()
