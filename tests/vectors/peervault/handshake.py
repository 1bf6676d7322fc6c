#!/usr/bin/env python3
"""One whole handshake and the first sealed frames, from a second implementation.

Written from transport/protocol.md, sharing no code with transport/ or crypto/. Prints
handshake.json; needs python3-cryptography:

    tests/vectors/peervault/handshake.py > tests/vectors/peervault/handshake.json
"""

import hashlib
import hmac
import json
import struct
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def x(key, label, ctx=b""):
    return hmac256(key, b"PV1/" + label + b"\0" + ctx + b"\1")


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def nonce(n):
    return bytes(4) + struct.pack(">Q", n)


class Noise:
    """Noise_XXpsk3_25519_AESGCM_SHA256, section by section of the specification."""

    NAME = b"Noise_XXpsk3_25519_AESGCM_SHA256"

    def __init__(self, prologue):
        assert len(self.NAME) == 32
        self.h = self.ck = self.NAME
        self.k, self.n = None, 0
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = sha256(self.h + data)

    def hkdf(self, ikm, count):
        prk = hmac256(self.ck, ikm)
        out, block = [], b""
        for i in range(count):
            block = hmac256(prk, block + bytes([i + 1]))
            out.append(block)
        return out

    def mix_key(self, ikm):
        self.ck, self.k = self.hkdf(ikm, 2)
        self.n = 0

    def mix_key_and_hash(self, ikm):
        self.ck, temp_h, self.k = self.hkdf(ikm, 3)
        self.mix_hash(temp_h)
        self.n = 0

    def encrypt_and_hash(self, plain):
        sealed = AESGCM(self.k).encrypt(nonce(self.n), plain, self.h) if self.k else plain
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def e(self, key):
        public = raw(key.public_key())
        self.mix_hash(public)
        self.mix_key(public)  # psk handshakes mix every e into the chaining key
        return public

    def dh(self, private, public):
        self.mix_key(private.exchange(X25519PublicKey.from_public_bytes(public)))

    def split(self):
        return self.hkdf(b"", 2)


class Node:
    def __init__(self, number, ts_ms):
        self.seed = bytes([number]) * 32
        self.signer = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = raw(self.signer.public_key())
        self.node_id = sha256(self.public)
        self.static_private = bytes([number + 0x10]) * 32
        self.ephemeral_private = bytes([number + 0x20]) * 32
        self.static = X25519PrivateKey.from_private_bytes(self.static_private)
        self.ephemeral = X25519PrivateKey.from_private_bytes(self.ephemeral_private)
        self.static_public = raw(self.static.public_key())
        self.ts_ms = ts_ms
        self.not_before = ts_ms // 1000 - 3600
        self.not_after = ts_ms // 1000 + 6 * 86400
        self.role = 1
        self.features = 0x01020304
        self.store_uuid = bytes([number + 0x30]) * 16
        self.open_count = number + 40
        self.boot_random = bytes([number + 0x50]) * 16
        self.listen_port = 3000 + number

    def certificate(self):
        dates = struct.pack(">QQ", self.not_before, self.not_after)
        signature = self.signer.sign(b"PV1/noise-static\0" + self.static_public + dates)
        payload = struct.pack(">BBHIQ", 1, self.role, 0, self.features, self.ts_ms)
        payload += self.node_id + self.public + dates + signature + bytes(32)
        assert len(payload) == 192
        return payload

    def hello(self, h, side, cluster_key):
        prk = hmac256(b"PV1/cluster", cluster_key)
        kid, member = x(prk, b"kid")[:8], x(prk, b"member")
        proof = x(member, b"proof", h + bytes([side]) + self.node_id)
        body = struct.pack(">BHIB", 1, 1, self.features, self.role) + self.store_uuid
        body += struct.pack(">Q", self.open_count) + self.boot_random
        body += struct.pack(">HB", self.listen_port, 1) + kid + proof
        assert len(body) == 91
        return body

    def fields(self):
        return {
            "seed": self.seed.hex(),
            "node_id": self.node_id.hex(),
            "static_private": self.static_private.hex(),
            "ephemeral_private": self.ephemeral_private.hex(),
            "ts_ms": self.ts_ms,
            "not_before_s": self.not_before,
            "not_after_s": self.not_after,
            "role": self.role,
            "features": self.features,
            "store_uuid": self.store_uuid.hex(),
            "open_count": self.open_count,
            "boot_random": self.boot_random.hex(),
            "listen_port": self.listen_port,
        }


