"""An authenticated connection to a daemon: handshake, sealed frames, HELLO, GOODBYE.

Written from transport/protocol.md and storage/format.md alone, as a model of a client in another
language and as the proof that the documents suffice. It checks all that they tell a dialler to check;
client.py speaks the messages. Needs python3-cryptography.
"""
import hmac
import os
import socket
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from extract import ClusterKey, Damage, check, hmac256, sha256, verify, x
from harness import secret_of_token

HELLO, PING, PONG, STORE, WANT, STORED, GET, FOUND, NOT_FOUND, FETCH, CANCEL, FULL, LOST = \
    1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
DIGEST, RECORD, ERROR, GOODBYE = 16, 17, 19, 20
FIN, RST = 1, 2
BLOBS, RECORDS = 1, 2  # of STORED
DATA = 0  # what receive() calls stream data, which has no message type
KEYED = 1
MAX_SKEW_MS = 300000


class Closed(Exception):
    """The connection has ended; reason: that of the GOODBYE, None without one."""

    def __init__(self, reason=None):
        super().__init__(f"closed, GOODBYE {reason}")
        self.reason = reason


def now_ms():
    return int(time.time() * 1000)


def raw(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


class Cipher:
    """Seals or opens the frames of one direction."""

    def __init__(self, key):
        self.key, self.n = key, 0

    def step(self):
        if self.n > 0 and self.n % 65536 == 0:
            self.key = AESGCM(self.key).encrypt(bytes(4) + b"\xff" * 8, bytes(32), b"")[:32]
        self.n += 1
        return AESGCM(self.key), bytes(4) + struct.pack(">Q", self.n - 1)

    def seal(self, kind, plain):
        header = struct.pack(">BI", kind, len(plain) + 16)
        aead, nonce = self.step()
        return header + aead.encrypt(nonce, plain, header)

    def open(self, header, sealed):
        aead, nonce = self.step()
        return aead.decrypt(nonce, sealed, header)


class Noise:
    """Symmetric state of Noise_XXpsk3_25519_AESGCM_SHA256."""

    def __init__(self, prologue):
        self.h = self.ck = b"Noise_XXpsk3_25519_AESGCM_SHA256"
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = sha256(self.h, data)

    def hkdf(self, material, count):
        key, out = hmac256(self.ck, material), [b""]
        for i in range(count):
            out.append(hmac256(key, out[-1] + bytes([i + 1])))
        return out[1:]

    def mix_key(self, material):
        self.ck, key = self.hkdf(material, 2)
        self.cipher = Cipher(key)

    def mix_psk(self, psk):
        self.ck, temporary, key = self.hkdf(psk, 3)
        self.mix_hash(temporary)
        self.cipher = Cipher(key)

    def mix_ephemeral(self, public):
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, plain):
        aead, nonce = self.cipher.step()
        sealed = aead.encrypt(nonce, plain, self.h)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        aead, nonce = self.cipher.step()
        plain = aead.decrypt(nonce, sealed, self.h)
        self.mix_hash(sealed)
        return plain


class Identity:
    """What a node keeps from one connection to the next."""

    def __init__(self):
        self.signer = Ed25519PrivateKey.generate()
        self.public = raw(self.signer)
        self.node_id = sha256(self.public)
        self.store_uuid, self.boot_random = os.urandom(16), os.urandom(16)


