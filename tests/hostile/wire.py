"""Rows about bytes on the connection: before, in and behind the handshake, up to sealed frames."""
import os
import select
import socket
import struct

import seal
from client import Client
from extract import check
from lane import ATTACKER, CLOSE_S, answers, ends, silence
from session import CLOCK, GET, HELLO, LENGTHS, M1, M2, M3, NOT_MEMBER, OTHER_KEY, PING, Closed, \
    Handshake, Identity, Session, Token, envelope, frame_of, now_ms, raw

P = 2**255 - 19
LOW_ORDER = [n.to_bytes(32, "little") for n in (0, 1, P - 1, P, P + 1)] + [bytes.fromhex(h) for h in (
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")]
STRANGE = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
           b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500),
           b"SSH-2.0-OpenSSH_9.2\r\n", b"\0", bytes(65536), b"\xff" * 65536]


def session_with(handshake):
    return type("Strange", (Session,), {"handshake_of": handshake})


def sent_anyway(s, data):
    """To a side that may close meanwhile."""
    try:
        s.sendall(data)
    except OSError:
        pass


def dialled(lane, play):
    """A daemon dials us; what it does when it is answered so."""
    with socket.create_server((ATTACKER, 0)) as ours:
        ours.settimeout(CLOSE_S)
        node = lane.scene.node(f"dialler{len(lane.scene.nodes)}")
        node.start(peers=["%s:%d" % ours.getsockname()])
        s, _ = ours.accept()
        with s:
            s.settimeout(CLOSE_S)
            check(len(exactly(s, 5 + LENGTHS[M1])) == 101, "M1")
            play(s, node)
        assert node.status()["healthy"] and not node.ended()
    node.stop()


def exactly(s, length):
    data = b""
    while len(data) < length:
        part = s.recv(length - len(data))
        check(part, "closed")
        data += part
    return data


# ---- M1 ... M10 ----

def nothing_or_little(lane):
    """Four at the same time: nothing, a byte now and then, M1 alone, and M3 without HELLO."""
    silent, slow = lane.stranger(), lane.stranger()
    shake = Handshake(Identity(), Token(lane.token))
    half = lane.stranger(frame_of(shake.make_1()))
    late = lane.session()
    first = frame_of(Handshake(Identity(), Token(lane.token)).make_1())
    sent = 0
    while not select.select([slow], [], [], 0.5)[0]:  # until it is closed
        sent_anyway(slow, first[sent:sent + 1])
        sent += 1
        assert sent < 2 * CLOSE_S, "bytes put the deadline off"
    for s, what in ((silent, "nothing"), (slow, "a byte at a time")):
        silence(s, what)
    check(len(exactly(half, 5 + LENGTHS[M2])) == 5 + LENGTHS[M2], "M2")
    silence(half, "M1 alone")
    late.receive()  # its HELLO
    ends(late, None, "no HELLO")


def other_protocols(lane):
    for data in [*STRANGE, os.urandom(65536)]:
        s = lane.stranger()
        sent_anyway(s, data)
        if len(data) < 5:
            s.shutdown(socket.SHUT_WR)
        silence(s, data[:8])

    def play(s, node):
        s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        silence(s, "as M2")
    dialled(lane, play)


def low_order_keys(lane):
    for public in LOW_ORDER:
        shake = Handshake(Identity(), Token(lane.token))
        shake.e = FakeKey(public)
        silence(lane.stranger(frame_of(shake.make_1())), "e")
        identity = lane.attacker()
        identity.static = FakeKey(public)
        s = lane.session(identity=identity)
        lane.identity = None
        ends(s, None, "static key")

    def play(s, node):
        m2 = envelope(M2, now_ms()) + LOW_ORDER[0] + os.urandom(48 + 208)
        s.sendall(frame_of(m2 + os.urandom(32)))
        silence(s, "as M2")
    dialled(lane, play)


class FakeKey:
    """A public key whose every exchange gives zeros."""

    def __init__(self, public):
        self.public = public

    def public_key(self):
        return self

    def public_bytes(self, *_):
        return self.public

    def exchange(self, _):
        return bytes(32)