def envelope(msg, ts_ms):
    return b"PVH1" + struct.pack(">BBHQ", msg, 1, 0, ts_ms)


def gate(k_gate, msg, previous, body):
    return hmac256(k_gate, b"PV1/gate" + bytes([msg]) + previous + body)


def seal(key, n, kind, plain):
    header = struct.pack(">BI", kind, len(plain) + 16)
    return header + AESGCM(key).encrypt(nonce(n), plain, header)


def frame(payload):
    return struct.pack(">BI", 1, len(payload)) + payload


def handshake(secret, cluster_key, dialler, listener):
    prk = hmac256(b"PV1/token", secret)
    k_gate, psk = x(prk, b"gate"), x(prk, b"noise-psk")

    e1 = envelope(1, dialler.ts_ms)
    noise = Noise(b"PeerVault/1\0" + e1)
    body = e1 + noise.e(dialler.ephemeral) + noise.encrypt_and_hash(b"")
    t1 = gate(k_gate, 1, b"", body)
    m1 = body + t1

    body = envelope(2, listener.ts_ms) + noise.e(listener.ephemeral)
    noise.dh(listener.ephemeral, raw(dialler.ephemeral.public_key()))  # ee
    body += noise.encrypt_and_hash(listener.static_public)
    noise.dh(listener.static, raw(dialler.ephemeral.public_key()))  # es
    body += noise.encrypt_and_hash(listener.certificate())
    t2 = gate(k_gate, 2, t1, body)
    m2 = body + t2

    body = envelope(3, dialler.ts_ms) + noise.encrypt_and_hash(dialler.static_public)
    noise.dh(dialler.static, raw(listener.ephemeral.public_key()))  # se
    noise.mix_key_and_hash(psk)
    body += noise.encrypt_and_hash(dialler.certificate())
    m3 = body + gate(k_gate, 3, t2, body)
    assert (len(m1), len(m2), len(m3)) == (96, 336, 304)

    from_dialler, from_listener = noise.split()
    clock = envelope(4, listener.ts_ms)
    clock += gate(k_gate, 4, t1, clock)
    hello_dialler = dialler.hello(noise.h, 1, cluster_key)
    hello_listener = listener.hello(noise.h, 2, cluster_key)
    ping = b"\x02" + struct.pack(">QQ", 0x0102030405060708, dialler.ts_ms)
    data = struct.pack(">IB3x", 7, 1) + b"the end of a blob"
    next_key = AESGCM(from_dialler).encrypt(nonce(2**64 - 1), bytes(32), b"")[:32]
    return {
        "token_secret": secret.hex(),
        "k_gate": k_gate.hex(),
        "psk": psk.hex(),
        "cluster_key": cluster_key.hex(),
        "dialler": dialler.fields(),
        "listener": listener.fields(),
        "m1": m1.hex(),
        "m2": m2.hex(),
        "m3": m3.hex(),
        "clock": clock.hex(),
        "h": noise.h.hex(),
        "key_from_dialler": from_dialler.hex(),
        "key_from_listener": from_listener.hex(),
        "key_from_dialler_after_rekey": next_key.hex(),
        "sent_by_dialler": (
            frame(m1) + frame(m3) + seal(from_dialler, 0, 1, hello_dialler)
        ).hex(),
        "sent_by_listener": (frame(m2) + seal(from_listener, 0, 1, hello_listener)).hex(),
        "frame_1_ping": seal(from_dialler, 1, 1, ping).hex(),
        "frame_2_data": seal(from_dialler, 2, 2, data).hex(),
        "frame_4_ping_after_rekey_at_4": seal(next_key, 4, 1, ping).hex(),
    }


def main():
    secret = bytes(range(32))
    cluster_key = bytes(range(100, 132))
    dialler, listener = Node(1, 1_767_225_600_123), Node(2, 1_767_225_600_456)
    json.dump(handshake(secret, cluster_key, dialler, listener), sys.stdout, indent=1)
    print()


main()
