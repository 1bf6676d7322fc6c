"""What strangers and dishonest peers can do to a daemon: nothing that outlives their connection."""
import os
import re
import socket
import struct

from harness import Skip, wait_in_sync, wait_until
from peer import Peer, BLIND, DIGEST, KEYED, LOST


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def memory_kib(node):
    with open(f"/proc/{node.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_a_peer_without_the_key_cannot_stop_the_daemon(scene):
    a = scene.node("a").start()
    peer = Peer(a, role=BLIND)
    peer.goodbye(6)
    peer.ended()
    peer.close()
    other = Peer(a, role=KEYED)
    other.goodbye(6)
    other.ended()
    other.close()
    assert a.status()["healthy"] is True
    b = scene.node("b").start(peers=[a])
    wait_in_sync([a, b])


def test_strangers_cannot_fill_the_log(scene):
    a = scene.node("a").start()
    host, port = a.address.rsplit(":", 1)
    before = len(a.log())
    for _ in range(2000):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    wait_until(lambda: descriptors(a) < 30, "connections to be closed")
    assert len(a.log()) - before < 40000, "a few lines, then a count"


def test_garbage_leaves_nothing_behind(scene):
    a = scene.node("a").start()
    host, port = a.address.rsplit(":", 1)
    fds, memory = descriptors(a), memory_kib(a)
    kept = []
    for i in range(1000):
        s = socket.create_connection((host, int(port)))
        s.sendall(os.urandom(1 + i % 200))
        if i % 4 == 0:
            kept.append(s)
        else:
            s.close()
    for s in kept:
        s.close()
    wait_until(lambda: descriptors(a) <= fds, "descriptors to be closed")
    if not scene.sanitized:
        assert memory_kib(a) < memory + 4096


def admitted(scene, node):
    """A keyed member that lies; it has been admitted when it hears our digest."""
    peer = Peer(node, cluster_key=scene.cluster_key)
    peer.expect(DIGEST)
    return peer


def test_floods_of_small_messages_cost_no_memory(scene):
    if scene.sanitized:
        raise Skip("memory of a sanitized program says nothing")
    a = scene.node("a").start()
    peer = admitted(scene, a)
    before = a.rss_peak_kib()
    buckets = b"".join(peer.sealed(1, bytes([DIGEST, 2]) + struct.pack(">HHI", i, 1, 7) + bytes(16))
                       for i in range(1200))
    lost = b"".join(peer.sealed(1, bytes([LOST]) + struct.pack(">IH", 0, 1024) +
                                os.urandom(1024 * 32)) for i in range(600))
    peer.send_all(buckets + lost)
    assert a.status()["healthy"] is True
    assert a.rss_peak_kib() < before + (16 << 10), (before, a.rss_peak_kib())
    peer.close()
