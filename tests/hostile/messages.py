"""Rows about single messages of a peer that has shaken hands: forms, order, numbers, floods."""
import os
import shutil
import signal
import struct
import subprocess

from client import BUCKETS, HASHES, ROOT, Client
from lane import CLOSE_S, answers, ends
from session import BLOBS, CANCEL, DIGEST, DUPLICATE, ERROR, FETCH, FIN, FOUND, FULL, GET, GOODBYE, \
    HELLO, LOST, NOT_FOUND, PING, PONG, PROTOCOL, RECORD, RST, STORE, STORED, WANT, Closed, Identity

BLOB = bytes(32)


def offered(blob_id=BLOB, kind=1, size=304):
    return struct.pack(">32sBI", blob_id, kind, size)


def asked(number, blob_id=BLOB, offset=0):
    return struct.pack(">32sII", blob_id, offset, number)


def counted(entries, count=None):
    return struct.pack(">H", len(entries) if count is None else count) + b"".join(entries)


def request(number=0):
    return struct.pack(">I", number)


def buckets(first=0, count=1):
    return struct.pack(">BHH", BUCKETS, first, count) + bytes(20 * count)


def hashes(bucket=0, last=1, found=()):
    return struct.pack(">BHB", HASHES, bucket, last) + counted(list(found))


# One of each kind that has a body, as it should be.
VALID = {PING: bytes(16), STORE: counted([offered()]), WANT: counted([asked(1)]),
         STORED: bytes([BLOBS]) + counted([BLOB]), GET: request(1) + counted([BLOB]),
         FETCH: counted([asked(2)]), CANCEL: request(9), FULL: request() + counted([BLOB]),
         LOST: request() + counted([BLOB]), DIGEST: bytes([ROOT]) + BLOB,
         ERROR: struct.pack(">HB", 2, 2) + b"hm"}


def each(lane, bodies, reason=PROTOCOL):
    for kind, body, what in bodies:
        c = lane.session(Client)
        c.send(kind, body)
        ends(c, reason, what)


def counts_that_lie(lane):
    """Many announced, three there; more than is allowed, all there; record lengths likewise."""
    three = {STORE: [offered()] * 3, WANT: [asked(n) for n in (1, 3, 5)], STORED: [BLOB] * 3,
             GET: [BLOB] * 3, FOUND: [BLOB] * 3, NOT_FOUND: [BLOB] * 3,
             FETCH: [asked(n) for n in (2, 4, 6)], FULL: [BLOB] * 3, LOST: [BLOB] * 3}
    heads = {STORED: bytes([BLOBS]), GET: request(1), FOUND: request(1), NOT_FOUND: request(1),
             FULL: request(), LOST: request()}
    bodies = []
    for kind, entries in three.items():
        head = heads.get(kind, b"")
        bodies.append((kind, head + counted(entries, 65535), f"type {kind}: 65535 and three there"))
        limit = 64 if kind in (WANT, FETCH) else 1024
        many = (entries * limit)[:limit + 1]
        bodies.append((kind, head + counted(many), f"type {kind}: {limit + 1}"))
    bodies += [(DIGEST, struct.pack(">BHH", BUCKETS, 0, 65535) + bytes(60), "buckets"),
               (DIGEST, struct.pack(">BHH", BUCKETS, 4095, 2) + bytes(40), "buckets behind the end"),
               (DIGEST, buckets(0, 2049), "2049 buckets"),
               (DIGEST, struct.pack(">BHBH", HASHES, 0, 1, 65535) + bytes(96), "hashes"),
               (DIGEST, hashes(found=[BLOB] * 1025), "1025 hashes"),
               (ERROR, struct.pack(">HB", 1, 255) + b"abc", "text"),
               (ERROR, struct.pack(">HB", 1, 201) + b"a" * 201, "text of 201")]
    bodies += [(RECORD, struct.pack(">I", n) + bytes(240), f"record of {n}")
               for n in (0, 239, 241, 61697, 1 << 31, (1 << 32) - 1)]
    each(lane, bodies)


