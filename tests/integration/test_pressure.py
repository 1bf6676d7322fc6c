"""Peers that do not read, flood, or stop: they are not read either, cost little memory, and the
honest ones are served."""
import os
import select
import signal
import struct
import threading

from harness import cluster, wait_has_blobs, wait_in_sync, wait_until
from peers import member
from session import FETCH, GET, PING, PROTOCOL, STORE, now_ms

KIB, MIB = 1 << 10, 1 << 20
MEMORY_KIB = (64 + 32) * KIB  # mem_limit, and what the rest may take here


def blob_ids(node):
    return [bytes.fromhex(os.path.basename(path)) for path in node.blob_files()]


def ask_for(session, ids, first=2):
    wants = b"".join(struct.pack(">32sII", blob_id, 0, first + 2 * i) for i, blob_id in enumerate(ids))
    session.send(FETCH, struct.pack(">H", len(ids)) + wants)


def sealed_ping(session):
    return session.out.seal(1, bytes([PING]) + struct.pack(">QQ", 7, now_ms()))


def assert_small(scene, node):
    if not scene.sanitized:
        assert node.rss_peak_kib() < MEMORY_KIB, node.rss_peak_kib()


def test_slow_peers_are_closed(scene):
    """One asks for much and reads nothing, one sends a frame a byte at a time. Both show now and then
    that they are alive. Meanwhile two honest nodes replicate."""
    a, b = cluster(scene, "ab")
    a.store(scene.file("f", 8 * MIB))
    wait_has_blobs([a, b])
    deaf, slow = member(scene, a), member(scene, a)
    deaf_until, slow_until = f"peer={address(deaf)}", f"peer={address(slow)}"
    ask_for(deaf, (blob_ids(a) * 64)[:64])
    frame = slow.out.seal(1, bytes([GET]) + os.urandom(60000))
    stop = threading.Event()

    def drip():
        at = 0
        while not stop.wait(1):
            try:
                slow.socket.sendall(frame[at:at + 1])
                if select.select([slow.socket], [], [], 0)[0]:
                    slow.socket.recv(1 << 16)
                deaf.socket.send(sealed_ping(deaf))
            except OSError:
                pass
            at += 1
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        key, = b.store(scene.file("g", 8 * MIB, seed=2), "--copies", "2")
        assert a.get(key) == open(scene.path("g"), "rb").read()
        for who, why in ((deaf_until, "reads too slowly"), (slow_until, "sends a frame too slowly")):
            wait_until(lambda: any(who in line and why in line for line in a.log().splitlines()), why)
    finally:
        stop.set()
        thread.join()
    assert a.status()["connected"] == 1
    assert_small(scene, a)


def address(session):
    return "%s:%d" % session.socket.getsockname()


def test_who_asks_without_end_is_closed(scene):
    """10 000 questions, and 10 000 bodies asked for, by peers that read no answer."""
    a = scene.node("a").start()
    a.store(scene.file("f", 4 * MIB))
    ids = blob_ids(a)
    gets = [bytes([GET]) + struct.pack(">IH32s", i, 1, os.urandom(32)) for i in range(10000)]
    bodies = [bytes([FETCH]) + struct.pack(">H32sII", 1, ids[i % len(ids)], 0, 2 + 2 * i)
              for i in range(10000)]
    for messages in (gets, bodies):
        peer = member(scene, a)
        flood = b"".join(peer.out.seal(1, message) for message in messages)

        def push(peer=peer, flood=flood):
            try:
                peer.socket.sendall(flood)
            except OSError:
                pass  # closed under way
        thread = threading.Thread(target=push)
        thread.start()
        assert peer.until_closed() in (PROTOCOL, None)
        thread.join()
    wait_until(lambda: a.log().count("peer broke the protocol") == 2, "both to be closed")
    assert a.get(a.store(scene.file("g", MIB, seed=2))[0]) == open(scene.path("g"), "rb").read()
    assert_small(scene, a)


def test_a_flood_is_read_as_fast_as_it_can_be_kept(scene):
    """Offers without end, each answered before the next: reading stops, and others are served."""
    a, b = cluster(scene, "ab")
    writer = member(scene, a)
    offers = [struct.pack(">H", 1024) + b"".join(
        struct.pack(">32sBI", os.urandom(32), 1, 983088) for _ in range(1024)) for _ in range(2)]
    writer.send(STORE, offers[0])
    key, = b.store(scene.file("f", 8 * MIB), "--copies", "2")
    assert a.get(key) == open(scene.path("f"), "rb").read()
    writer.send(STORE, offers[1])
    assert writer.until_closed() == PROTOCOL, "1 024 of them had no answer yet"
    assert_small(scene, a)


def test_a_stopped_peer_holds_little(scene):
    a, b, c = cluster(scene)
    b.process.send_signal(signal.SIGSTOP)
    try:
        a.store(scene.file("f", 48 * MIB))
        wait_has_blobs([a, c])
        assert_small(scene, a)
    finally:
        b.process.send_signal(signal.SIGCONT)
    wait_has_blobs([a, b, c])
    wait_in_sync([a, b, c])
