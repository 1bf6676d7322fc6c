"""The rows of the hostile-peer suite: what is sent, and what must come of it.

After each row the daemon lives, no sanitizer has spoken, nothing that it stores has changed (unless
the row says so), memory and descriptors are back, and the honest member at another address was
served meanwhile and is served now. Rows of one lane share a daemon, lanes run side by side.
"""
from collections import namedtuple

import bodies
import guests
import messages
import network
import records
import wire

Row = namedtuple("Row", "name sent expected play lane changes waits")


def row(name, sent, expected, play, lane, changes=False, waits=False):
    return Row(name, sent, expected, play, lane, changes, waits)


CLOSED = "closed without a word"

ROWS = [
    row("M1", "nothing; a byte now and then; M1 or M3 and nothing more", CLOSED + ", at the deadline",
        wire.nothing_or_little, "deadline", waits=True),
    row("M2", "HTTP, TLS, SSH, zeros, random bytes; HTTP as an answer", CLOSED, wire.other_protocols,
        "handshake"),
    row("M3", "ephemeral and static keys of low order", CLOSED, wire.low_order_keys, "handshake"),
    row("M5", "an expelled member, a blind stranger, another cluster key, another token",
        "GOODBYE 5, the same, 4, silence; no record before", wire.who_is_not_let_in, "handshake",
        changes=True),
    row("M6 M7 M9", "frames of 0 bytes, less than a tag, more than the limit, 2^31, 2^32 - 1; types "
        "that are none", CLOSED + ", at the header", wire.frame_headers, "frames"),
    row("M8", "a good header, 100 bytes, silence", CLOSED + ", when the peer counts as dead",
        wire.frame_that_never_ends, "dead", waits=True),
    row("M10", "a session byte by byte; ten frames in a packet", "taken", wire.split_and_joined,
        "frames"),
    row("M15", "frames repeated, reordered, with a counter used or skipped, under a later key", CLOSED,
        wire.counters, "frames"),
    row("M15 M1", "the first or the third handshake message once more", CLOSED,
        wire.replayed_handshake, "handshake"),
    row("M16", "a bit flipped in each part of a frame, of M1 and of M3", CLOSED, wire.flipped_bits,
        "frames"),
    row("M16 certificate", "each field of a certificate wrong, under a good signature", CLOSED,
        wire.certificates, "handshake"),
    row("M17", "frames of the other direction", CLOSED, wire.reflected, "frames"),
    row("M38", "other versions of envelope, suite, prologue and HELLO", CLOSED + "; a later HELLO is "
        "taken", wire.downgrades, "handshake"),
    row("M41 handshake", "clocks ten minutes off, the epoch, the far future", "the clock message once; "
        "in M3 " + CLOSED, wire.clocks, "handshake"),
    row("M45", "close, reset and half-close at each step", "nothing stays", wire.ways_to_leave,
        "leave"),
    row("M46", "urgent data, segments of 88 bytes, a window that is shut", "nobody else waits",
        wire.strange_tcp, "frames"),
    row("M11", "counts and lengths beyond what is there, or allowed", "GOODBYE 8",
        messages.counts_that_lie, "counts"),
    row("M13", "valid messages and a byte more, or less", "GOODBYE 8",
        messages.too_much_or_too_little, "messages"),
    row("M13 fields", "each field out of its range", "GOODBYE 8", messages.fields_out_of_range,
        "fields"),
    row("M47", "control bytes and forged lines in texts", "escaped in the log", messages.log_lines,
        "order"),
    row("M19", "ids that spell paths; ids of another length", "not found; GOODBYE 8; no such path is "
        "opened", messages.ids_like_paths, "order"),
    row("M29", "lists of absent ids, as long as allowed and longer, and again; 65 bodies at once",
        "answered; GOODBYE 8", messages.lists_of_absent_ids, "order", changes=True),
    row("M35", "one identity connects 50 times", "the newest stays, GOODBYE 2 for the others",
        messages.one_identity_many_times, "order"),
    row("M36", "floods of small messages", "nobody else waits", messages.floods, "order"),
    row("M36 late", "answers and ends of what is over, or never was, empty lists", "ignored",
        messages.harmless, "order"),
    row("M37", "types that are unknown or reserved", "GOODBYE 8", messages.unknown_types, "messages"),
    row("M39", "messages before HELLO, HELLO twice, answers that were not asked for",
        CLOSED + "; GOODBYE 8", messages.out_of_turn, "turns"),
    row("M39 HELLO", "HELLO of other lengths, roles, proofs", CLOSED + "; GOODBYE 4",
        messages.hello_fields, "messages"),
    row("M43", "ids that are equal but for the last bytes", "answered", messages.equal_prefixes,
        "order"),
    row("M12 M18", "trees that lie: swapped, dropped, too deep, lengths, kinds, codec, padding",
        "exit 4, one line; 1 for a later codec", bodies.trees_that_lie, "trees", changes=True),
    row("M18 M24", "bodies that are not those of their id, headers that are none",
        "ERROR with the id; nothing is kept", bodies.bytes_of_another_id, "bodies"),
    row("M32 offered", "more or less than was announced", "GOODBYE 8", bodies.bodies_of_another_length,
        "bodies"),
    row("M25", "500 large blobs offered by each of four, all but the end of each sent", "what is asked "
        "for is bounded; others are served", bodies.announced_and_not_sent, "stalls", changes=True,
        waits=True),
    row("M26", "more than disk_limit", "FULL; the session goes on", bodies.disk_is_full, "bodies"),
    row("M30 M32", "FOUND, and then nothing, RST, other bytes, less, more, another stream",
        "the next holder; GOODBYE 8", bodies.false_claims, "liars", changes=True),
    row("M33", "bodies that nobody asked for", "GOODBYE 8 at the first frame", bodies.nobody_asked,
        "bodies"),
    row("M36 RST", "bodies given up; RST of what has ended", "taken; GOODBYE 8", bodies.given_up,
        "bodies"),
    row("M52", "a hundred blobs as they are, then other bytes", "the next holder",
        bodies.honest_a_hundred_times, "liars", changes=True),
    row("M5 operator", "a member that the operator blocks, allows, forgets",
        "its session ends at once, GOODBYE 5; taken; GOODBYE 5", records.operators_decide,
        "records", changes=True),
    row("M21", "deletions, names and memberships sealed by a blind member",
        "neither stored nor answered", records.without_authority, "records", changes=True),
    row("M22", "tombstones with wrong signatures, 92 days old, of unknown ids",
        "GOODBYE 8; answered and not stored; stored", records.tombstones, "records", changes=True),
    row("M22 bodies", "sealed bodies that the format does not allow", "neither stored nor answered",
        records.malformed_bodies, "records", changes=True),
    row("M23", "a thousand tombstones by a blind member, and by a stranger", "nothing is stored",
        records.many_tombstones, "records", changes=True),
    row("M31", "a digest that differs each time", "given up", records.never_agrees, "digest",
        waits=True),
    row("M40", "addresses of others, of everyone, of nobody; too many", "nothing is dialled at once; "
        "not stored", records.places_to_dial, "records", changes=True),
    row("M41", "records of the future", "neither stored nor answered; no clock follows",
        records.clocks_of_records, "records", changes=True),
    row("M42", "two records of one clock, in either order", "the same one wins everywhere",
        records.equal_clocks, "records", changes=True),
    row("guests", "guests who send what members send, unknown messages, malformed requests, data",
        "GOODBYE 8", guests.something_else, "guests"),
    row("guests codes", "codes that were used, have expired, have another secret; a second request",
        "GOODBYE 5; " + CLOSED + "; GOODBYE 8", guests.codes_that_are_not_good, "guests",
        changes=True),
    row("guests thief", "a code to be confirmed, used by another than it was for", "only CONFIRM; the "
        "operator's number fits nobody; GOODBYE 8 for what is sent meanwhile",
        guests.thief_of_a_code, "guests"),
    row("guests guess", "a thousand first messages under guessed codes", CLOSED,
        guests.guessed_codes, "guests"),
    row("guests JOIN TOKEN", "JOIN of a member; TOKEN of a blind one, of another date, malformed",
        "GOODBYE 8; the same; taken, and the token stays", guests.members_as_guests, "guests",
        changes=True),
    row("guests silent", "eight guests who say nothing, and a ninth", "GOODBYE 9 after 30 s; GOODBYE 7",
        guests.silent_guests, "guests", waits=True),
    row("M4", "a thousand handshakes, one after the other, of one host", "5 a second are begun",
        network.handshakes_of_one_host, "network", waits=True),
    row("M34", "thousands of silent connections of one host, and 600 of 600 hosts",
        "8, and 256 in all; a configured address gets in meanwhile",
        network.connections_of_many, "network", waits=True),
]

ELSEWHERE = {
    "M14": "no integer on the wire has more than one form: all are of fixed length",
    "M20": "what lies in the place of a blob file: tests/integration/test_zoo.py",
    "M27": "who asks and does not read: tests/integration/test_pressure.py",
    "M28": "who reads a byte now and then: tests/integration/test_pressure.py",
    "M44": "nothing is compressed in this version; a blob that says so is refused: M12",
}