def too_much_or_too_little(lane):
    """A valid message and a byte more, or less."""
    each(lane, [(kind, body + b"\0", f"type {kind} and a byte") for kind, body in VALID.items()])
    each(lane, [(kind, body[:-1], f"type {kind} less a byte") for kind, body in VALID.items()])
    each(lane, [(GOODBYE, bytes(8), "GOODBYE"), (GOODBYE, bytes(10), "")])


def fields_out_of_range(lane):
    each(lane, [
        (STORE, counted([offered(kind=3)]), "kind"), (STORE, counted([offered(size=303)]), "size"),
        (STORE, counted([offered(size=983089)]), "size"), (WANT, counted([asked(0)]), "stream 0"),
        (WANT, counted([asked(2)]), "even WANT"), (FETCH, counted([asked(1)]), "odd FETCH"),
        (FETCH, counted([asked(0)]), "stream 0"), (STORED, b"\0" + counted([BLOB]), "what"),
        (WANT, counted([asked(1, offset=983088)]), "offset"),
        (FETCH, counted([asked(2, offset=1 << 31)]), "offset"),
        (FETCH, counted([asked(2), asked(2)]), "one number twice"),
        (STORED, b"\3" + counted([BLOB]), "what"), (FULL, request(1) + counted([BLOB]), "request"),
        (LOST, request(1) + counted([BLOB]), "request"),
        (DIGEST, b"\0" + BLOB, "kind"), (DIGEST, b"\4" + BLOB, "kind"),
        (DIGEST, buckets(0, 0)[:5], "no buckets"), (DIGEST, hashes(4096), "bucket"),
        (DIGEST, hashes(last=2), "last"), (DIGEST, hashes(last=0), "none, and not the last"),
        (GET, request(1) + counted([]), "nothing asked"),
        (ERROR, struct.pack(">HB", 1, 3) + b"a\0b", "NUL")])
    for data in (struct.pack(">IB3x", 2, 0), struct.pack(">IB3x", 2, 3) + b"x", b"\0" * 7,
                 struct.pack(">IBBH", 2, FIN, 1, 0) + b"x"):
        c = lane.session(Client)
        c.socket.sendall(c.out.seal(2, data))
        ends(c, PROTOCOL, data)


def unknown_types(lane):
    each(lane, [(kind, body, f"type {kind}") for kind in (0, 4, 15, 18, 21, 64, 127, 128, 255)
                for body in (b"", bytes(64))])


def out_of_turn(lane):
    """Before HELLO anything but HELLO; behind it HELLO; answers to what was never asked."""
    for kind, body in VALID.items():
        s = lane.session()
        s.send(kind, body)
        ends(s, None, f"type {kind} before HELLO")
    s = lane.session()
    s.send_data(2, FIN, b"x")
    ends(s, None, "data before HELLO")
    c = lane.session(Client)
    c.send(HELLO, c.hello())
    ends(c, PROTOCOL, "HELLO twice")
    each(lane, [(FOUND, request(77) + counted([BLOB]), "FOUND"), (PONG, bytes(16), "PONG"),
                (NOT_FOUND, request(77) + counted([BLOB]), "NOT_FOUND"),
                (GOODBYE, struct.pack(">BQ", 1, 99), "GOODBYE that misses frames")])
    for number, flags, data in ((1, FIN, b"x"), (2, FIN, b"x"), (2, RST, b""), (0, FIN, b"x"),
                                (1 << 31, 0, b"x" * 60000)):
        c = lane.session(Client)
        c.send_data(number, flags, data)
        ends(c, PROTOCOL, f"stream {number}")


