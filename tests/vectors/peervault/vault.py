#!/usr/bin/env python3
"""Writes vault.json and trees.json, from storage/format.md and not from the C code.

vault.json: the sums of single pages; and what a vault folder holds after the steps of `story`, which
tests/unit/storage_golden_test.c does with the C code. trees.json: roots of files of many chunks.
Needs python3-cryptography, and libxxhash for the sums.
"""

import ctypes

from make_vectors import (CLUSTER_KEYS, EPOCHS, HLC, ClusterKeys, entry, make_records, name_body,
                          pattern, seal_blob, seal_record, sha256, u8, u64, write, x)

PAGE, SUM, WAL_HEADER, FRAME_HEADER = 4096, 8, 32, 24
HOUR_MS = 3600 * 1000
LEASE_MS = 72 * HOUR_MS

XXH = ctypes.CDLL("libxxhash.so.0")


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXH.XXH3_64bits_withSeed.restype = ctypes.c_uint64
XXH.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
XXH.XXH3_128bits.restype = Hash128
XXH.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3_128(data):
    h = XXH.XXH3_128bits(data, len(data))
    return u64(h.high) + u64(h.low)


# ---- pages ----

def make_pages():
    """A page whose first 4088 bytes are the pattern, at several places: its last 8 bytes."""
    body = pattern(PAGE - SUM)
    out = []
    for number in (1, 2, 3, 70000):
        out.append({"file": "vault.db", "offset": (number - 1) * PAGE,
                    "sum": u64(XXH.XXH3_64bits_withSeed(body, len(body), number)).hex()})
    for frame in (0, 1, 16000):
        start = frame * (FRAME_HEADER + PAGE)
        out.append({"file": "vault.db-wal", "offset": WAL_HEADER + start + FRAME_HEADER,
                    "sum": u64(XXH.XXH3_64bits_withSeed(body, len(body), start)).hex()})
    return out


# ---- vault.db ----

# Bytes of the header of page 1 that are ours to choose (SQLite's file format, 1.3).
HEADER = [
    (0, b"SQLite format 3\0"),
    (16, b"\x10\x00"),  # page length 4096
    (18, b"\2\2"),      # write-ahead log, for writers and readers
    (20, b"\x08"),      # reserved bytes of each page
    (56, b"\0\0\0\1"),  # UTF-8
    (60, b"\0\0\0\1"),  # user_version
    (64, b"\0\0\0\1"),  # auto_vacuum = INCREMENTAL
    (68, b"PVV1"),      # application_id
]

SCHEMA = [
    "CREATE TABLE meta(key TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT",
    "CREATE TABLE record(seq INTEGER PRIMARY KEY AUTOINCREMENT, rid BLOB NOT NULL UNIQUE,"
    " hash BLOB NOT NULL, type INTEGER NOT NULL, hlc INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " pending INTEGER NOT NULL, link BLOB, prefix INTEGER, envelope BLOB NOT NULL) STRICT",
    "CREATE INDEX record_hash ON record(hash, pending, type, flags)",
    "CREATE INDEX record_rare ON record(type, rid) WHERE type>2",
    "CREATE INDEX record_pending ON record(pending) WHERE pending=1",
    "CREATE INDEX record_link ON record(link) WHERE link IS NOT NULL",
    "CREATE INDEX record_prefix ON record(prefix) WHERE prefix IS NOT NULL",
    "CREATE TABLE history(seq INTEGER PRIMARY KEY, rid BLOB NOT NULL, hash BLOB NOT NULL,"
    " hlc INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT",
    "CREATE INDEX history_rid ON history(rid, hlc, hash)",
    "CREATE TABLE blob(seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " size INTEGER NOT NULL, home INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " lease_until INTEGER NOT NULL, held INTEGER NOT NULL, xxh3 BLOB NOT NULL) STRICT",
    "CREATE TABLE small(seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
    "CREATE TABLE holder(bit INTEGER PRIMARY KEY, node_id BLOB NOT NULL UNIQUE) STRICT",
]


def as_int64(value):
    return value - (1 << 64) if value >> 63 else value


def row(*values):
    """One row as text: numbers, hex of blobs, - for NULL; text as it is."""
    return " ".join("-" if v is None else v.hex() if isinstance(v, bytes) else str(v)
                    for v in values)


def record_row(seq, record, pending, link, prefix):
    return row(seq, bytes.fromhex(record["rid"]), bytes.fromhex(record["hash"]), record["type"],
               int(record["hlc"], 16), record["flags"], pending, link, prefix,
               bytes.fromhex(record["envelope"]))


def story_records(k):
    """Those of records.json that do not fight for one register, and another version of the name."""
    vectors = make_records()["records"]
    for v in vectors:
        v["hlc"] = "%016x" % HLC
    file, deleted, name, member, address, later = (vectors[i] for i in (0, 1, 2, 5, 6, 7))
    body = name_body(HLC + 1, 0, b"notes/hello.txt", sha256(b"content"),
                     x(k.loc, b"file", sha256(b"content")))
    envelope = seal_record(k, 2, 0, bytes.fromhex(name["rid"]), HLC + 1, EPOCHS[2],
                           sha256(b"newer name"), body)
    newer = {"type": 2, "flags": 0, "rid": name["rid"], "hlc": "%016x" % (HLC + 1),
             "envelope": envelope.hex(), "hash": sha256(envelope).hex()}
    return file, deleted, name, member, address, later, newer


