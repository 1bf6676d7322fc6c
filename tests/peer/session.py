"""An authenticated connection to a node: handshake, sealed frames, HELLO, GOODBYE.

Written from transport/protocol.md and storage/format.md alone, as a model of a node in another
language and as the proof that the documents suffice. It dials and listens, with a cluster key or
without one, and checks all that they tell either side to check; client.py speaks the messages.
Needs python3-cryptography.
"""
import base64
import hashlib
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

HELLO, PING, PONG, STORE, WANT, STORED, GET, FOUND, NOT_FOUND, FETCH, CANCEL, FULL, LOST = \
    1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
TOKEN, DIGEST, RECORD, JOIN, ERROR, GOODBYE = 15, 16, 17, 18, 19, 20
FIN, RST = 1, 2
BLOBS, RECORDS = 1, 2  # of STORED
DATA = 0  # what receive() calls stream data, which has no message type
KEYED, BLIND = 1, 2
SHUTDOWN, DUPLICATE, OTHER_KEY, NOT_MEMBER, TWICE, LIMIT, PROTOCOL, IDLE, RENEW, BANNED = \
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11
MAX_SKEW_MS = 300000
M1, M2, M3, CLOCK = 1, 2, 3, 4
LENGTHS = {M1: 96, M2: 336, M3: 304, CLOCK: 48}


class Closed(Exception):
    """The connection has ended; reason: that of the GOODBYE, None without one."""

    def __init__(self, reason=None):
        super().__init__(f"closed, GOODBYE {reason}")
        self.reason = reason


def now_ms():
    return int(time.time() * 1000)


