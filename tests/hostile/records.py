"""Rows about records: who may write what, clocks, tombstones, and digests that never agree."""
import os
import select
import socket
import struct
import time

import seal
from client import Client
from extract import DAY, FILE, NAME, TOMBSTONE, padme, parse_record, sha256, x
from lane import ATTACKER, CLOSE_S, answers, ends
from session import BLIND, NOT_MEMBER, PROTOCOL, RECORDS, Identity, Session, now_ms

MINUTE = 60000


def refused(c, envelopes, what):
    """Neither stored nor answered, and the session goes on: what follows is answered alone."""
    c.acknowledged.clear()
    c.send_records([parse_record(e) for e in envelopes])
    proof = seal.address_record(c.identity, [], seal.hlc_of(now_ms()))
    c.write([proof])
    late = [i for i, e in enumerate(envelopes) if (RECORDS, sha256(e)) in c.acknowledged]
    assert not late, f"{what}: {late} answered"


def gibberish(identity, kid, kind, rid, hlc, flags=TOMBSTONE):
    """A sealed record by one who lacks the key: all that anyone can check is right."""
    size = padme(512)
    return seal.sign_record(identity, struct.pack(
        ">4sBBH8sQ32sQQ32s32s32sII", b"PVR1", kind, 1, flags, kid, (hlc >> 16) // 1000 // DAY * DAY,
        rid, hlc, 0, identity.public, os.urandom(32), os.urandom(32), size, 0) + os.urandom(size + 16))


def blind_member(lane):
    """Admitted by a keyed one, which is gone then."""
    keyed, blind = lane.member(), Identity()
    keyed.write([seal.member_record(keyed.identity, blind.public, seal.hlc_of(now_ms()), role=BLIND)])
    keyed.goodbye()
    c = lane.session(Client, key=None, identity=blind)
    c.run_until(lambda: blind.public in b"".join(r.envelope for r in c.records.values()), CLOSE_S)
    return c


def without_authority(lane):
    """Tombstones, names and memberships sealed by a blind member."""
    c = blind_member(lane)
    before, later = lane.status(), seal.hlc_of(now_ms() + MINUTE)
    kid = lane.honest.client.key.kid
    victims = [(FILE, lane.honest.file.rid), (NAME, parse_record(lane.honest.file.records[1]).rid),
               (FILE, os.urandom(32))]
    envelopes = [gibberish(c.identity, kid, kind, rid, later, flags) for kind, rid in victims
                 for flags in (0, TOMBSTONE)]
    envelopes += [seal.member_record(c.identity, Identity().public, later),
                  seal.member_record(c.identity, c.identity.public, later, generation=9),
                  seal.member_record(c.identity, lane.honest.client.identity.public, later,
                                     generation=9, expelled=True)]
    someone = lane.honest.client.identity
    stolen = seal.address_record(someone, [b"192.0.2.1:3000"], later)[:-64]
    stolen = stolen[:72] + c.identity.public + stolen[104:]
    envelopes.append(seal.sign_record(c.identity, stolen))
    refused(c, envelopes, "a blind member")
    after = lane.status()
    for field in ("files", "names", "members"):
        assert after[field] == before[field], field
    assert lane.get(lane.honest.file.key).out  # it is still there


def many_tombstones(lane):
    """Thousands, of ids that nobody knows, by a blind member and by strangers."""
    c = blind_member(lane)
    before, hlc, kid = lane.look(others=1), seal.hlc_of(now_ms()), lane.honest.client.key.kid
    stranger = lane.session(Session, key=None, identity=Identity())
    envelopes = [gibberish(c.identity, kid, FILE, os.urandom(32), hlc) for _ in range(1000)]
    parts = [envelopes[i:i + 70] for i in range(0, len(envelopes), 70)]
    messages = [b"\x11" + b"".join(struct.pack(">I", len(e)) + e for e in part) for part in parts]
    hello = b"\1" + stranger.hello()
    lane.pour(stranger, b"".join(stranger.out.seal(1, m) for m in (hello, *messages)))
    c.acknowledged.clear()
    for message in messages:
        c.send(message[0], message[1:])
    answers(c)
    assert not c.acknowledged
    assert lane.look(others=1)["stored"] == before["stored"]


