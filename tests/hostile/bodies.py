"""Rows about blobs: offers, bodies and trees that are not what they say."""
import os
import struct
import subprocess

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import seal
from client import PART, Client
from extract import CHUNK, NODE, padme, sha256
from lane import CLOSE_S, Served, answers, ends
from messages import counted, offered
from session import ERROR, FIN, FULL, PROTOCOL, RST, STORE, WANT, Identity, now_ms


def hlc():
    return seal.hlc_of(now_ms())


def until_asked(c, blob_id):
    """Offered already: the stream on which the body is wanted."""
    numbers = []

    def on_want(body):
        for at in range(2, len(body), 40):
            if body[at:at + 32] == blob_id:
                numbers.append(struct.unpack_from(">I", body, at + 36)[0])
    c.on_want = on_want
    c.run_until(lambda: numbers, CLOSE_S)
    return numbers[0]


def until_error(c):
    texts = []
    original = c.receive

    def receive():
        kind, body = original()
        if kind == ERROR:
            texts.append((struct.unpack_from(">H", body)[0], body[3:].decode()))
        return kind, body
    c.receive = receive
    c.run_until(lambda: texts, CLOSE_S)
    return texts[0]


# ---- offers ----

def blob_with(key, change):
    """A blob whose header is not as it should be, under the id of its own bytes."""
    blob, _ = seal.seal_blob(key, os.urandom(5000))
    return change(blob)


def bytes_of_another_id(lane):
    """Other bytes, a byte changed, a header that is none: ERROR with the id, and nothing is kept."""
    key = lane.honest.client.key
    good = blob_with(key, lambda b: b)
    wrong = [(sha256(good), os.urandom(len(good))), (sha256(good), good[:-1] + bytes([good[-1] ^ 1]))]
    for change in (lambda b: b"PVB2" + b[4:], lambda b: b[:4] + b"\2" + b[5:],
                   lambda b: b[:5] + b"\1" + b[6:], lambda b: b[:28] + b"\1" + b[29:],
                   lambda b: b[:24] + struct.pack(">I", len(b)) + b[28:],
                   lambda b: b[:24] + struct.pack(">I", 5001) + b[28:32] + os.urandom(5017)):
        bad = blob_with(key, change)
        wrong.append((sha256(bad), bad))
    c = lane.member()
    for blob_id, blob in wrong:
        c.send(STORE, counted([offered(blob_id, 1, len(blob))]))
        c.send_body(until_asked(c, blob_id), blob)
        assert until_error(c) == (1, blob_id.hex())
        assert c.locate([blob_id]) == {blob_id: False}
        del c.receive


def bodies_of_another_length(lane):
    for sent, flags in ((1000, FIN), (5001, FIN), (65528, 0)):
        c = lane.member()
        blob_id = os.urandom(32)
        c.send(STORE, counted([offered(blob_id, 1, 5000)]))
        c.send_data(until_asked(c, blob_id), flags, os.urandom(sent))
        ends(c, PROTOCOL, sent)


def given_up(lane):
    """RST, twice; data behind FIN."""
    c = lane.member()
    for _ in range(10):
        blob_id = os.urandom(32)
        c.send(STORE, counted([offered(blob_id, 1, 983088)]))
        number = until_asked(c, blob_id)
        c.send_data(number, 0, bytes(PART))
        c.send_data(number, RST)
    answers(c)
    c.send_data(number, RST)
    ends(c, PROTOCOL, "RST of what has ended")


def nobody_asked(lane):
    """64 MiB of bodies: the first frame is one too many."""
    for number in (1, 2):
        c = lane.member()
        frames = b"".join(c.out.seal(2, struct.pack(">IB3x", number, 0) + bytes(PART))
                          for _ in range(16))
        for _ in range(64):
            lane.pour(c, frames)


