#!/usr/bin/python3
"""Writes the vectors of this folder, from storage/format.md and not from the C code.

Needs python3-cryptography. Everything is derived from fixed inputs: a second run writes the same
files. Byte strings are hex. A "pattern" of length L is the bytes (31 * i + i // 256) mod 256.
"""

import base64
import hashlib
import hmac
import json
import os
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = os.path.dirname(os.path.abspath(__file__))

CLUSTER_KEYS = [bytes(range(32)), hashlib.sha256(b"second cluster key").digest()]
SEED = hashlib.sha256(b"node seed").digest()
EPOCHS = [0, 1577836800, 1767225600]


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def x(key, label, ctx=b""):
    return hmac256(key, b"PV1/", label, b"\0", ctx, b"\1")


def hkdf_expand(prk, info, length):
    out, block, n = b"", b"", 0
    while len(out) < length:
        n += 1
        block = hmac256(prk, block, info, bytes([n]))
        out += block
    return out[:length]


def u8(v):
    return struct.pack(">B", v)


def u16(v):
    return struct.pack(">H", v)


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower()


def pattern(length):
    return bytes((31 * i + i // 256) % 256 for i in range(length))


def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def padme(length):
    e = length.bit_length() - 1
    s = e.bit_length()  # floor(log2 e) + 1
    step = 1 << (e - s)
    return (length + step - 1) // step * step


class ClusterKeys:
    def __init__(self, cluster_key):
        self.cluster_key = cluster_key
        self.prk = hmac256(b"PV1/cluster", cluster_key)
        self.kid = x(self.prk, b"kid")[:8]
        self.loc = x(self.prk, b"loc")
        self.name = x(self.prk, b"name")
        self.hint = x(self.prk, b"hint")
        self.member = x(self.prk, b"member")
        self.chunker = hkdf_expand(self.prk, b"PV1/chunker\0", 2064)

    def conv(self, epoch):
        return x(x(self.prk, b"conv"), b"epoch", u64(epoch))

    def rec(self, epoch):
        return x(x(self.prk, b"rec"), b"epoch", u64(epoch))


def make_keys():
    out = []
    content = sha256(b"content")
    salt = sha256(b"private salt")
    for cluster_key in CLUSTER_KEYS:
        k = ClusterKeys(cluster_key)
        out.append({
            "cluster_key": cluster_key.hex(),
            "kid": k.kid.hex(),
            "loc": k.loc.hex(),
            "name": k.name.hex(),
            "hint": k.hint.hex(),
            "member": k.member.hex(),
            "chunker": k.chunker.hex(),
            "epochs": [{"epoch": e, "conv": k.conv(e).hex(), "rec": k.rec(e).hex()}
                       for e in EPOCHS],
            "file_sha256": content.hex(),
            "rid_file": x(k.loc, b"file", content).hex(),
            "private_salt": salt.hex(),
            "rid_private": x(k.loc, b"private", salt).hex(),
            "rid_names": [{"name": n.hex(), "rid": x(k.name, b"name", u8(2) + n).hex()}
                          for n in (b"a", "gr\u00fc\u00dfe.txt".encode(), b"n" * 1024)],
            "rid_clear": [{"type": t, "subject": content.hex(),
                           "rid": sha256(b"PV1/rid\0", u8(t), content).hex()}
                          for t in (3, 5, 6)],
            "prefix_tag": x(k.loc, b"pfx", content[:4])[:8].hex(),
        })
    return out


def make_tokens():
    random_secret = sha256(b"token")
    random_token = "pvt1-" + base32(random_secret + sha256(random_secret)[:4])
    out = []
    for token in (random_token, random_token.upper(), "correct horse battery staple", "short"):
        if token.lower().startswith("pvt1-"):
            secret = random_secret
        else:
            secret = hashlib.scrypt(token.encode(), salt=b"PV1/auth-token", n=2**15, r=8, p=3,
                                    maxmem=64 * 1024 * 1024, dklen=32)
        prk = hmac256(b"PV1/token", secret)
        out.append({"token": token,
                    "weak": secret != random_secret and len(token) < 20,
                    "gate": x(prk, b"gate").hex(),
                    "psk": x(prk, b"noise-psk").hex()})
    return out


def seal_blob(k, epoch, kind, payload, random_dk=None):
    n = max(256, padme(8 + len(payload)))
    header = b"PVB1" + u8(1) + bytes(3) + k.kid + u64(epoch) + u32(n) + bytes(4)
    pre = u32(len(payload)) + u8(0) + u8(kind) + u8(2 if random_dk else 1) + u8(0)
    dk = random_dk or x(k.conv(epoch), b"chunk", header + sha256(pre, payload))
    plain = pre + payload + bytes(n - 8 - len(payload))
    blob = header + AESGCM(dk).encrypt(bytes(12), plain, header)
    return sha256(blob), dk, blob


def make_blobs():
    k = ClusterKeys(CLUSTER_KEYS[0])
    out = []
    lengths = [1, 247, 248, 249, 4095, 4096, 4097, 65536, 978943, 978944, 978945, 983031, 983032]
    cases = [(0, 1, length, None) for length in lengths]
    cases += [(EPOCHS[2], 1, 1, None), (EPOCHS[2], 1, 4096, None), (0, 2, 160, None),
              (0, 1, 300, sha256(b"random key")), (0, 2, 80, sha256(b"another random key"))]
    for epoch, kind, length, random_dk in cases:
        blob_id, dk, blob = seal_blob(k, epoch, kind, pattern(length), random_dk)
        case = {"epoch": epoch, "kind": kind, "payload_len": length, "random": bool(random_dk),
                "dk": dk.hex(), "id": blob_id.hex(), "blob_len": len(blob)}
        if len(blob) <= 512:
            case["blob"] = blob.hex()
        out.append(case)
    return {"cluster_key": k.cluster_key.hex(), "payload": "pattern", "blobs": out}


def entry(kind, length, tag):
    return sha256(tag, b" id") + sha256(tag, b" dk") + u64(length) + u8(kind) + bytes(7)


def statement(seed, type_, subject, hlc, flags, rest):
    message = b"PV1/body\0" + u8(type_) + subject + u64(hlc) + u16(flags) + sha256(rest)
    return public(seed) + u64(hlc) + u16(flags) + bytes(6) + sign(seed, message) + rest


def file_body(hlc, flags, name, size, mtime, content_hash, chunker, root=None, data=b"", salt=None):
    inline = root is None
    rest = (u8(1) + u8((1 if inline else 0) | (2 if salt else 0)) + u8(chunker) + u8(0) +
            u16(len(name)) + u16(len(data)) + u64(size) + u64(mtime) + content_hash +
            (salt or bytes(32)) + (root or bytes(80)) + name + data)
    return statement(SEED, 1, content_hash, hlc, flags, rest)


def name_body(hlc, flags, name, content_hash, rid):
    rest = u8(1) + u8(1) + u16(len(name)) + bytes(4) + content_hash + rid + name
    return statement(SEED, 2, name, hlc, flags, rest)


def value_body(hlc, flags, name, value):
    rest = u8(1) + u8(2) + u16(len(name)) + u32(len(value)) + name + value
    return statement(SEED, 2, name, hlc, flags, rest)


def member_body(flags, role, weight, generation, subject, zone):
    return (u8(1) + u8(flags) + u8(role) + u8(weight) + u32(generation) + u8(len(zone)) + bytes(7) +
            subject + zone)


def address_body(capacity, subject, addresses):
    lengths = bytes(len(a) for a in addresses) + bytes(8 - len(addresses))
    return u8(1) + u8(len(addresses)) + bytes(6) + u64(capacity) + subject + lengths + \
        b"".join(addresses)


HLC = (1767225600123 << 16) | 7


def example_bodies():
    k = ClusterKeys(CLUSTER_KEYS[0])
    data = b"hello, vault\n"
    salt = sha256(b"private salt")
    content = sha256(b"content")
    return {
        "file_inline": file_body(HLC, 0, b"hello.txt", len(data), 1767225599000, sha256(data), 0,
                                 data=data),
        "file_empty": file_body(HLC, 0, b"", 0, 0, sha256(b""), 0),
        "file_tree": file_body(HLC, 0, b"big.bin", 5000000, 1767225599000, content, 2,
                               root=entry(2, 5000000, b"root")),
        "file_private_tombstone": file_body(HLC, 1, b"secret", 300, 1767225599000, content, 1,
                                            root=entry(1, 300, b"private"), salt=salt),
        "name": name_body(HLC, 0, b"notes/hello.txt", sha256(data),
                          x(k.loc, b"file", sha256(data))),
        "value": value_body(HLC, 0, b"config/colour", b"blue\0\xff"),
        "value_empty": value_body(HLC, 0, b"config/colour", b""),
        "value_tombstone": value_body(HLC, 1, b"config/colour", b""),
        "member": member_body(0, 1, 16, 0, public(SEED), b""),
        "member_expelled": member_body(3, 2, 1, 0xfffffffe, public(SEED), b"z" * 32),
        "address": address_body(1 << 40, public(SEED), [b"192.0.2.7:3000", b"[2001:db8::1]:3000"]),
        "address_none": address_body(0, public(SEED), []),
    }


def make_bodies():
    out = {"seed": SEED.hex(), "public": public(SEED).hex(), "hlc": "%016x" % HLC}
    for name, body in example_bodies().items():
        out[name] = body.hex()
    return out


def seal_record(k, type_, flags, rid, hlc, epoch, salt, body):
    clear = flags & 2
    context = (b"PVR1" + u8(type_) + u8(1) + u16(flags) + (bytes(8) if clear else k.kid) +
               u64(epoch) + rid + u64(hlc) + bytes(8) + public(SEED) +
               (bytes(32) if clear else salt))
    if clear:
        signed = context + bytes(32) + u32(len(body)) + bytes(4) + body
    else:
        okm = hkdf_expand(k.rec(epoch), b"PV1/record\0" + context, 76)
        n = padme(max(512, len(body)))
        sealed = AESGCM(okm[:32]).encrypt(okm[32:44], body + bytes(n - len(body)), context)
        signed = context + okm[44:] + u32(n) + bytes(4) + sealed
    return signed + sign(SEED, b"PV1/record\0" + signed)


def make_records():
    k = ClusterKeys(CLUSTER_KEYS[0])
    bodies = example_bodies()
    node_id = sha256(public(SEED))
    content = sha256(b"content")
    cases = [
        (1, 0, x(k.loc, b"file", content), EPOCHS[1], bodies["file_tree"]),
        (1, 1, x(k.loc, b"private", sha256(b"private salt")), EPOCHS[2],
         bodies["file_private_tombstone"]),
        (2, 0, x(k.name, b"name", u8(2) + b"notes/hello.txt"), EPOCHS[2], bodies["name"]),
        (1, 0, x(k.loc, b"file", content), EPOCHS[2], b""),
        (1, 0, x(k.loc, b"file", content), EPOCHS[2], pattern(513)),
        (3, 2, sha256(b"PV1/rid\0", u8(3), node_id), 0, bodies["member"]),
        (5, 2, sha256(b"PV1/rid\0", u8(5), node_id), 0, bodies["address"]),
        (200, 2, sha256(b"PV1/rid\0", u8(200)), 0, b""),
    ]
    out = []
    for n, (type_, flags, rid, epoch, body) in enumerate(cases):
        salt = sha256(b"record salt", u8(n))
        envelope = seal_record(k, type_, flags, rid, HLC, epoch, salt, body)
        out.append({"type": type_, "flags": flags, "rid": rid.hex(), "epoch": epoch,
                    "salt": salt.hex(), "body": body.hex(), "envelope": envelope.hex(),
                    "hash": sha256(envelope).hex()})
    return {"cluster_key": k.cluster_key.hex(), "seed": SEED.hex(), "hlc": "%016x" % HLC,
            "records": out}


def gf32_mul(a, b):
    product = 0
    for i in range(5):
        if b >> i & 1:
            product ^= a << i
    for i in range(8, 4, -1):
        if product >> i & 1:
            product ^= 0b100101 << (i - 5)
    return product


def node_text(node_id):
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    digits = base32(node_id)
    groups = []
    for g in range(13):
        group = digits[4 * g:4 * g + 4]
        check = g
        for power, digit in zip((4, 3, 2, 1), group):
            weight = 1
            for _ in range(power):
                weight = gf32_mul(weight, 2)
            check ^= gf32_mul(weight, alphabet.index(digit))
        groups.append(group + alphabet[check])
    return "-".join(groups)


def make_identities():
    out = []
    for seed in (SEED, bytes(32), sha256(b"third seed")):
        body = b"PVI1" + bytes(4) + seed
        node_id = sha256(public(seed))
        out.append({"file": (body + sha256(body)).hex(), "public": public(seed).hex(),
                    "node_id": node_id.hex(), "text": node_text(node_id)})
    return out


def make_keyring():
    keys = [ClusterKeys(c) for c in CLUSTER_KEYS]
    token = make_tokens()[0]["token"]
    text = ("peervault-keyring 1\n"
            "cluster %s %s read-only 1767225600\n"
            "cluster %s %s active 1767312000\n"
            "dedup %s\n"
            "token %s 1767312001\n"
            "token correct horse battery staple 1767225601\n" %
            (keys[0].kid.hex(), keys[0].cluster_key.hex(), keys[1].kid.hex(),
             keys[1].cluster_key.hex(), keys[0].kid.hex(), token))
    text += "sum %s\n" % sha256(text.encode()).hex()
    return {"text": text, "active": keys[1].kid.hex(), "dedup": keys[0].kid.hex(),
            "tokens": [token, "correct horse battery staple"]}


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="ascii") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def main():
    write("keys.json", make_keys())
    write("tokens.json", make_tokens())
    write("blobs.json", make_blobs())
    write("bodies.json", make_bodies())
    write("records.json", make_records())
    write("identities.json", make_identities())
    write("keyring.json", make_keyring())


if __name__ == "__main__":
    main()