def hello_fields(lane):
    def said(change):
        s = lane.session()
        s.send(HELLO, change(s.hello()))
        return s
    short = [lambda h: h[:-1], lambda h: h + b"\0", lambda h: h[:49] + b"\2" + h[50:],
             lambda h: h[:49] + b"\x11" + h[50:] + bytes(16 * 40), lambda h: b"", lambda h: h[:40],
             lambda h: h[:6] + b"\0" + h[7:], lambda h: h[:6] + b"\2" + h[7:]]
    for change in short:
        ends(said(change), None, change(bytes(90)))
    wrong = said(lambda h: h[:-1] + bytes([h[-1] ^ 1]))
    ends(wrong, 4, "proof")
    c = lane.session()
    sixteen = c.hello()
    filler = b"".join(os.urandom(40) for _ in range(15))
    c.send(HELLO, sixteen[:49] + b"\x10" + filler + sixteen[50:])
    answers(c)


def harmless(lane):
    """What comes too late, or of something else: counted as nothing, and the session goes on."""
    c = lane.member()
    c.send(STORED, bytes([BLOBS]) + counted([os.urandom(32)]))
    c.send(STORED, b"\2" + counted([os.urandom(32)]))
    c.send(FULL, request() + counted([os.urandom(32)]))
    c.send(CANCEL, request(2))
    c.send(ERROR, struct.pack(">HB", 65535, 0))
    c.send(RECORD)
    for kind, head in ((STORE, b""), (WANT, b""), (FETCH, b""), (STORED, b"\1"), (FULL, request()),
                       (LOST, request())):
        c.send(kind, head + counted([]))
    c.send(WANT, counted([asked(1, os.urandom(32))]))
    c.send(FETCH, counted([asked(2, os.urandom(32))]))
    c.send(CANCEL, request(2))
    answers(c)


def ids_like_paths(lane):
    """An id is 32 bytes that become 64 digits: whatever they spell, no other path is opened."""
    names = [name.ljust(32, b"\0")[:32] for name in (
        b"../../../../../../etc/passwd", b"/etc/shadow", b"AB" * 16, b"..", b"\0" * 3 + b"/x",
        "\N{SNOWMAN}".encode() * 10, b"%2e%2e%2f" * 3, b"\xff" * 32)]
    log = lane.scene.path("strace")
    tracer = None
    if shutil.which("strace") and not lane.scene.sanitized:
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=%file", "-o", log, "-p",
                                   str(lane.victim.process.pid)], stderr=subprocess.DEVNULL)
        lane.scene.cleanups.append(tracer.kill)
    try:
        c = lane.member()
        if tracer:
            lane.honest.served_again()
        c.answers[3] = {}
        c.send(GET, request(3) + counted(names))
        c.run_until(lambda: len(c.answers[3]) == len(names), CLOSE_S)
        assert not any(c.answers[3].values())
        for name in names:
            assert c.fetch(name) is None
        c.send(LOST, request() + counted(names))
        c.send(ERROR, struct.pack(">HB", 1, 64) + b"../" * 21 + b".")
        answers(c)
    except Closed as end:
        assert end.reason == PROTOCOL  # an ERROR of code 1 names a blob
    finally:
        if tracer:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(CLOSE_S)
    for size in (31, 33, 64):
        each(lane, [(GET, request(1) + struct.pack(">H", 1) + b"a" * size, f"id of {size} bytes")])
    if tracer:
        with open(log, errors="replace") as f:
            strange = [line for line in f if '"' in line and "etc/" in line or "%2e" in line]
        assert not strange, strange