def tombstones(lane):
    """By a member that may delete: with a wrong signature, of the far past, of unknown ids."""
    c = lane.member()
    digest, size = sha256(os.urandom(8)), 5
    past = seal.hlc_of(now_ms() - 92 * DAY * 1000)
    before = lane.look(others=1)
    c.write([seal.tombstone_of(c.identity, c.key, digest, size, past, data=b"12345")])
    assert lane.look(others=1)["stored"] == before["stored"], "there is nothing that it removes"
    c.write([seal.tombstone_of(c.identity, c.key, digest, size, seal.hlc_of(now_ms()), data=b"12345")])
    body = seal.tombstone_of(c.identity, c.key, digest, size, seal.hlc_of(now_ms(), 1), data=b"12345")
    for wrong in (body[:-1] + bytes([body[-1] ^ 1]), body[:40] + bytes([body[40] ^ 1]) + body[41:],
                  body[:72] + bytes(32) + body[104:], body[:72] + b"\1" + bytes(31) + body[104:]):
        c = lane.session(Client)
        c.send(0x11, struct.pack(">I", len(wrong)) + wrong)
        ends(c, PROTOCOL, "signature")


def clocks_of_records(lane):
    """Ahead of ours by more than two minutes: held back, and nobody's clock is dragged along."""
    c = lane.member()
    later = [now_ms() + 3 * MINUTE, now_ms() + DAY * 1000, (1 << 48) - 1]
    for at in later:
        data = os.urandom(9)
        refused(c, [seal.name_record(c.identity, c.key, b"later", sha256(data), seal.hlc_of(at)),
                    seal.member_record(c.identity, Identity().public, seal.hlc_of(at))], at)
    key, = lane.victim.store(lane.scene.file("now", content=os.urandom(10)), "--no-wait")
    c.run_until(lambda: any(r.type == FILE and (r.hlc >> 16) > now_ms() - MINUTE and
                            r.sealer == lane.honest.client.their_public for r in c.records.values()),
                CLOSE_S)
    assert all((r.hlc >> 16) < now_ms() + MINUTE for r in c.records.values())
    lane.victim.run("rm", key)


def malformed_bodies(lane):
    """Sealed by one who has the key; what they say is not what the format allows."""
    c = lane.member()

    def record(kind, rid, body, hlc=None):
        return seal.seal_record(c.identity, c.key, kind, rid, hlc or seal.hlc_of(now_ms()), body)

    def stated(kind, subject, rest):
        hlc = seal.hlc_of(now_ms())
        rid = x(c.key.loc, b"file", subject) if kind == FILE else \
            x(c.key.name, b"name", b"\2" + subject)
        return record(kind, rid, seal.stated(c.identity, kind, subject, hlc, rest, 0), hlc)
    digest, root = sha256(os.urandom(9)), os.urandom(64) + struct.pack(">QB7x", 6, 1)

    def file(what=0, chunker=1, zero=0, a=0, b=0, size=6, secret=bytes(32), root=root, tail=b""):
        return struct.pack(">BBBBHHQQ32s32s80s", 1, what, chunker, zero, a, b, size, now_ms(), digest,
                           secret, root) + tail
    bodies = [file(what=4), file(chunker=3), file(zero=1), file(a=1025, tail=b"n" * 1025), file(a=9),
              file(b=5, tail=b"12345"), file(what=1, b=4097, size=4097, root=b"", tail=bytes(4097)),
              file(what=1, b=5, size=6, root=b"", tail=b"12345"), file(size=7), file(secret=b"s" * 32),
              file(root=bytes(80)), file(root=root[:-1] + b"\1"),
              file(what=1, b=5, size=5, tail=b"12345")]
    names = [struct.pack(">BBHI32s32s", 1, 1, a, zero, digest, bytes(32)) + name
             for a, zero, name in ((0, 0, b""), (1025, 0, b"n" * 1025), (2, 1, b"nn"), (9, 0, b"n"))]
    wrong = [stated(FILE, digest, body) for body in bodies]
    wrong += [stated(NAME, body[72:], body) for body in names]
    wrong += [record(FILE, os.urandom(32), seal.stated(c.identity, FILE, digest, 1, file(), 0))]
    refused(c, wrong, "malformed")