class Session:
    """A connection after its handshake: sealed messages in both directions."""

    def __init__(self, address, token, cluster_key, identity=None):
        self.identity = identity or Identity()
        self.key = ClusterKey(bytes.fromhex(cluster_key))
        prk = hmac256(b"PV1/token", secret_of_token(token))
        self.gate, self.psk = x(prk, b"gate"), x(prk, b"noise-psk")
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.shake_hands()

    def start(self):
        """The two HELLOs."""
        self.send(HELLO, self.hello())
        kind, body = self.receive()
        check(kind == HELLO, "first message is no HELLO")
        self.check_hello(body)

    # ---- handshake ----

    def exactly(self, length):
        data = b""
        while len(data) < length:
            try:
                part = self.socket.recv(length - len(data))
            except ConnectionError:
                part = b""
            if not part:
                raise Closed()
            data += part
        return data

    def tag(self, msg, before, message):
        return hmac256(self.gate, b"PV1/gate" + bytes([msg]) + before + message)

    def shake_hands(self):
        ts = now_ms()
        e, s = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        m1 = envelope(1, ts)
        noise = Noise(b"PeerVault/1\0" + m1)
        noise.mix_ephemeral(raw(e))
        m1 += raw(e) + noise.seal(b"")
        t1 = self.tag(1, b"", m1)
        self.socket.sendall(struct.pack(">BI", 1, 96) + m1 + t1)

        kind, length = struct.unpack(">BI", self.exactly(5))
        check(kind == 1 and length in (48, 336), "M2: frame")
        m2 = self.exactly(length)
        check(m2[:4] == b"PVH1" and m2[5:8] == b"\1\0\0", "M2: envelope")
        check(length == 336 and m2[4] == 2, "the listener's clock differs")
        t2, m2 = m2[-32:], m2[:-32]
        check(hmac.compare_digest(t2, self.tag(2, t1, m2)), "M2: gate tag")
        their_ts, = struct.unpack_from(">Q", m2, 8)
        check(abs(their_ts - now_ms()) <= MAX_SKEW_MS, "M2: clock")
        noise.mix_ephemeral(m2[16:48])
        their_e = X25519PublicKey.from_public_bytes(m2[16:48])
        noise.mix_key(e.exchange(their_e))
        their_static = noise.open(m2[48:96])
        noise.mix_key(e.exchange(X25519PublicKey.from_public_bytes(their_static)))
        self.check_certificate(noise.open(m2[96:]), their_static, their_ts)

        ts = now_ms()
        m3 = envelope(3, ts) + noise.seal(raw(s))
        noise.mix_key(s.exchange(their_e))
        noise.mix_psk(self.psk)
        m3 += noise.seal(self.certificate(raw(s), ts))
        self.socket.sendall(struct.pack(">BI", 1, 304) + m3 + self.tag(3, t2, m3))
        self.out, self.into = (Cipher(k) for k in noise.hkdf(b"", 2))
        self.h = noise.h

    def certificate(self, static, ts):
        dates = struct.pack(">QQ", ts // 1000 - 3600, ts // 1000 + 6 * 86400)
        return struct.pack(">BBHIQ", 1, KEYED, 0, 0, ts) + self.identity.node_id + \
            self.identity.public + dates + \
            self.identity.signer.sign(b"PV1/noise-static\0" + static + dates) + bytes(32)

    def check_certificate(self, data, static, ts):
        version, role, zero, _, again, node_id, public, since, until, signature, zero_2 = \
            struct.unpack(">BBHIQ32s32sQQ64s32s", data)
        check(version == 1 and role in (1, 2) and zero == 0 and again == ts, "certificate: fields")
        check(node_id == sha256(public) and zero_2 == bytes(32), "certificate: node id")
        now = now_ms() // 1000
        check(until - since <= 7 * 86400 and since - 300 <= now <= until + 300, "certificate: dates")
        verify(public, signature, b"PV1/noise-static\0" + static + data[80:96], "certificate")
        check(node_id != self.identity.node_id, "dialled itself")
        self.their_id, self.their_role = node_id, role

    def proof(self, side, node_id):
        return x(x(self.key.prk, b"member"), b"proof", self.h + side + node_id)

    def hello(self):
        return struct.pack(">HIB16sQ16sHB", 1, 0, KEYED, self.identity.store_uuid, 1,
                           self.identity.boot_random, 0, 1) + \
            self.key.kid + self.proof(b"\1", self.identity.node_id)

    def check_hello(self, body):
        version, _, role, _, _, _, _, proofs = struct.unpack_from(">HIB16sQ16sHB", body)
        check(version >= 1 and role == self.their_role and proofs <= 16, "HELLO: fields")
        pairs = [body[50 + 40 * i:90 + 40 * i] for i in range(proofs)]
        check(len(body) == 50 + 40 * proofs, "HELLO: length")
        check(role != KEYED or self.key.kid + self.proof(b"\2", self.their_id) in pairs,
              "HELLO: the listener has another cluster key")

    # ---- messages ----

    def send(self, kind, body=b""):
        self.socket.sendall(self.out.seal(1, bytes([kind]) + body))

    def send_data(self, stream, flags, data=b""):
        self.socket.sendall(self.out.seal(2, struct.pack(">IB3x", stream, flags) + data))

    def receive(self):
        """Type and body of the next message, or DATA and (stream, flags, bytes)."""
        header = self.exactly(5)
        kind, length = struct.unpack(">BI", header)
        check(kind in (1, 2) and 17 <= length <= 65552, "frame: header")
        try:
            plain = self.into.open(header, self.exactly(length))
        except InvalidTag:
            raise Damage("frame: wrong tag") from None
        if kind == 2:
            check(len(plain) >= 8 and plain[4] <= 2 and plain[5:8] == bytes(3), "stream: header")
            check(len(plain) > 8 or plain[4] in (FIN, RST), "stream: empty")
            return DATA, (struct.unpack(">I", plain[:4])[0], plain[4], plain[8:])
        if plain[0] == GOODBYE:
            reason, last_n = struct.unpack(">BQ", plain[1:])
            check(last_n == self.into.n - 1, "GOODBYE: frames are missing")
            raise Closed(reason)
        return plain[0], plain[1:]

    def goodbye(self, reason=1):
        self.send(GOODBYE, struct.pack(">BQ", reason, self.out.n))

    def until_closed(self):
        """Reads to the end: the reason of their GOODBYE, None without one."""
        try:
            while True:
                self.receive()
        except Closed as end:
            return end.reason


def envelope(msg, ts):
    return b"PVH1" + struct.pack(">BBHQ", msg, 1, 0, ts)
