#!/usr/bin/python3
"""extract.py VAULT [FOLDER]: lists the files of a stopped vault, and restores them into FOLDER.

Written from storage/format.md alone, as a model of a reader in another language and as the proof that
the document suffices. Everything the document says a reader checks is checked, except page sums. Each
file is restored under its key; the list says its names. Needs python3-cryptography.
"""
import hashlib
import hmac
import json
import os
import sqlite3
import struct
import sys
import tempfile
import time
from collections import namedtuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE, NAME, MEMBER, ADDRESS = 1, 2, 3, 5
TOMBSTONE, CLEAR = 1, 2
INLINE, PRIVATE = 1, 2
CHUNK, NODE = 1, 2
OLDEST_EPOCH = 1577836800
DAY = 86400
MAX_DATA, MAX_ENTRIES, MAX_NODE_LEVELS = 983032, 12287, 4


class Damage(Exception):
    """Bytes that are not what the format says."""


def check(condition, what):
    if not condition:
        raise Damage(what)


# ---- primitives ----

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def x(key, label, context=b""):
    return hmac256(key, b"PV1/" + label + b"\0" + context + b"\1")


def hkdf_expand(key, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac256(key, block + info + bytes([i]))
        out, i = out + block, i + 1
    return out[:length]


def aead_open(key, nonce, sealed, aad, what):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Damage(f"{what}: wrong tag") from None


def is_strict_public_key(public):
    """Canonical, and not one of the points of small order, for which one signature fits most texts."""
    p = 2**255 - 19
    d = -121665 * pow(121666, p - 2, p)
    y = int.from_bytes(public, "little") & (2**255 - 1)
    return y < p and y not in (0, 1, p - 1) and (d * y**4 + 2 * y**2 - 1) % p != 0


def verify(public, signature, text, what):
    check(is_strict_public_key(public), f"{what}: unfit public key")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        raise Damage(f"{what}: wrong signature") from None


def padme(size):
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return (size + step - 1) // step * step


def is_epoch(epoch, now):
    return OLDEST_EPOCH <= epoch <= now + 2 * DAY and epoch % DAY == 0


class ClusterKey:
    def __init__(self, key):
        self.prk = hmac256(b"PV1/cluster", key)
        self.kid = x(self.prk, b"kid")[:8]
        self.loc, self.name = x(self.prk, b"loc"), x(self.prk, b"name")

    def record_key(self, epoch):
        return x(x(self.prk, b"rec"), b"epoch", struct.pack(">Q", epoch))

    def conv_key(self, epoch):
        return x(x(self.prk, b"conv"), b"epoch", struct.pack(">Q", epoch))


def read_keyring(text):
    """The keys that open something, by kid."""
    lines = text.split(b"\n")
    check(lines[0] == b"peervault-keyring 1" and lines[-1] == b"", "keyring: not a keyring")
    if lines[-2].startswith(b"sum "):
        summed = b"".join(line + b"\n" for line in lines[:-2])
        check(lines.pop(-2) == b"sum " + sha256(summed).hex().encode(), "keyring: sum")
    keys = {}
    for line in lines[1:-1]:
        word = line.split(b" ")
        if word[0] == b"cluster":
            check(len(word) == 5, "keyring: cluster line")
            key = ClusterKey(bytes.fromhex(word[2].decode()))
            check(key.kid.hex().encode() == word[1], "keyring: kid of another key")
            check(word[3] in (b"active", b"staged", b"read-only", b"retired"), "keyring: state")
            if word[3] != b"retired":
                keys[key.kid] = key
        else:
            check(word[0] in (b"dedup", b"token"), "keyring: unknown line")
    return keys


# ---- records ----

Record = namedtuple("Record", "type flags kid epoch rid hlc sealer salt commitment n payload envelope")


def parse_record(envelope):
    """Structure and signature: what a node without the cluster key checks."""
    check(240 <= len(envelope) <= 61696 and envelope[:4] == b"PVR1", "record: not an envelope")
    kind, suite, flags, kid, epoch, rid, hlc, zero = struct.unpack_from(">BBH8sQ32sQQ", envelope, 4)
    sealer, salt, commitment, n, zero_2 = struct.unpack_from(">32s32s32sII", envelope, 72)
    clear = bool(flags & CLEAR)
    check(kind != 0 and suite == 1 and flags <= 3 and zero == 0 and zero_2 == 0, "record: header")
    check(clear or kind not in (3, 4, 5, 6), "record: a clear type is sealed")
    check(not clear or kind not in (FILE, NAME), "record: a sealed type is clear")
    check(len(envelope) == 176 + n + (0 if clear else 16) + 64 and n <= 61440, "record: length")
    if clear:
        check(kid == bytes(8) and epoch == 0 and salt == commitment == bytes(32), "record: clear")
    else:
        check(epoch != 0 and n >= 512 and padme(n) == n, "record: sealed")
    verify(sealer, envelope[-64:], b"PV1/record\0" + envelope[:-64], "record")
    return Record(kind, flags, kid, epoch, rid, hlc, sealer, salt, commitment, n, envelope[176:-64],
                  envelope)


def open_record(record, key, now):
    """The body of a sealed record, with its padding."""
    check(is_epoch(record.epoch, now), "record: epoch")
    material = hkdf_expand(key.record_key(record.epoch), b"PV1/record\0" + record.envelope[:136], 76)
    check(hmac.compare_digest(material[44:], record.commitment), "record: wrong commitment")
    return aead_open(material[:32], material[32:44], record.payload, record.envelope[:136], "record")


def check_statement(record, body, subject, end):
    """What the original author signed, and that only zeros follow the last field."""
    author, hlc, flags, zero, signature = struct.unpack_from(">32sQH6s64s", body)
    check(zero == bytes(6) and flags == record.flags & TOMBSTONE, "statement: fields")
    text = struct.pack(">B", record.type) + subject + struct.pack(">QH", hlc, flags)
    verify(author, signature, b"PV1/body\0" + text + sha256(body[112:end]), "statement")
    check(record.n == padme(max(512, end)) and not any(body[end:]), "record: padding")


Entry = namedtuple("Entry", "id key length kind")
File = namedtuple("File", "rid key size mtime_ms private first_name data root")
Name = namedtuple("Name", "name key file_rid")
Value = namedtuple("Value", "name value")


def parse_entry(data):
    entry = Entry(*struct.unpack(">32s32sQB", data[:73]))
    check(not any(data[73:80]) and entry.kind in (CHUNK, NODE) and entry.length >= 1, "entry: fields")
    check(entry.kind == NODE or entry.length <= MAX_DATA, "entry: length of a chunk")
    return entry


def parse_file(record, body, key):
    version, flags, chunker, zero, a, b, size, mtime_ms = struct.unpack_from(">BBBBHHQQ", body, 112)
    content_key, secret, root = body[136:168], body[168:200], body[200:280]
    if version != 1:
        return None
    end = 280 + a + b
    check(flags <= 3 and chunker <= 2 and zero == 0 and a <= 1024 and b <= 4096, "file: fields")
    check_statement(record, body, content_key, end)
    private, data = bool(flags & PRIVATE), None
    rid = x(key.loc, b"private", secret) if private else x(key.loc, b"file", content_key)
    check(rid == record.rid and (private or secret == bytes(32)), "file: rid")
    if flags & INLINE:
        data = body[280 + a:end]
        check(size == b and root == bytes(80), "file: inline")
    else:
        check(b == 0, "file: data that is not inline")
        check(parse_entry(root).length == size, "file: length of the root")
    return File(rid, content_key, size, mtime_ms, private, body[280:280 + a], data, root)


def parse_name(record, body, key):
    version, kind, a, b = struct.unpack_from(">BBHI", body, 112)
    if version != 1 or kind not in (1, 2):
        return None
    check(1 <= a <= 1024, "name: fields")
    if kind == 2:
        check(b <= (0 if record.flags & TOMBSTONE else 59392), "value: length")
        name, end = body[120:120 + a], 120 + a + b
        check_statement(record, body, name, end)
        check(record.rid == x(key.name, b"name", b"\2" + name), "value: rid")
        return Value(name, body[120 + a:end])
    check(b == 0, "name: fields")
    name = body[184:184 + a]
    check_statement(record, body, name, 184 + a)
    check(record.rid == x(key.name, b"name", b"\2" + name), "name: rid")
    return Name(name, body[120:152], body[152:184])


# ---- blobs ----

def check_blob(blob, blob_id):
    """What anyone checks on receipt; returns the epoch."""
    check(304 <= len(blob) <= 983088, "blob: size")
    magic, suite, zero, kid, epoch, n, zero_2 = struct.unpack_from(">4sB3s8sQII", blob)
    check(magic == b"PVB1" and suite == 1 and zero == bytes(3) and zero_2 == 0, "blob: header")
    check(len(blob) == n + 48 and 256 <= n <= 983040 and padme(n) == n, "blob: length")
    check(sha256(blob) == blob_id, "blob: not the bytes of its id")
    return epoch


def open_blob(blob, entry, now):
    epoch = struct.unpack_from(">Q", blob, 16)[0]
    plain = aead_open(entry.key, bytes(12), blob[32:], blob[:32], f"blob {entry.id.hex()}")
    length, codec, kind, how, zero = struct.unpack_from(">IBBBB", plain)
    check(1 <= length <= MAX_DATA and 8 + length <= len(plain), "blob: payload length")
    check(codec == 0 and kind == entry.kind and how in (1, 2) and zero == 0, "blob: fields")
    check(len(plain) == max(256, padme(8 + length)), "blob: padded length")
    check(not any(plain[8 + length:]), "blob: padding")
    check(epoch == 0 or how == 1 and is_epoch(epoch, now), "blob: epoch")
    return plain[8:8 + length]


# ---- the vault ----

class Vault:
    """A vault folder that no process has open."""

    def __init__(self, folder, now):
        self.folder, self.now = folder, now
        with open(os.path.join(folder, "keyring"), "rb") as f:
            self.keys = read_keyring(f.read())
        self.db = open_database(os.path.join(folder, "vault.db"))
        self.files, self.names, self.values, self.unread = {}, [], {}, 0
        self.read_records()

    def read_records(self):
        """Live files by rid, the live names that lead to one of them, and values by name."""
        names = []
        for digest, envelope in self.db.execute("SELECT hash, envelope FROM record ORDER BY seq"):
            check(sha256(envelope) == digest, "record: not the bytes of its hash")
            record = parse_record(envelope)
            if record.type not in (FILE, NAME):
                continue
            key = self.keys.get(record.kid)
            parse = parse_file if record.type == FILE else parse_name
            parsed = parse(record, open_record(record, key, self.now), key) if key else None
            if parsed is None:
                self.unread += 1
            elif not record.flags & TOMBSTONE and record.type == FILE:
                self.files[record.rid] = parsed
            elif not record.flags & TOMBSTONE and isinstance(parsed, Value):
                self.values[parsed.name] = parsed.value
            elif not record.flags & TOMBSTONE:
                names.append(parsed)
        self.names = [n for n in names if n.file_rid in self.files]

    def names_of(self, file):
        return [n.name for n in self.names if n.file_rid == file.rid]

    def blob(self, blob_id):
        row = self.db.execute("SELECT seq, size, home FROM blob WHERE id = ?", (blob_id,)).fetchone()
        check(row is not None, f"blob {blob_id.hex()} is not here")
        seq, size, home = row
        if home == 1:
            name = blob_id.hex()
            with open(os.path.join(self.folder, "blobs", name[:2], name), "rb") as f:
                blob = f.read()
        else:
            blob, = self.db.execute("SELECT bytes FROM small WHERE seq = ?", (seq,)).fetchone()
        check(len(blob) == size, f"blob {blob_id.hex()}: size")
        check_blob(blob, blob_id)
        return blob

    def content(self, file):
        """The bytes of a file, chunk by chunk; ends with Damage unless they have its SHA-256."""
        return read_file(file, self.blob, self.now)


def read_file(file, get_blob, now):
    digest, size = hashlib.sha256(), 0
    parts = [file.data] if file.data is not None else \
        walk(parse_entry(file.root), get_blob, now, MAX_NODE_LEVELS)
    for part in parts:
        digest.update(part)
        size += len(part)
        yield part
    check(size == file.size and digest.digest() == file.key, "file: not the SHA-256 of its key")


def walk(entry, get_blob, now, levels):
    payload = open_blob(get_blob(entry.id), entry, now)
    if entry.kind == CHUNK:
        check(len(payload) == entry.length, "tree: length of a chunk")
        yield payload
        return
    check(levels > 0 and len(payload) % 80 == 0 and len(payload) <= 80 * MAX_ENTRIES, "tree: node")
    children = [parse_entry(payload[i:i + 80]) for i in range(0, len(payload), 80)]
    check(sum(c.length for c in children) == entry.length, "tree: lengths")
    for child in children:
        yield from walk(child, get_blob, now, levels - 1)


# ---- vault.db and its log ----

def open_database(path):
    """A private copy with the log applied: no stock SQLite reads a log whose pages carry sums."""
    check(os.path.exists(path), f"no {path}: without records, blobs and keyring give nothing back")
    with open(path, "rb") as f:
        pages = bytearray(f.read())
    if os.path.exists(path + "-wal"):
        with open(path + "-wal", "rb") as f:
            apply_log(pages, f.read())
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(pages)
        copy.flush()
        source = sqlite3.connect(f"file:{copy.name}?immutable=1", uri=True)
        db = sqlite3.connect(":memory:")
        source.backup(db)
        source.close()
    check(db.execute("PRAGMA application_id").fetchone()[0] == 0x50565631, "vault.db: not a vault")
    check(db.execute("PRAGMA user_version").fetchone()[0] <= 1, "vault.db: of a later version")
    return db


def log_sum(data, order, s):
    s0, s1 = s
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        s0 = (s0 + words[i] + s1) & 0xffffffff
        s1 = (s1 + words[i + 1] + s0) & 0xffffffff
    return s0, s1


def apply_log(pages, log):
    """SQLite's write-ahead log up to its last whole commit; sums are taken with zeros in the page's."""
    if len(log) < 32 or struct.unpack(">I", log[:4])[0] & ~1 != 0x377f0682:
        return
    order = ">" if log[3] & 1 else "<"
    s = log_sum(log[:24], order, (0, 0))
    if struct.pack(">II", *s) != log[24:32]:
        return
    pending = {}
    for at in range(32, len(log) - 24 - 4096 + 1, 24 + 4096):
        header, page = log[at:at + 24], log[at + 24:at + 24 + 4096]
        number, db_pages = struct.unpack(">II", header[:8])
        s = log_sum(header[:8] + page[:4088] + bytes(8), order, s)
        if header[8:16] != log[16:24] or header[16:] != struct.pack(">II", *s):
            return
        pending[number] = page
        if db_pages:
            pages.extend(bytes(max(0, db_pages * 4096 - len(pages))))
            for k, content in pending.items():
                pages[(k - 1) * 4096:k * 4096] = content
            del pages[db_pages * 4096:]
            pending.clear()


def main(folder, target=None):
    vault = Vault(folder, int(time.time()))
    for file in vault.files.values():
        names = [name.decode("utf-8", "surrogateescape") for name in vault.names_of(file)]
        print(json.dumps({"key": file.key.hex(), "size": file.size, "mtime_ms": file.mtime_ms,
                          "private": file.private, "names": names}))
        if target:
            with open(os.path.join(target, file.key.hex()), "wb") as f:
                f.writelines(vault.content(file))
    for name, value in vault.values.items():
        print(json.dumps({"value_of": name.decode("utf-8", "surrogateescape"), "value": value.hex()}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Damage as error:
        sys.exit(f"extract.py: {error}")