def who_is_not_let_in(lane):
    """A blind stranger and an expelled member hear the same; another cluster and another token what
    they may know."""
    c = lane.member()
    gone = Identity()
    c.write([seal.member_record(c.identity, gone.public, seal.hlc_of(now_ms()), generation=1,
                                expelled=True)])
    c.goodbye()
    heard = []
    for identity, key in ((gone, lane.key), (gone, None), (Identity(), None)):
        s = lane.session(key=key, identity=identity)
        s.send(HELLO, s.hello())
        seen = []
        try:
            while True:
                kind, body = s.receive()
                seen.append((kind, len(body)))
        except Closed as end:
            heard.append((seen, end.reason))
    assert all(h == ([(HELLO, 90)], NOT_MEMBER) for h in heard), heard
    s = lane.session(key=os.urandom(32).hex())
    s.send(HELLO, s.hello())
    ends(s, OTHER_KEY, "another cluster key")
    shake = Handshake(Identity(), Token("not the token at all"))
    silence(lane.stranger(frame_of(shake.make_1())), "another token")


HEADERS = [(1, n) for n in (0, 15, 16, 65553, 1 << 20, 1 << 31, (1 << 32) - 1)] + \
    [(kind, 17) for kind in (0, 3, 0x80, 255)] + [(2, n) for n in (0, 16, 65553, (1 << 32) - 1)]


def frame_headers(lane):
    """Judged before anything behind them is read: in the handshake, and between sealed frames."""
    for kind, length in HEADERS:
        header = struct.pack(">BI", kind, length)
        silence(lane.stranger(header), header)
        c = lane.session(Client)
        c.socket.sendall(header)
        ends(c, None, header)
    for kind, length in ((1, 95), (1, 97), (1, 304), (2, 96)):
        silence(lane.stranger(struct.pack(">BI", kind, length)), "M1")

    def play(s, node):
        s.sendall(struct.pack(">BI", 1, 1 << 31))
        silence(s, "as M2")
    dialled(lane, play)


def frame_that_never_ends(lane):
    """A header that is fine, a few bytes, and silence: closed when the peer counts as dead."""
    c = lane.session(Client)
    c.socket.sendall(struct.pack(">BI", 1, 65552) + os.urandom(100))
    ends(c, None)


class Dribble:
    """Sends byte by byte, each in a packet of its own."""

    def __init__(self, s):
        self.s = s
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def sendall(self, data):
        for at in range(len(data)):
            self.s.sendall(data[at:at + 1])

    def __getattr__(self, name):
        return getattr(self.s, name)


def split_and_joined(lane):
    class Dribbling(Client):
        def shake_hands(self, shake):
            self.socket = Dribble(self.socket)
            super().shake_hands(shake)
    c = lane.session(Dribbling)
    answers(c)
    c.socket = c.socket.s
    cookies = [os.urandom(8) for _ in range(10)]
    c.socket.sendall(b"".join(c.out.seal(1, bytes([PING]) + cookie + bytes(8)) for cookie in cookies))
    heard = []
    while len(heard) < 10:
        kind, body = c.receive()
        if body[:8] in cookies:
            heard.append(body[:8])
    assert heard == cookies


# ---- M15 ... M17, M38, M45, M46 ----

def counters(lane):
    ping = bytes([PING]) + bytes(16)

    def twice(c):
        frame = c.out.seal(1, ping)
        return frame + frame

    def swapped(c):
        first = c.out.seal(1, ping)
        return c.out.seal(1, ping) + first

    def again(c):
        frame = c.out.seal(1, ping)
        c.out.n -= 1
        return frame + c.out.seal(1, b"\2" + os.urandom(16))

    def skipped(c):
        c.out.n += 1
        return c.out.seal(1, ping)

    def replaced_too_early(c):
        c.out.n = 65536
        c.out.step()
        c.out.n = 1
        return c.out.seal(1, ping)
    for play in (twice, swapped, again, skipped, replaced_too_early):
        c = lane.session(Client)
        sent_anyway(c.socket, play(c))
        ends(c, None, play.__name__)


