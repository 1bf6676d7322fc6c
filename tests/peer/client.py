"""A small honest peer: keeps the cluster's records, fetches blobs, takes those it is offered and
offers its own.

Written from transport/protocol.md and storage/format.md alone, like session.py below it. It shows that
the rest of the protocol can be spoken by a program in another language: a daemon admits it as a
member, sends it records and blobs, and counts its acknowledgements.
"""
import select
import socket
import struct
import time

from extract import Damage, MEMBER, TOMBSTONE, check, check_blob, hmac256, parse_record, sha256
from session import BLIND, BLOBS, CANCEL, DATA, DIGEST, ERROR, FETCH, FIN, FOUND, FULL, GET, LOST, \
    NOT_FOUND, PING, PONG, RECORD, RECORDS, RST, STORE, STORED, TOKEN, WANT, Session, now_ms

ROOT, BUCKETS, HASHES = 1, 2, 3
BUCKET_COUNT = 4096
MAX_STREAMS, MAX_LISTS, MAX_ROUNDS, MAX_IDS = 64, 8, 8, 1024
MAX_AHEAD_MS = 120000
DAY_MS, TOMBSTONE_DAYS = 86400 * 1000, 90
PART = 65528


def counted(body, at, size):
    """The entries of a message that ends with a counted list."""
    count, = struct.unpack_from(">H", body, at)
    check(len(body) == at + 2 + count * size, "message: count")
    return [body[at + 2 + i * size:at + 2 + (i + 1) * size] for i in range(count)]


def bucket_of(digest):
    return digest[0] << 4 | digest[1] >> 4


