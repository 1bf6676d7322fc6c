"""Makes what extract.py reads: blobs, trees, signed records. From storage/format.md alone."""
import os
import struct
from collections import namedtuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from extract import ADDRESS, CHUNK, CLEAR, DAY, FILE, INLINE, MAX_ENTRIES, MEMBER, NAME, NODE, \
    TOMBSTONE, hkdf_expand, padme, sha256, x

CUT = 978944  # fixed chunks: any cut is allowed, and what cuts as daemons do is chunker.py
NO_CHUNKER, FIXED = 0, 1
CONVERGENT = 1
INLINE_MAX = 4096

Sealed = namedtuple("Sealed", "key rid blobs records")  # blobs: [(bytes, kind)], records: [envelope]


def hlc_of(ms, counter=0):
    return ms << 16 | counter


# ---- blobs ----

def blob_header(key, size, epoch=0):
    return struct.pack(">4sB3s8sQII", b"PVB1", 1, bytes(3), key.kid, epoch, size, 0)


def seal_blob(key, payload, kind=CHUNK):
    """A blob that is the same on every node and day; its bytes and its data key."""
    plain = struct.pack(">IBBBB", len(payload), 0, kind, CONVERGENT, 0) + payload
    size = max(256, padme(len(plain)))
    header = blob_header(key, size)
    data_key = x(key.conv_key(0), b"chunk", header + sha256(plain))
    return header + AESGCM(data_key).encrypt(bytes(12), plain.ljust(size, b"\0"), header), data_key


def entry_of(blob, data_key, length, kind):
    return sha256(blob) + data_key + struct.pack(">QB7x", length, kind)


def seal_tree(key, content):
    """The root entry and [(blob, kind)], children before their parents."""
    blobs, level = [], []  # level: [(entry, length)]
    for at in range(0, len(content), CUT):
        chunk = content[at:at + CUT]
        blob, data_key = seal_blob(key, chunk)
        blobs.append((blob, CHUNK))
        level.append((entry_of(blob, data_key, len(chunk), CHUNK), len(chunk)))
    while len(level) > 1:
        above = []
        for at in range(0, len(level), MAX_ENTRIES):
            part = level[at:at + MAX_ENTRIES]
            length = sum(entry[1] for entry in part)
            blob, data_key = seal_blob(key, b"".join(entry[0] for entry in part), NODE)
            blobs.append((blob, NODE))
            above.append((entry_of(blob, data_key, length, NODE), length))
        level = above
    return level[0][0], blobs


# ---- records ----

def sign_record(identity, envelope):
    return envelope + identity.signer.sign(b"PV1/record\0" + envelope)


def seal_record(identity, key, kind, rid, hlc, body, flags=0, epoch=None):
    size = padme(max(512, len(body)))
    epoch = (hlc >> 16) // 1000 // DAY * DAY if epoch is None else epoch
    head = struct.pack(">4sBBH8sQ32sQQ32s32s", b"PVR1", kind, 1, flags, key.kid, epoch, rid, hlc, 0,
                       identity.public, os.urandom(32))
    material = hkdf_expand(key.record_key(epoch), b"PV1/record\0" + head, 76)
    sealed = AESGCM(material[:32]).encrypt(material[32:44], body.ljust(size, b"\0"), head)
    return sign_record(identity, head + material[44:] + struct.pack(">II", size, 0) + sealed)


def clear_rid(kind, subject):
    return sha256(b"PV1/rid\0", bytes([kind]), subject)


def clear_record(identity, kind, rid, hlc, body, flags=0):
    return sign_record(identity, struct.pack(
        ">4sBBH8sQ32sQQ32s32s32sII", b"PVR1", kind, 1, CLEAR | flags, bytes(8), 0, rid, hlc, 0,
        identity.public, bytes(32), bytes(32), len(body), 0) + body)


def member_record(identity, public, hlc, role=1, generation=0, expelled=False, zone=b""):
    """identity admits, or expels, the node with this public key."""
    body = struct.pack(">BBBBIB7s32s", 1, expelled, role, 1, generation, len(zone), bytes(7), public)
    return clear_record(identity, MEMBER, clear_rid(MEMBER, sha256(public)), hlc, body + zone)


def address_record(identity, addresses, hlc, capacity=0):
    lengths = bytes(len(a) for a in addresses).ljust(8, b"\0")
    body = struct.pack(">BB6sQ32s8s", 1, len(addresses), bytes(6), capacity, identity.public, lengths)
    return clear_record(identity, ADDRESS, clear_rid(ADDRESS, identity.node_id), hlc,
                        body + b"".join(addresses))


def stated(identity, kind, subject, hlc, rest, flags):
    """A body behind the statement of its author."""
    text = struct.pack(">B", kind) + subject + struct.pack(">QH", hlc, flags) + sha256(rest)
    return struct.pack(">32sQH6x64s", identity.public, hlc, flags,
                       identity.signer.sign(b"PV1/body\0" + text)) + rest


def file_record(identity, key, digest, size, hlc, root=None, data=b"", name=b"", flags=0):
    """root: its tree; without one the data is in the record."""
    what, chunker = (0, FIXED) if root else (INLINE, NO_CHUNKER)
    rest = struct.pack(">BBBxHHQQ32s32s80s", 1, what, chunker, len(name), len(data), size, hlc >> 16,
                       digest, bytes(32), root or b"") + name + data
    rid = x(key.loc, b"file", digest)
    body = stated(identity, FILE, digest, hlc, rest, flags)
    return seal_record(identity, key, FILE, rid, hlc, body, flags)


def name_record(identity, key, name, digest, hlc, flags=0):
    rest = struct.pack(">BBHI32s32s", 1, 1, len(name), 0, digest, x(key.loc, b"file", digest)) + name
    body = stated(identity, NAME, name, hlc, rest, flags)
    return seal_record(identity, key, NAME, x(key.name, b"name", b"\2" + name), hlc, body, flags)


def seal_file(identity, key, name, content, hlc):
    """All that stores a file under a name: blobs first, then the records that mean them."""
    digest, root, blobs, data = sha256(content), None, [], content
    if len(content) > INLINE_MAX:
        root, blobs = seal_tree(key, content)
        data = b""
    records = [file_record(identity, key, digest, len(content), hlc, root, data, name),
               name_record(identity, key, name, digest, hlc + 1)]
    return Sealed(digest.hex(), x(key.loc, b"file", digest), blobs, records)


def tombstone_of(identity, key, digest, size, hlc, root=None, data=b"", name=b""):
    return file_record(identity, key, digest, size, hlc, root, data, name, TOMBSTONE)
