"""A peer written from transport/protocol.md, to say what no honest node says.

Needs python3-cryptography; tests that use it are skipped without.
"""
import hashlib
import hmac
import os
import select
import socket
import struct
import time

from harness import Skip

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    AESGCM = None

KEYED, BLIND = 1, 2
HELLO, PING, PONG, STORE, WANT, STORED, GET, FOUND, NOT_FOUND, FETCH, CANCEL, FULL, LOST = \
    1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
DIGEST, RECORD, ERROR, GOODBYE = 16, 17, 19, 20
FIN, RST = 1, 2
STREAM_HEADER = 8


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def x(key, label, context=b""):
    return hmac256(key, b"PV1/" + label + b"\0" + context + b"\1")


def token_keys(token):
    """K_gate and psk of a passphrase."""
    stretched = hashlib.scrypt(token.encode(), salt=b"PV1/auth-token", n=1 << 15, r=8, p=3, dklen=32,
                               maxmem=64 << 20)
    prk = hmac256(b"PV1/token", stretched)
    return x(prk, b"gate"), x(prk, b"noise-psk")


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def nonce(n):
    return bytes(4) + struct.pack(">Q", n)


class Noise:
    """The initiator of Noise_XXpsk3_25519_AESGCM_SHA256."""

    def __init__(self, prologue):
        self.h = self.ck = b"Noise_XXpsk3_25519_AESGCM_SHA256"
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
        self.ck, temporary, self.k = self.hkdf(ikm, 3)
        self.mix_hash(temporary)
        self.n = 0

    def mix_ephemeral(self, public):
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, plain):
        sealed = AESGCM(self.k).encrypt(nonce(self.n), plain, self.h)
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        plain = AESGCM(self.k).decrypt(nonce(self.n), sealed, self.h)
        self.n += 1
        self.mix_hash(sealed)
        return plain


class Identity:
    def __init__(self, seed=None):
        self.signer = Ed25519PrivateKey.from_private_bytes(seed or os.urandom(32))
        self.public = raw(self.signer.public_key())
        self.node_id = sha256(self.public)
        self.store_uuid, self.boot_random = os.urandom(16), os.urandom(16)