def story(wall_ms):
    """What is committed, in this order, with the clock at wall_ms and 25 hours later from `again` on:

    blobs     pattern(304), a chunk that node 1 gave; pattern(65536), a node; pattern(65537), a chunk
    records   file (pending), deleted, name (pending), member, address, later, newer (pending)
    publish   file
    held      node 2 holds pattern(65536)
    meta      "example" = pattern(20)
    again     a lease for pattern(304), which therefore arrives anew
    bad       pattern(65537), the first byte of its file having been inverted: twice
    backup    of all records, and of the small blobs that nobody else holds; their places in meta
    reopen    once
    """
    k = ClusterKeys(CLUSTER_KEYS[0])
    file, deleted, name, member, address, later, newer = story_records(k)
    nodes = [sha256(b"node 1"), sha256(b"node 2")]
    small, big, bad = pattern(304), pattern(65536), pattern(65537)
    later_ms = wall_ms + 25 * HOUR_MS
    file_rid = x(k.loc, b"file", sha256(b"content"))
    prefix = as_int64(int.from_bytes(x(k.loc, b"pfx", sha256(b"content")[:4])[:8], "big"))
    old_link = x(k.loc, b"file", sha256(b"hello, vault\n"))
    kept = [file, deleted, member, address, later, newer]
    bak = b"".join(bytes.fromhex(r["envelope"]) for r in kept)
    small_bak = sha256(small) + small
    tables = {
        "meta": [
            row("/clock", u64(later_ms) + u64(later_ms) + u64(HLC + 1)),
            row("/lost", sha256(bad)),
            row("/opens", u64(2)),
            row("/uuid", "UUID"),
            row("example", pattern(20)),
            row("records.bak", u64(7) + u64(len(bak)) + u64(len(kept)) + u64(later_ms)),
            row("small.bak", u64(4) + u64(len(small_bak)) + u64(1) + u64(later_ms)),
        ],
        "record": [
            record_row(1, file, 0, None, prefix),
            record_row(2, deleted, 0, None, None),
            record_row(4, member, 0, None, None),
            record_row(5, address, 0, None, None),
            record_row(6, later, 0, None, None),
            record_row(7, newer, 1, file_rid, None),
        ],
        "history": [row(1, bytes.fromhex(name["rid"]), bytes.fromhex(name["hash"]),
                        int(name["hlc"], 16), bytes.fromhex(name["envelope"]))],
        "blob": [
            row(2, sha256(big), 65536, 1, 2, wall_ms + LEASE_MS, 2, xxh3_128(big)),
            row(4, sha256(small), 304, 2, 1, later_ms + LEASE_MS, 0, xxh3_128(small)),
        ],
        "small": [row(4, small)],
        "holder": [row(0, nodes[0]), row(1, nodes[1])],
    }
    place = "blobs/%s/%s" % (sha256(big).hex()[:2], sha256(big).hex())
    files = [{"path": place, "length": len(big), "sha256": sha256(big).hex()},
             {"path": "lock", "pid": True}]
    twisted = bytes([bad[0] ^ 0xff]) + bad[1:]
    for suffix in ("", ".1"):
        files.append({"path": "quarantine/" + sha256(bad).hex() + suffix, "length": len(bad),
                      "sha256": sha256(twisted).hex()})
    files += [{"path": "records.bak", "length": len(bak), "sha256": sha256(bak).hex()},
              {"path": "small.bak", "length": len(small_bak),
               "sha256": sha256(small_bak).hex()},
              {"path": "vault.db"}, {"path": "vault.db-wal", "length": 0}]
    return {
        "wall_ms": wall_ms, "nodes": [n.hex() for n in nodes],
        "records": [{"envelope": r["envelope"], "pending": pending,
                     "link": link.hex() if link else None, "has_prefix": has_prefix}
                    for r, pending, link, has_prefix in (
                        (file, True, None, True), (deleted, False, None, False),
                        (name, True, old_link, False), (member, False, None, False),
                        (address, False, None, False), (later, False, None, False),
                        (newer, True, file_rid, False))],
        "prefix_tag": "%016x" % (prefix & (1 << 64) - 1),
        "header": [{"offset": at, "bytes": b.hex()} for at, b in HEADER],
        "schema": SCHEMA, "tables": tables, "files": files,
    }


# ---- values of meta that others keep ----

def make_meta():
    scrub = [1700000100000, 77, 123456789, 2, 1699000000000, 1698000000000, 3]
    return {
        "scrub": (u8(1) + u8(2) + b"".join(u64(v) for v in scrub)).hex(),
    }


# ---- trees ----

def make_trees():
    """Files whose chunk i (from 0) has `entry(1, 1 + i, "chunk <i>")`."""
    k = ClusterKeys(CLUSTER_KEYS[0])
    out = []
    for chunks in (1, 2, 3, 12287, 12288, 24575):
        level = [entry(1, 1 + i, b"chunk %d" % i) for i in range(chunks)]
        nodes = []
        while len(level) > 1:
            above = []
            for start in range(0, len(level), 12287):
                below = level[start:start + 12287]
                blob_id, dk, _ = seal_blob(k, 0, 2, b"".join(below))
                length = sum(int.from_bytes(e[64:72], "big") for e in below)
                above.append(blob_id + dk + u64(length) + u8(2) + bytes(7))
                nodes.append(blob_id.hex())
            level = above
        out.append({"chunks": chunks, "root": level[0].hex(), "nodes": nodes})
    return {"cluster_key": k.cluster_key.hex(), "trees": out}


def main():
    write("vault.json", {"pages": make_pages(), "story": story(1700000000000), "meta": make_meta()})
    write("trees.json", make_trees())


if __name__ == "__main__":
    main()