def lists_of_absent_ids(lane):
    """As many as are allowed, answered; one more, closed; again and again."""
    for _ in range(2 * lane.dose):
        c = lane.member()
        for i in range(8):
            ids = [os.urandom(32) for _ in range(1024)]
            assert not any(c.locate(ids, request=i).values())
        c.send(WANT, counted([asked(n, os.urandom(32)) for n in range(1, 129, 2)]))
        c.send(FETCH, counted([asked(n, os.urandom(32)) for n in range(2, 130, 2)]))
        resets = []
        c.on_data = resets.append
        c.run_until(lambda: len(resets) == 128, CLOSE_S)
        c.socket.close()
    key, = lane.victim.store(lane.scene.file("large", 2 << 20, seed=os.urandom(4).hex()), "--no-wait")
    blob_id = bytes.fromhex(os.path.basename(next(lane.victim.blob_files())))
    c = lane.session(Client)
    # Sent at once, and not read until both are there: none of the 64 can have ended.
    c.socket.sendall(b"".join(c.out.seal(1, bytes([FETCH]) + counted(
        [asked(n, blob_id) for n in part])) for part in (range(2, 130, 2), range(130, 132, 2))))
    ends(c, PROTOCOL, "65 streams")
    lane.victim.run("rm", key)
    c = lane.session(Client)
    offers = [counted([offered(os.urandom(32)) for _ in range(n)]) for n in (1024, 1)]
    c.on_want = lambda body: None
    c.socket.sendall(b"".join(c.out.seal(1, bytes([STORE]) + body) for body in offers))
    ends(c, PROTOCOL, "1025 offers")


def one_identity_many_times(lane):
    """The newest connection is the one that is kept."""
    identity, sessions = Identity(), []
    for _ in range(50):
        sessions.append(lane.session(Client, identity=identity))
    for c in sessions[:-1]:
        ends(c, DUPLICATE)
    answers(sessions[-1])
    assert lane.status()["connected"] == 2


def floods(lane):
    """Thousands of messages that cost the sender little."""
    for kind, body, count in ((PING, bytes(16), 5000), (CANCEL, request(2), 5000),
                              (DIGEST, VALID[DIGEST], 300), (DIGEST, buckets(), 1200),
                              (LOST, request() + counted([os.urandom(32)] * 1024), 100),
                              (STORED, b"\1" + counted([os.urandom(32)] * 1024), 100),
                              (GET, request(1) + counted([BLOB] * 1024), 100)):
        c = lane.member()
        data = b"".join(c.out.seal(1, bytes([kind]) + body) for _ in range(count * lane.dose))
        lane.pour(c, data)
        lane.honest.served_again()


def log_lines(lane):
    """What a peer says appears in the log without what could forge a line or steer a terminal."""
    evil = b"\r\n2026-01-01 error main \"forged\"\x1b[2J\x07\x9b31m\xe2\x80\xae\xff\""
    s = lane.stranger(evil)
    s.close()
    c = lane.member()
    for text in (evil, (evil * 9)[:200]):
        c.send(ERROR, struct.pack(">HB", 7, len(text)) + text)
    answers(c)
    with open(lane.victim.log_path, "rb") as f:
        log = f.read()
    assert b"\x1b" not in log and b"\r" not in log and b"\x07" not in log and b"\x9b" not in log
    assert b"\n2026-01-01" not in log and max(map(len, log.split(b"\n"))) < 1024
    assert b"forged" in log, "the text is in the log, escaped"


def equal_prefixes(lane):
    """Ids that differ in their last bytes only."""
    for shared in (os.urandom(28), bytes(28)):
        c = lane.member()
        ids = [shared + struct.pack(">I", i) for i in range(4096)]
        for i in range(0, 4096, 1024):
            assert not any(c.locate(ids[i:i + 1024]).values())
        answered, original = set(), c.receive

        def receive():
            kind, body = original()
            if kind == FULL:
                answered.update(body[i:i + 32] for i in range(6, len(body), 32))
            if kind == WANT:
                for i in range(2, len(body), 40):
                    answered.add(body[i:i + 32])
                    c.send_data(struct.unpack_from(">I", body, i + 36)[0], RST)
            return kind, body
        c.receive = receive
        c.send(STORE, counted([offered(i) for i in ids[:1024]]))
        c.on_want = c.ignore  # as receive() has answered
        c.run_until(lambda: len(answered) == 1024, CLOSE_S)