def replayed_handshake(lane):
    """M1 once more; and M3 of another exchange."""
    m1 = frame_of(Handshake(Identity(), Token(lane.token)).make_1())
    first = lane.stranger(m1)
    exactly(first, 5 + LENGTHS[M2])
    silence(lane.stranger(m1), "M1 again")

    class Recorded(Handshake):
        def make_3(self):
            Recorded.m3 = super().make_3()
            return self.m3

    class Replayed(Handshake):
        def make_3(self):
            super().make_3()
            return Recorded.m3
    lane.session(session_with(Recorded)).socket.close()
    ends(lane.session(session_with(Replayed)), None, "M3 of another exchange")


def flipped_bits(lane):
    """In each part of a sealed frame, and of the two messages that a dialler sends."""
    for at in (0, 1, 4, 5, 9, 21, 22, 37):
        c = lane.session(Client)
        frame = bytearray(c.out.seal(1, bytes([PING]) + bytes(16)))
        frame[at] ^= 1
        c.socket.sendall(frame)
        c.socket.shutdown(socket.SHUT_WR)  # a longer length would wait for more
        ends(c, None, f"byte {at} of a frame")

    def flipping(msg, at):
        class Flipping(Handshake):
            def tagged(self, number, before, message):
                tag, whole = super().tagged(number, before, message)
                if number != msg:
                    return tag, whole
                if at < len(message):  # a good gate tag over bytes that are not what Noise sealed
                    message = flip(message, at)
                    return super().tagged(number, before, message)
                return tag, flip(whole, at)
        return Flipping
    for at in (0, 4, 5, 7, 48, 63, 64, 95):  # magic, msg, suite, flags, Noise's tag, the gate tag
        shake = flipping(M1, at)(Identity(), Token(lane.token))
        silence(lane.stranger(frame_of(shake.make_1())), f"byte {at} of M1")
    for at in (4, 8, 16, 63, 64, 200, 271, 272, 303):
        ends(lane.session(session_with(flipping(M3, at))), None, f"byte {at} of M3")


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def reflected(lane):
    """A frame sealed for the other direction, and their own bytes sent back to them."""
    c = lane.session(Client)
    c.into.n = 0
    c.socket.sendall(c.into.seal(1, bytes([PING]) + bytes(16)))
    ends(c, None, "the other direction")
    s = lane.session()
    s.socket.sendall(s.exactly(5 + 1 + 90 + 16))
    ends(s, None, "their HELLO")