def raw(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def secret_of_token(token):
    """S of storage/format.md."""
    if token.lower().startswith("pvt1-"):
        data = base64.b32decode(token[5:].upper() + "======")
        check(len(data) == 36 and sha256(data[:32])[:4] == data[32:], "token: a wrong digit")
        return data[:32]
    return hashlib.scrypt(token.encode(), salt=b"PV1/auth-token", n=1 << 15, r=8, p=3, dklen=32,
                          maxmem=64 << 20)


class Token:
    """The two keys of a token."""

    def __init__(self, text):
        prk = hmac256(b"PV1/token", secret_of_token(text))
        self.gate, self.psk = x(prk, b"gate"), x(prk, b"noise-psk")

    def tag(self, msg, before, message):
        return hmac256(self.gate, b"PV1/gate" + bytes([msg]) + before + message)


class Invite(Token):
    """The two keys of an invite, and what else its code says."""

    def __init__(self, code):
        digits, _, self.addresses = code.partition("@")
        check(digits.lower().startswith("pvj1-"), "invite: prefix")
        data = base64.b32decode(digits[5:].upper() + "======")
        check(len(data) == 46 and sha256(data[:42])[:4] == data[42:], "invite: a wrong digit")
        version, self.role, self.inviter, name, secret, self.expires = \
            struct.unpack(">BB16s4s16sI", data[:42])
        check(version == 1, "invite: version")
        self.prk = hmac256(b"PV1/invite", name + secret)
        self.gate, self.psk = x(self.prk, b"gate"), x(self.prk, b"noise-psk")

    def number(self, h):
        """Six digits that the two ends of a session under it know."""
        return "%06d" % (int.from_bytes(x(self.prk, b"sas", h)[:8], "big") % 1000000)


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
        self.static = X25519PrivateKey.generate()
        self.store_uuid, self.boot_random, self.opens = os.urandom(16), os.urandom(16), 1


def envelope(msg, ts):
    return b"PVH1" + struct.pack(">BBHQ", msg, 1, 0, ts)


def frame_of(message):
    return struct.pack(">BI", 1, len(message)) + message


class Handshake:
    """The three messages of either side, without their frames; nothing here does input or output.

    make_ and read_ are called in turn; after the third message `h` and `keys`, the dialler's key
    first, are there. read_1 raises WrongClock where the answer is the clock message.
    """

    def __init__(self, identity, token, role=KEYED):
        self.identity, self.token, self.role = identity, token, role
        self.e, self.s = X25519PrivateKey.generate(), identity.static

    def begin(self, m1_envelope):
        self.noise = Noise(b"PeerVault/1\0" + m1_envelope)

    def finish(self):
        self.keys, self.h = self.noise.hkdf(b"", 2), self.noise.h

    def tagged(self, msg, before, message):
        tag = self.token.tag(msg, before, message)
        return tag, message + tag

    def open_gate(self, msg, before, message):
        """Length, envelope, gate tag and clock: the message without its tag, and the tag."""
        check(len(message) == LENGTHS[msg] and message[:8] == envelope(msg, 0)[:8], f"M{msg}: envelope")
        message, tag = message[:-32], message[-32:]
        check(hmac.compare_digest(tag, self.token.tag(msg, before, message)), f"M{msg}: gate tag")
        ts, = struct.unpack_from(">Q", message, 8)
        if abs(ts - self.clock()) > MAX_SKEW_MS:
            raise WrongClock(ts, self.tagged(CLOCK, tag, envelope(CLOCK, self.clock()))[1])
        return message, tag, ts

    def clock(self):
        return now_ms()

    # ---- dialler ----

    def make_1(self):
        ts = self.clock()
        m1 = envelope(M1, ts)
        self.begin(m1)
        self.noise.mix_ephemeral(raw(self.e))
        m1 += raw(self.e) + self.noise.seal(b"")
        self.tag, m1 = self.tagged(M1, b"", m1)
        self.opened = {True: ts}
        return m1

    def read_2(self, message):
        if len(message) == LENGTHS[CLOCK]:
            check(hmac.compare_digest(message[16:], self.token.tag(CLOCK, self.tag, message[:16])),
                  "clock message: gate tag")
            raise WrongClock(struct.unpack_from(">Q", message, 8)[0])
        m2, self.tag, ts = self.open_gate(M2, self.tag, message)
        noise = self.noise
        noise.mix_ephemeral(m2[16:48])
        self.their_e = X25519PublicKey.from_public_bytes(m2[16:48])
        noise.mix_key(self.e.exchange(self.their_e))
        static = noise.open(m2[48:96])
        noise.mix_key(self.e.exchange(X25519PublicKey.from_public_bytes(static)))
        self.read_certificate(noise.open(m2[96:]), static, ts)
        self.opened[False] = ts

    def make_3(self):
        ts = self.clock()
        m3 = envelope(M3, ts) + self.noise.seal(raw(self.s))
        self.noise.mix_key(self.s.exchange(self.their_e))
        self.noise.mix_psk(self.token.psk)
        m3 += self.noise.seal(self.certificate(ts))
        self.finish()
        return self.tagged(M3, self.tag, m3)[1]

    # ---- listener ----

    def read_1(self, message):
        m1, self.tag, ts = self.open_gate(M1, b"", message)
        self.begin(m1[:16])
        self.noise.mix_ephemeral(m1[16:48])
        self.their_e = X25519PublicKey.from_public_bytes(m1[16:48])
        check(self.noise.open(m1[48:]) == b"", "M1: payload")
        self.opened = {True: ts}

    def make_2(self):
        ts, noise = self.clock(), self.noise
        noise.mix_ephemeral(raw(self.e))
        noise.mix_key(self.e.exchange(self.their_e))
        m2 = envelope(M2, ts) + raw(self.e) + noise.seal(raw(self.s))
        noise.mix_key(self.s.exchange(self.their_e))
        m2 += noise.seal(self.certificate(ts))
        self.tag, m2 = self.tagged(M2, self.tag, m2)
        self.opened[False] = ts
        return m2

    def read_3(self, message):
        m3, self.tag, ts = self.open_gate(M3, self.tag, message)
        static = self.noise.open(m3[16:64])
        self.noise.mix_key(self.e.exchange(X25519PublicKey.from_public_bytes(static)))
        self.noise.mix_psk(self.token.psk)
        self.read_certificate(self.noise.open(m3[64:]), static, ts)
        self.finish()

    # ---- certificates ----

    def certificate(self, ts):
        me, static = self.identity, raw(self.s)
        dates = struct.pack(">QQ", ts // 1000 - 3600, ts // 1000 + 6 * 86400)
        return struct.pack(">BBHIQ", 1, self.role, 0, 0, ts) + me.node_id + me.public + dates + \
            me.signer.sign(b"PV1/noise-static\0" + static + dates) + bytes(32)

    def read_certificate(self, data, static, ts):
        version, role, zero, _, again, node_id, public, since, until, signature, zero_2 = \
            struct.unpack(">BBHIQ32s32sQQ64s32s", data)
        check(version == 1 and role in (KEYED, BLIND) and zero == 0 and again == ts,
              "certificate: fields")
        check(node_id == sha256(public) and zero_2 == bytes(32), "certificate: node id")
        now, slack = now_ms() // 1000, MAX_SKEW_MS // 1000
        check(until - since <= 7 * 86400 and since - slack <= now <= until + slack,
              "certificate: dates")
        verify(public, signature, b"PV1/noise-static\0" + static + data[80:96], "certificate")
        check(node_id != self.identity.node_id, "dialled itself")
        self.their_id, self.their_role, self.their_public = node_id, role, public


class WrongClock(Damage):
    """Clocks differ by more than is allowed; answer: what a listener says to that."""

    def __init__(self, ts, answer=None):
        super().__init__(f"the other clock differs by {(ts - now_ms()) // 1000} s")
        self.ts, self.answer = ts, answer


class Session:
    """A connection after its handshake: sealed messages in both directions.

    link: "host:port" to dial, or a connection, of which this side is the listener unless dialler is
    true. cluster_key: 64 hex digits, or None for a blind node. source: the
    address to dial from.
    """

    handshake_of = Handshake

    def __init__(self, link, token, cluster_key, identity=None, source=None, dialler=None):
        self.identity = identity or Identity()
        self.key = ClusterKey(bytes.fromhex(cluster_key)) if cluster_key else None
        self.role = KEYED if cluster_key else BLIND
        token = token if isinstance(token, Token) else Token(token)
        dials = isinstance(link, str)
        self.dialler = dials if dialler is None else dialler
        self.socket = connect(link, source) if dials else link
        try:
            self.shake_hands(self.handshake_of(self.identity, token, self.role))
        except BaseException:
            self.socket.close()
            raise

    def start(self):
        """The two HELLOs."""
        self.send(HELLO, self.hello())
        kind, body = self.receive()
        check(kind == HELLO, "first message is no HELLO")
        self.check_hello(body)

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

    # ---- handshake ----

    def read_clear(self, *lengths):
        kind, length = struct.unpack(">BI", self.exactly(5))
        check(kind == 1 and length in lengths, "handshake: frame")
        return self.exactly(length)

    def shake_hands(self, shake):
        if self.dialler:
            self.socket.sendall(frame_of(shake.make_1()))
            shake.read_2(self.read_clear(LENGTHS[M2], LENGTHS[CLOCK]))
            self.socket.sendall(frame_of(shake.make_3()))
        else:
            try:
                shake.read_1(self.read_clear(LENGTHS[M1]))
            except WrongClock as wrong:
                self.socket.sendall(frame_of(wrong.answer))
                raise
            self.socket.sendall(frame_of(shake.make_2()))
            shake.read_3(self.read_clear(LENGTHS[M3]))
        self.out, self.into = (Cipher(k) for k in shake.keys[::1 if self.dialler else -1])
        self.h, self.their_id, self.their_role = shake.h, shake.their_id, shake.their_role
        self.their_public = shake.their_public
        # Section 8: what the node with the smaller id wrote into M1 or M2.
        self.opened = shake.opened[self.dialler == (self.identity.node_id < self.their_id)]

    # ---- HELLO ----

    def proof(self, of_dialler, node_id):
        return x(x(self.key.prk, b"member"), b"proof", self.h + bytes([2 - of_dialler]) + node_id)

    def hello(self):
        me = self.identity
        head = struct.pack(">HIB16sQ16sH", 1, 0, self.role, me.store_uuid, me.opens, me.boot_random, 0)
        if self.key is None:
            return head + b"\0"
        return head + b"\1" + self.key.kid + self.proof(self.dialler, me.node_id)

    def check_hello(self, body):
        check(len(body) >= 50, "HELLO: length")
        version, _, role, _, _, self.their_boot, _, proofs = struct.unpack_from(">HIB16sQ16sHB", body)
        check(version >= 1 and role == self.their_role and proofs <= 16, "HELLO: fields")
        check(len(body) == 50 + 40 * proofs, "HELLO: length")
        pairs = [body[50 + 40 * i:90 + 40 * i] for i in range(proofs)]
        self.keyed = self.key is not None and \
            self.key.kid + self.proof(not self.dialler, self.their_id) in pairs
        check(self.keyed or role != KEYED or self.key is None, "HELLO: another cluster key")

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
            check(len(plain) == 10, "GOODBYE: length")
            reason, last_n = struct.unpack(">BQ", plain[1:])
            check(last_n == self.into.n - 1, "GOODBYE: frames are missing")
            raise Closed(reason)
        return plain[0], plain[1:]

    def goodbye(self, reason=SHUTDOWN):
        self.send(GOODBYE, struct.pack(">BQ", reason, self.out.n))

    def until_closed(self):
        """Reads to the end: the reason of their GOODBYE, None without one."""
        try:
            while True:
                self.receive()
        except Closed as end:
            return end.reason


def connect(address, source=None):
    """source: an address of this machine, None for any. What is sent does not wait for more."""
    host, port = address.rsplit(":", 1)
    s = socket.create_connection((host.strip("[]"), int(port)), 60, (source, 0) if source else None)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s