class Client(Session):
    """blobs and records are its store, by id and by rid; begun has the beginnings of cut bodies.
    accepts says which offered blobs it takes."""

    def __init__(self, *args, accepts=lambda blob_id: False, **kw):
        super().__init__(*args, **kw)
        self.blobs, self.records, self.begun, self.accepts = {}, {}, {}, accepts
        self.offers = []          # offered, not yet asked for
        self.streams = {}         # number -> (WANT or FETCH, id, size or None)
        self.numbers = {WANT: 1, FETCH: 2}
        self.answers = {}         # request -> {id: bool}
        self.acknowledged = set()  # (what, id)
        self.root_sent, self.agreed, self.rounds = None, False, 0
        self.their_buckets, self.differing, self.lists = [], [], {}
        self.heard = {}           # bucket -> hashes of a list that is not complete yet
        self.start()

    def run_until(self, done, seconds=120):
        """Serves the other side until done() is true, looked at after each message and now and then."""
        end = time.monotonic() + seconds
        while not done():
            check(time.monotonic() < end, "nothing came of it in time")
            self.serve(0.1)

    def serve_for(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.serve(left)

    def serve(self, seconds):
        """Takes the next message, if one comes in time."""
        if select.select([self.socket], [], [], seconds)[0]:
            kind, body = self.receive()
            handler = {DATA: self.on_data, PING: self.on_ping, STORE: self.on_store, GET: self.on_get,
                       WANT: self.on_want, FETCH: self.on_want, FOUND: self.on_found,
                       NOT_FOUND: self.on_not_found, STORED: self.on_stored, RECORD: self.on_records,
                       DIGEST: self.on_digest, FULL: self.ignore, LOST: self.ignore,
                       ERROR: self.ignore, CANCEL: self.ignore, TOKEN: self.ignore}.get(kind)  # all of it has left
            check(handler is not None, f"unknown message {kind}")
            handler(body)

    def ignore(self, body):
        pass

    def on_ping(self, body):
        check(len(body) == 16, "PING: length")
        self.send(PONG, body[:8] + struct.pack(">Q", now_ms()))

    # ---- blobs ----

    def locate(self, ids, request=7):
        """Asks who has blobs: {id: whether it has}."""
        self.answers[request] = {}
        self.send(GET, struct.pack(">IH", request, len(ids)) + b"".join(ids))
        self.run_until(lambda: len(self.answers[request]) == len(ids))
        return self.answers.pop(request)

    def fetch(self, blob_id):
        self.ask(FETCH, blob_id)
        self.run_until(lambda: not any(s[1] == blob_id for s in self.streams.values()))
        return self.blobs.get(blob_id)

    def ask(self, kind, blob_id, size=None):
        number = self.numbers[kind]
        self.numbers[kind] += 2
        self.streams[number] = kind, blob_id, size
        offset = len(self.begun.setdefault(blob_id, bytearray()))
        self.send(kind, struct.pack(">H32sII", 1, blob_id, offset, number))

    def on_store(self, body):
        for entry in counted(body, 0, 37):
            blob_id, kind, size = struct.unpack(">32sBI", entry)
            check(kind <= 2 and 304 <= size <= 983088, "STORE: fields")
            check((kind == 0) == (self.role == BLIND), "STORE: kind")
            if blob_id in self.blobs:
                self.acknowledge(BLOBS, [blob_id])
            elif not self.accepts(blob_id):
                self.send(FULL, struct.pack(">IH", 0, 1) + blob_id)
            else:
                self.offers.append((blob_id, size))
        self.ask_for_offers()

    def ask_for_offers(self):
        while self.offers and sum(s[0] == WANT for s in self.streams.values()) < MAX_STREAMS:
            self.ask(WANT, *self.offers.pop(0))

    def on_data(self, body):
        number, flags, data = body
        check(number in self.streams, "stream: not asked for")
        kind, blob_id, size = self.streams[number]
        self.begun[blob_id] += data
        check(len(self.begun[blob_id]) <= (size or 983088), "stream: beyond the end")
        if flags == 0:
            return
        del self.streams[number]
        if flags == FIN:
            self.received(kind, blob_id, bytes(self.begun.pop(blob_id)))
        self.ask_for_offers()

    def received(self, kind, blob_id, blob):
        try:
            check_blob(blob, blob_id)
        except Damage:
            text = blob_id.hex().encode()
            self.send(ERROR, struct.pack(">HB", 1, len(text)) + text)
            return
        self.blobs[blob_id] = blob
        if kind == WANT:
            self.acknowledge(BLOBS, [blob_id])

    def acknowledge(self, what, ids):
        for i in range(0, len(ids), MAX_IDS):
            part = ids[i:i + MAX_IDS]
            self.send(STORED, struct.pack(">BH", what, len(part)) + b"".join(part))

    def on_stored(self, body):
        check(body[0] in (BLOBS, RECORDS), "STORED: what")
        self.acknowledged.update((body[0], i) for i in counted(body, 1, 32))

    def on_get(self, body):
        ids = counted(body, 4, 32)
        for kind, part in ((FOUND, [i for i in ids if i in self.blobs]),
                           (NOT_FOUND, [i for i in ids if i not in self.blobs])):
            if part:
                self.send(kind, body[:4] + struct.pack(">H", len(part)) + b"".join(part))

    def on_found(self, body, found=True):
        request, = struct.unpack_from(">I", body)
        check(request in self.answers, "FOUND: never asked")
        self.answers[request].update((i, found) for i in counted(body, 4, 32))

    def on_not_found(self, body):
        self.on_found(body, False)

    def offer(self, blob, kind):
        self.blobs[sha256(blob)] = blob
        self.send(STORE, struct.pack(">H32sBI", 1, sha256(blob), kind, len(blob)))

    def on_want(self, body):
        for entry in counted(body, 0, 40):
            blob_id, offset, number = struct.unpack(">32sII", entry)
            self.send_body(number, self.blobs.get(blob_id, b"")[offset:])

    def send_body(self, number, data):
        if not data:
            self.send_data(number, RST)
        for at in range(0, len(data), PART):
            self.send_data(number, 0 if at + PART < len(data) else FIN, data[at:at + PART])

    def publish(self, sealed):
        """Has a file stored there: until its blobs and records are acknowledged."""
        for blob, kind in sealed.blobs:
            self.offer(blob, kind)
        self.run_until(lambda: all((BLOBS, sha256(blob)) in self.acknowledged
                                   for blob, _ in sealed.blobs))
        self.write(sealed.records)

    def write(self, envelopes):
        for envelope in envelopes:
            check(self.take(envelope), "record: of another time")
            self.send_records([parse_record(envelope)])
        self.run_until(lambda: all((RECORDS, sha256(e)) in self.acknowledged for e in envelopes))

    # ---- records ----

    def on_records(self, body):
        at, ids = 0, []
        while at < len(body):
            length, = struct.unpack_from(">I", body, at)
            envelope = body[at + 4:at + 4 + length]
            check(len(envelope) == length, "RECORD: length")
            at += 4 + length
            if self.take(envelope):
                ids.append(sha256(envelope))
        if ids:
            self.acknowledge(RECORDS, ids)

    def take(self, envelope):
        """Whether the record is to be acknowledged: it is kept, or one that beats it, or all that it
        says is that there is nothing."""
        record, now = parse_record(envelope), now_ms()
        if (record.hlc >> 16) > now + MAX_AHEAD_MS:
            return False
        mine = self.records.get(record.rid)
        if mine is None or self.order(record) > self.order(mine):
            self.records[record.rid] = record
            if record.flags & TOMBSTONE and (record.hlc >> 16) // DAY_MS + TOMBSTONE_DAYS < now // DAY_MS:
                del self.records[record.rid]
        return True

    @staticmethod
    def order(record):
        rank = (record.hlc, record.flags & TOMBSTONE, sha256(record.envelope))
        if record.type == MEMBER:
            generation, = struct.unpack_from(">I", record.payload, 4)
            rank = (generation, record.payload[1] & 1, *rank)
        return -record.type, rank

    def send_records(self, records):
        for record in records:
            self.send(RECORD, struct.pack(">I", len(record.envelope)) + record.envelope)

    # ---- digest ----

    def hashes(self, bucket=None):
        found = (sha256(r.envelope) for r in self.records.values())
        return sorted(h for h in found if bucket is None or bucket_of(h) == bucket)

    def summary(self):
        """count and sum of each bucket, and the root over them."""
        counts, sums = [0] * BUCKET_COUNT, [0] * BUCKET_COUNT
        for h in self.hashes():
            b = bucket_of(h)
            counts[b] += 1
            sums[b] = (sums[b] + int.from_bytes(h[:16], "big")) % 2**128
        rows = [struct.pack(">I", c) + s.to_bytes(16, "big") for c, s in zip(counts, sums)]
        return rows, hmac256(self.h, b"".join(rows))

    def send_root(self):
        self.root_sent = self.summary()[1]
        self.send(DIGEST, bytes([ROOT]) + self.root_sent)

    def on_digest(self, body):
        kind, body = body[0], body[1:]
        check(kind in (ROOT, BUCKETS, HASHES), "DIGEST: kind")
        (self.on_root, self.on_buckets, self.on_hashes)[kind - ROOT](body)

    def on_root(self, theirs):
        rows, mine = self.summary()
        crossed, self.root_sent = self.root_sent is not None, None
        self.agreed = theirs == mine
        if self.agreed:
            if not crossed:
                self.send(DIGEST, bytes([ROOT]) + mine)
        elif not crossed or self.identity.node_id < self.their_id:
            self.send_members()
            half = BUCKET_COUNT // 2
            for first in (0, half):
                self.send(DIGEST, struct.pack(">BHH", BUCKETS, first, half) +
                          b"".join(rows[first:first + half]))

    def send_members(self):
        self.send_records(r for r in self.records.values() if r.type == MEMBER)

    def on_buckets(self, body):
        first, count = struct.unpack_from(">HH", body)
        check(1 <= count <= 2048 and len(body) == 4 + 20 * count, "BUCKETS: length")
        check(first == len(self.their_buckets), "BUCKETS: order")
        self.their_buckets += [body[i:i + 20] for i in range(4, len(body), 20)]
        if len(self.their_buckets) == BUCKET_COUNT:
            rows = self.summary()[0]
            self.send_members()
            self.differing = [b for b in range(BUCKET_COUNT) if rows[b] != self.their_buckets[b]]
            self.their_buckets = []
            self.ask_for_lists()

    def ask_for_lists(self):
        while self.differing and len(self.lists) < MAX_LISTS:
            bucket = self.differing.pop(0)
            self.lists[bucket] = []
            self.send_list(bucket)
        if not self.lists and self.rounds < MAX_ROUNDS:
            self.rounds += 1
            self.send_root()

    def send_list(self, bucket):
        mine = self.hashes(bucket)
        for i in range(0, max(1, len(mine)), MAX_IDS):
            part = mine[i:i + MAX_IDS]
            last = i + MAX_IDS >= len(mine)
            self.send(DIGEST, struct.pack(">BHBH", HASHES, bucket, last, len(part)) + b"".join(part))

    def on_hashes(self, body):
        bucket, last, _ = struct.unpack_from(">HBH", body)
        check(bucket < BUCKET_COUNT and last <= 1, "HASHES: fields")
        self.heard.setdefault(bucket, set()).update(counted(body, 3, 32))
        if not last:
            return
        theirs = self.heard.pop(bucket)
        self.send_records([r for r in self.records.values() if bucket_of(sha256(r.envelope)) == bucket
                           and sha256(r.envelope) not in theirs])
        if bucket in self.lists:
            del self.lists[bucket]
            self.ask_for_lists()
        else:
            self.send_list(bucket)


class Listener:
    """A listening port; each connection becomes a session of its own."""

    def __init__(self, token, cluster_key, identity, kind=Client, **options):
        self.parameters, self.kind, self.options = (token, cluster_key, identity), kind, options
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(60)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def accept(self, **options):
        connection, _ = self.socket.accept()
        connection.settimeout(60)
        return self.kind(connection, *self.parameters, **{**self.options, **options})

    def close(self):
        self.socket.close()