def certificates(lane):
    """Each field that is checked, wrong, under a signature that is right."""
    def changed(at, data):
        class Changed(Handshake):
            def certificate(self, ts):
                whole = super().certificate(ts)
                return whole[:at] + data + whole[at + len(data):]
        return Changed

    def lived(since, until):
        class Lived(Handshake):
            def certificate(self, ts):
                whole = super().certificate(ts)
                dates = struct.pack(">QQ", ts // 1000 + since, ts // 1000 + until)
                text = b"PV1/noise-static\0" + raw(self.s) + dates
                return whole[:80] + dates + self.identity.signer.sign(text) + whole[160:]
        return Lived
    other = Identity()
    strange = [changed(0, b"\0"), changed(0, b"\2"), changed(1, b"\0"), changed(1, b"\3"),
               changed(2, b"\0\1"), changed(8, bytes(8)), changed(16, other.node_id),
               changed(16, other.node_id + other.public), changed(96, bytes(64)),
               changed(191, b"\1"), lived(-3600, 8 * 86400), lived(-7200, -3600), lived(3600, 7200)]
    strange += [changed(48, bytes([low]) + bytes(31)) for low in (0, 1)]
    for handshake in strange:
        ends(lane.session(session_with(handshake)), None)


def downgrades(lane):
    """Another version, with a gate tag that is right, and changed under way, with one that is not."""
    class Old(Handshake):
        def tagged(self, msg, before, message):
            if msg == self.old:
                message = self.change(message)
            return super().tagged(msg, before, message)
    for at, value in ((3, ord("0")), (3, ord("2")), (5, 0), (5, 2), (6, 1), (7, 1)):
        for msg in (M1, M3):
            Old.old = msg
            Old.change = staticmethod(lambda m: m[:at] + bytes([value]) + m[at + 1:])
            if msg == M1:
                shake = Old(Identity(), Token(lane.token))
                silence(lane.stranger(frame_of(shake.make_1())), f"byte {at} of M1")
            else:
                ends(lane.session(session_with(Old)), None, f"byte {at} of M3")

    class Another(Handshake):
        """Prologues differ: what was said is not what was heard."""

        def begin(self, m1_envelope):
            super().begin(m1_envelope[:5] + b"\0" + m1_envelope[6:])
    silence(lane.stranger(frame_of(Another(Identity(), Token(lane.token)).make_1())), "prologue")
    s = lane.session()
    s.send(HELLO, b"\0\0" + s.hello()[2:])  # there is no version 0
    ends(s, None, "HELLO of version 0")
    s = lane.session()
    s.send(HELLO, b"\0\2" + s.hello()[2:])  # a later one keeps the fields of version 1
    answers(s)


def clocks(lane):
    """Ten minutes off, both ways: told once, under the token, and to nobody else."""
    for off in (-600000, 600000, -now_ms(), 1 << 62):
        class Off(Handshake):
            def clock(self):
                return now_ms() + off
        s = lane.stranger(frame_of(Off(Identity(), Token(lane.token)).make_1()))
        check(len(exactly(s, 5 + LENGTHS[CLOCK])) == 53, "clock message")
        silence(s, "behind the clock message")
        s = lane.stranger(frame_of(Off(Identity(), Token("not the token at all")).make_1()))
        silence(s, "another token")

    class Later(Handshake):
        """M3 alone."""
        late = 0

        def make_3(self):
            Later.late = 600000
            return super().make_3()

        def clock(self):
            return now_ms() + self.late
    ends(lane.session(session_with(Later)), None, "clock of M3")


def ways_to_leave(lane):
    """Closed, reset and half closed at each step."""
    steps = ("connected", "M1 in part", "M1", "M2", "M3", "HELLO", "a frame in part", "asked")

    def at_step(step):
        if step < 4:
            s = lane.stranger()
            shake = Handshake(Identity(), Token(lane.token))
            if step >= 1:
                s.sendall(frame_of(shake.make_1())[:50 if step == 1 else None])
            if step == 3:
                exactly(s, 5 + LENGTHS[M2])
            return s
        c = lane.session(identity=lane.leaver)
        if step >= 5:
            c.send(HELLO, c.hello())
        if step == 6:
            c.socket.sendall(struct.pack(">BI", 1, 1000) + bytes(100))
        if step == 7:
            c.send(GET, struct.pack(">IH", 1, 64) + os.urandom(64 * 32))
        return c.socket
    lane.leaver = lane.attacker()
    for i in range(3 * len(steps) * (2 * lane.dose)):
        s = at_step(i // 3 % len(steps))
        if i % 3 == 1:  # RST instead of FIN
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if i % 3 == 2:
            s.shutdown(socket.SHUT_WR)
        s.close()
        lane.opened.remove(s)


def strange_tcp(lane):
    """Urgent data, tiny segments, a window that is shut: nobody else waits."""
    s = lane.stranger()
    s.send(b"\1\0\0", socket.MSG_OOB)
    s.close()
    tiny = socket.socket()
    tiny.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
    tiny.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256)
    tiny.connect(("127.0.0.1", int(lane.port)))
    tiny.settimeout(CLOSE_S)
    lane.opened.append(tiny)
    answers(Client(tiny, lane.token, lane.key, lane.attacker(), dialler=True))
    shut = lane.session(Client)
    shut.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(200):  # and nothing is read any more
        shut.socket.setblocking(False)
        try:
            shut.socket.send(shut.out.seal(1, bytes([PING]) + bytes(16)))
        except BlockingIOError:
            break
    lane.honest.served_again()