class Peer:
    """One session with a daemon, dialled from here. `cluster_key` in hex: None proves nothing."""

    def __init__(self, node, identity=None, cluster_key=None, role=KEYED, token=None, hello=True):
        if AESGCM is None:
            raise Skip("python3-cryptography is missing")
        self.identity = identity or Identity()
        self.role = role
        self.gate, self.psk = token_keys(token or node.scene.token)
        self.sent = self.received = 0
        self.buffer = b""
        host, port = node.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handshake()
        if hello:
            self.message(HELLO, self.hello(cluster_key))
            self.hello_heard = self.expect(HELLO)

    # ---- bytes ----

    def close(self):
        self.socket.close()

    def frame(self):
        """Header and payload of the next frame; None when the other side closed."""
        while True:
            if len(self.buffer) >= 5:
                length = struct.unpack(">I", self.buffer[1:5])[0]
                if len(self.buffer) >= 5 + length:
                    header, payload = self.buffer[:5], self.buffer[5:5 + length]
                    self.buffer = self.buffer[5 + length:]
                    return header, payload
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionError:
                part = b""
            if not part:
                return None
            self.buffer += part

    # ---- handshake ----

    def tag(self, msg, before, body):
        return hmac256(self.gate, b"PV1/gate" + bytes([msg]) + before + body)

    @staticmethod
    def envelope(msg, ts_ms):
        return b"PVH1" + struct.pack(">BBHQ", msg, 1, 0, ts_ms)

    def certificate(self, static_public, ts_ms):
        dates = struct.pack(">QQ", ts_ms // 1000 - 3600, ts_ms // 1000 + 86400)
        signature = self.identity.signer.sign(b"PV1/noise-static\0" + static_public + dates)
        return struct.pack(">BBHIQ", 1, self.role, 0, 0, ts_ms) + self.identity.node_id + \
            self.identity.public + dates + signature + bytes(32)

    def handshake(self):
        ts_ms = int(time.time() * 1000)
        e, s = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        e1 = self.envelope(1, ts_ms)
        noise = Noise(b"PeerVault/1\0" + e1)
        noise.mix_ephemeral(raw(e.public_key()))
        body = e1 + raw(e.public_key()) + noise.seal(b"")
        t1 = self.tag(1, b"", body)
        self.socket.sendall(struct.pack(">BI", 1, 96) + body + t1)

        m2 = self.frame()
        assert m2 is not None and len(m2[1]) == 336, "no answer to M1"
        body, t2 = m2[1][:-32], m2[1][-32:]
        assert t2 == self.tag(2, t1, body)
        noise.mix_ephemeral(body[16:48])
        their_e = X25519PublicKey.from_public_bytes(body[16:48])
        noise.mix_key(e.exchange(their_e))
        their_s = X25519PublicKey.from_public_bytes(noise.open(body[48:96]))
        noise.mix_key(e.exchange(their_s))
        noise.open(body[96:])

        body = self.envelope(3, ts_ms) + noise.seal(raw(s.public_key()))
        noise.mix_key(s.exchange(their_e))
        noise.mix_key_and_hash(self.psk)
        body += noise.seal(self.certificate(raw(s.public_key()), ts_ms))
        self.socket.sendall(struct.pack(">BI", 1, 304) + body + self.tag(3, t2, body))
        send_key, receive_key = noise.hkdf(b"", 2)
        self.sealer, self.opener, self.h = AESGCM(send_key), AESGCM(receive_key), noise.h

    def hello(self, cluster_key):
        body = struct.pack(">HIB", 1, 0, self.role) + self.identity.store_uuid
        body += struct.pack(">Q", 1) + self.identity.boot_random + struct.pack(">H", 0)
        if cluster_key is None:
            return body + b"\0"
        prk = hmac256(b"PV1/cluster", bytes.fromhex(cluster_key))
        proof = x(x(prk, b"member"), b"proof", self.h + b"\1" + self.identity.node_id)
        return body + b"\1" + x(prk, b"kid")[:8] + proof

    # ---- sealed frames ----

    def sealed(self, kind, plain):
        header = struct.pack(">BI", kind, len(plain) + 16)
        n, self.sent = self.sent, self.sent + 1
        return header + self.sealer.encrypt(nonce(n), plain, header)

    def message(self, kind, body=b""):
        self.socket.sendall(self.sealed(1, bytes([kind]) + body))

    def data(self, stream, flags, data=b""):
        self.socket.sendall(self.sealed(2, struct.pack(">IB3x", stream, flags) + data))

    def goodbye(self, reason):
        self.message(GOODBYE, struct.pack(">BQ", reason, self.sent))

    def next(self):
        """(type, body) of the next message, (0, (stream, flags, data)); None at the end."""
        frame = self.frame()
        if frame is None:
            return None
        plain = self.opener.decrypt(nonce(self.received), frame[1], frame[0])
        self.received += 1
        if frame[0][0] == 2:
            stream, flags = struct.unpack(">IB", plain[:5])
            return 0, (stream, flags, plain[8:])
        if plain[0] == PING:
            self.message(PONG, plain[1:])
            return self.next()
        return plain[0], plain[1:]

    def send_all(self, data):
        """Sends much, and throws away what comes meanwhile, so that the two do not wait for each
        other. Until it has all been taken."""
        self.socket.setblocking(False)
        while data:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 60)
            assert readable or writable, "the daemon takes nothing"
            if readable and not self.socket.recv(1 << 16):
                raise AssertionError("closed")
            if writable:
                data = data[self.socket.send(data[:1 << 18]):]
        self.socket.setblocking(True)

    def expect(self, kind):
        """The body of the next message of this type; others are passed over."""
        while (got := self.next()) is not None:
            if got[0] == kind:
                return got[1]
            assert got[0] != GOODBYE, f"GOODBYE {got[1][0]} instead of {kind}"
        raise AssertionError(f"closed instead of {kind}")

    def ended(self):
        """Reads to the end; the reason of their GOODBYE, None without."""
        reason = None
        while (got := self.next()) is not None:
            if got[0] == GOODBYE:
                reason = got[1][0]
        return reason

    def quiet(self, seconds):
        """Whether nothing can be read for so long."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]