def announced_and_not_sent(lane):
    """Four members offer 500 large blobs each and send all of each but its end. Bodies are kept in
    memory, within a share of it, until they are whole."""
    size, members = 983000, []
    for _ in range(4):
        c = lane.member(identity=Identity())
        wanted = []
        c.on_want = wanted.append
        c.send(STORE, counted([offered(os.urandom(32), 1, size) for _ in range(500)]))
        members.append((c, wanted))
    first, wanted = members[0]  # the first gets all that one session may have
    first.run_until(lambda: wanted, CLOSE_S)
    numbers = [struct.unpack_from(">I", wanted[0], at + 36)[0] for at in range(2, len(wanted[0]), 40)]
    assert 1 <= len(numbers) <= (8 << 20) // size, len(numbers)
    for number in numbers:
        for _ in range(size // PART):
            first.send_data(number, 0, os.urandom(PART))
    path = lane.scene.file("during", 2 << 20, seed=os.urandom(4).hex())
    key, = lane.victim.store(path)  # meanwhile it serves its user, and takes what others send whole
    with open(path, "rb") as f:
        assert lane.get(key).out == f.read()
    content = os.urandom(300000)
    file = seal.seal_file(first.identity, first.key, b"later", content, hlc())
    lane.member(identity=Identity()).publish(file)  # when those have been silent for 30 s
    assert lane.get(file.key).out == content
    for removed in (key, file.key):
        lane.victim.run("rm", removed)


def disk_is_full(lane):
    """More than disk_limit: FULL, and the session goes on; records are neither stored nor answered."""
    victim = lane.scene.node(f"full{len(lane.scene.nodes)}", PEERVAULT_DISK_LIMIT="1MiB").start()
    c = Client(victim.address, lane.token, lane.key)
    lane.opened.append(c.socket)
    kinds = []
    original = c.receive

    def receive():
        kind, body = original()
        kinds.append(kind)
        return kind, body
    c.receive = receive
    c.accepts = lambda blob_id: False
    for _ in range(4):  # some are taken while the first is not counted yet
        blob, _ = seal.seal_blob(c.key, os.urandom(900000))
        c.offer(blob, CHUNK)
    c.run_until(lambda: FULL in kinds, CLOSE_S)
    answers(c)
    assert victim.status()["blob_bytes"] <= 1 << 20
    victim.stop(code=0)


# ---- what is in a blob, by one who has the key ----

def sealed(key, plain, epoch=0):
    header = seal.blob_header(key, len(plain), epoch)
    data_key = os.urandom(32)
    return header + AESGCM(data_key).encrypt(bytes(12), plain, header), data_key


def plain_of(payload, length=None, codec=0, kind=CHUNK, how=2, zero=0, size=None, padding=0):
    plain = struct.pack(">IBBBB", len(payload) if length is None else length, codec, kind, how, zero)
    plain += payload
    return plain.ljust(size or max(256, padme(len(plain))), bytes([padding]))


def chunk(key, payload, **fields):
    blob, data_key = sealed(key, plain_of(payload, **fields))
    return blob, seal.entry_of(blob, data_key, len(payload), CHUNK), CHUNK


def node(key, children, below, payload=None, **fields):
    payload = b"".join(entry for _, entry, _ in children) if payload is None else payload
    blob, data_key = sealed(key, plain_of(payload, kind=NODE, **fields))
    return blob, seal.entry_of(blob, data_key, below, NODE), NODE


def trees(key):
    """(what, the blobs with the root last, the content that the record promises)."""
    a, b = os.urandom(6000), os.urandom(6000)
    ca, cb = chunk(key, a), chunk(key, b)
    yield "swapped", [ca, cb, node(key, [cb, ca], 12000)], a + b
    yield "dropped", [ca, node(key, [ca], 12000)], a + b
    yield "repeated", [ca, node(key, [ca, ca], 12000)], a + b
    yield "one too many", [ca, cb, node(key, [ca, cb, ca], 12000)], a + b
    foreign = ca[0], ca[1][:32] + cb[1][32:], CHUNK
    yield "a key of another blob", [ca, cb, node(key, [foreign, cb], 12000)], a + b
    longer = ca[0], ca[1][:64] + struct.pack(">QB7x", 6001, CHUNK), CHUNK
    yield "a longer chunk", [ca, cb, node(key, [longer, cb], 12001)], a + b + b"x"
    as_node = ca[0], ca[1][:64] + struct.pack(">QB7x", 6000, NODE), NODE
    yield "a chunk as a node", [ca, cb, node(key, [as_node, cb], 12000)], a + b
    yield "no entry", [node(key, [], 12000, payload=bytes(0), length=0)], a + b
    yield "half an entry", [ca, node(key, [ca], 12000, payload=ca[1][:40])], a + b
    yield "an entry of no kind", [ca, node(key, [ca], 6000, payload=ca[1][:72] + b"\3" + bytes(7))], a
    yield "zero bytes that are none", [ca, node(key, [ca], 6000, payload=ca[1][:79] + b"\1")], a
    huge = ca[0], ca[1][:64] + struct.pack(">QB7x", (1 << 64) - 1, CHUNK), CHUNK
    yield "lengths that overflow", [ca, node(key, [huge, ca], 5999)], a[:-1]
    for field in ("codec", "zero", "padding"):
        c = chunk(key, a, **{field: 1})
        yield f"a chunk with {field}", [c, node(key, [c], 6000)], a
    for what, fields in (("a kind of none", {"kind": 3}), ("a key of none", {"how": 3}),
                         ("a length beyond", {"length": 1 << 30}), ("no length", {"length": 0}),
                         ("too much padding", {"size": padme(20000)})):
        c = chunk(key, a, **fields)
        yield what, [c, node(key, [c], 6000)], a
    deep = [ca]
    for _ in range(5):
        deep.append(node(key, [deep[-1]], 6000))
    yield "five levels", deep, a


def trees_that_lie(lane):
    """A member of the cluster made them: the tags are right, and what they protect is not."""
    c = lane.member()
    for what, parts, content in trees(c.key):
        root = parts[-1][1]
        record = seal.file_record(c.identity, c.key, sha256(content), len(content), hlc(), root,
                                  name=what.encode())
        c.publish(seal.Sealed(sha256(content).hex(), None, [(b, k) for b, _, k in parts], [record]))
        with Served(c):
            result = lane.get(sha256(content).hex(), code=None)
            code = 1 if "codec" in what else 4  # of a later version, or damaged
            assert result.code == code and len(result.err.splitlines()) == 1, (what, result)
            lane.victim.run("rm", sha256(content).hex())
    answers(c)
    lane.victim.run("gc", "--now", code=None)


# ---- holders that are none ----

def small_chunks(key, count):
    """A file of many small blobs under one node, which the format allows."""
    content = os.urandom(count * 1000)
    chunks = []
    for at in range(0, len(content), 1000):
        part = content[at:at + 1000]
        blob, data_key = seal.seal_blob(key, part)
        chunks.append((blob, seal.entry_of(blob, data_key, 1000, CHUNK), CHUNK))
    blob, data_key = seal.seal_blob(key, b"".join(entry for _, entry, _ in chunks), NODE)
    root = seal.entry_of(blob, data_key, len(content), NODE)
    return content, root, {sha256(b): b for b, _, _ in chunks} | {sha256(blob): blob}


def served_by_a_liar(lane, answer, count=3):
    """The daemon has the record of a file whose blobs two others hold: one lies, and is the first to
    say that it has them. answer(liar, number, body, n) plays the lie to the n-th that it is asked."""
    liar, keeper = lane.member(), lane.member(identity=Identity())
    content, root, blobs = small_chunks(liar.key, count)
    record = seal.file_record(liar.identity, liar.key, sha256(content), len(content), hlc(), root)
    liar.write([record])
    liar.blobs, keeper.blobs = dict(blobs), blobs
    told = []

    def on_want(body):
        for at in range(2, len(body), 40):
            blob_id, offset, number = struct.unpack_from(">32sII", body, at)
            told.append(blob_id)
            answer(liar, number, blobs[blob_id][offset:], len(told))
    liar.on_want = on_want
    key = sha256(content).hex()
    get = subprocess.Popen([lane.scene.program, "--vault", lane.victim.vault, "get", key],
                           env=lane.victim.env, stdout=subprocess.PIPE)
    lane.scene.cleanups.append(get.kill)
    liar.run_until(lambda: told, CLOSE_S)
    with Served(liar, PROTOCOL), Served(keeper):
        out = get.communicate(timeout=CLOSE_S)[0]
    assert get.returncode == 0 and out == content, (answer.__name__, get.returncode, len(out))
    lane.victim.run("rm", key)
    lane.close_all()


def false_claims(lane):
    """It has the blob, it said: then RST, nothing, the end too early, too late, or other bytes."""
    def reset(c, number, body, n):
        c.send_data(number, RST)

    def beginning(c, number, body, n):
        c.send_data(number, 0, os.urandom(300))
        c.send_data(number, RST)

    def nothing(c, number, body, n):
        pass

    def early(c, number, body, n):
        c.send_data(number, FIN, body[:500])

    def wrong(c, number, body, n):
        c.send_body(number, os.urandom(len(body)))

    def twice(c, number, body, n):
        c.send_data(number, FIN, body + body)

    def without_end(c, number, body, n):
        c.send_data(number, 0, body + bytes(300))

    def another(c, number, body, n):
        c.send_data(number + 2 * n, FIN, body)
    for answer in (reset, beginning, nothing, early, wrong, twice, without_end, another):
        served_by_a_liar(lane, answer)


def honest_a_hundred_times(lane):
    def at_last(c, number, body, n):
        c.send_body(number, body if n <= 100 else body[:-1] + bytes([body[-1] ^ 1]))
    served_by_a_liar(lane, at_last, 120)