def equal_clocks(lane):
    """Two records of one clock and id: every node keeps the same one, whichever came first."""
    other = lane.scene.node(f"other{len(lane.scene.nodes)}").start()
    first = lane.member()
    second = Client(other.address, lane.token, lane.key, first.identity)
    lane.opened.append(second.socket)
    hlc, name = seal.hlc_of(now_ms()), b"one name %s" % os.urandom(4).hex().encode()
    files = [seal.seal_file(first.identity, first.key, name, os.urandom(20), hlc) for _ in range(2)]
    for c, order in ((first, files), (second, files[::-1])):
        for file in order:
            c.write(file.records)
    want = max(files, key=lambda f: sha256(f.records[1])).key
    for node in (lane.victim, other):
        assert node.run("stat", name.decode(), "--json").json["key"] == want
        assert "two records at one clock" in node.log()
    for file in files:
        lane.victim.run("rm", file.key, code=None)
    other.stop()


class Restless(Client):
    """Says that it has other records, each time it is asked."""

    def __init__(self, *args, **kw):
        self.bytes_read = 0
        super().__init__(*args, **kw)

    def exactly(self, length):
        self.bytes_read += length
        return super().exactly(length)

    def summary(self):
        rows, root = super().summary()
        return [os.urandom(20) for _ in rows], os.urandom(len(root))


def never_agrees(lane):
    """As fast as it is answered; the other side gives up, and says no more than this."""
    c = lane.session(Restless)
    end = time.monotonic() + 20
    c.run_until(lambda: time.monotonic() > end, CLOSE_S)
    assert c.bytes_read < 16 << 20, c.bytes_read


def places_to_dial(lane):
    """Addresses of others' ports, of everyone and of nobody: nothing is dialled at once."""
    with socket.create_server((ATTACKER, 0)) as trap:
        c = lane.member()
        port = trap.getsockname()[1]
        places = [b"%s:%d" % (ATTACKER.encode(), port), b"127.0.0.1:22", b"0.0.0.0:%d" % port,
                  b"224.0.0.1:3000", b"255.255.255.255:22", b"[::1]:%d" % port, b"[ff02::1]:3000",
                  b"localhost:%d" % port]
        c.write([seal.address_record(c.identity, places, seal.hlc_of(now_ms()))])
        many = seal.address_record(c.identity, places, seal.hlc_of(now_ms(), 2))
        for at, value in ((176 + 1, 9), (176 + 48, 0), (176 + 2, 1)):
            body = many[:at] + bytes([value]) + many[at + 1:-64]
            refused(c, [seal.sign_record(c.identity, body)], "address record")
        lane.honest.served_again()
        assert not select.select([trap], [], [], 0)[0], "it dials what it is told"
        c.write([seal.address_record(c.identity, [], seal.hlc_of(now_ms(), 3))])


def operators_decide(lane):
    """Blocked here: the session ends at once, and so do all others; allowed again."""
    c = lane.member(identity=Identity())
    node_id = c.identity.node_id.hex()
    lane.victim.run("peers", "block", node_id)
    ends(c, NOT_MEMBER, "blocked")
    again = lane.session(Client, identity=c.identity)
    ends(again, NOT_MEMBER, "still blocked")
    lane.victim.run("peers", "allow", node_id)
    answers(lane.session(Client, identity=c.identity))
    lane.victim.run("peers", "forget", node_id)
    ends(lane.session(Client, identity=c.identity), NOT_MEMBER, "forgotten")

