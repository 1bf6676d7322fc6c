"""Bans, copied vaults, and a log that nobody can fill. Single inputs of hostile peers: tests/hostile."""
import os
import shutil
import socket

from harness import cluster, sha256_of, wait_in_sync, wait_until
from peers import member, session
from session import BANNED, PROTOCOL, TWICE, Identity

MIB = 1 << 20


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def test_faults_are_banned_by_identity(scene):
    a, b = cluster(scene, "ab")
    bad, other = Identity(), Identity()

    def ends_with(identity, message=None):
        peer = session(scene, a, identity=identity)
        if message is not None:
            peer.send(*message)
        return peer.until_closed()

    for _ in range(3):
        assert ends_with(bad, (99, b"unknown")) == PROTOCOL
    assert ends_with(bad) == BANNED
    peer, = (p for p in a.status()["peers"] if p["state"] == "banned")
    assert 500 < peer["banned_s"] <= 600 and "unexpected" in peer["reason"], peer
    assert "banned for " in a.run("peers").text
    assert "minutes more because of a malformed or unexpected message" in "".join(a.run("doctor", "--json").json["look"])
    assert ends_with(other, (99, b"unknown")) == PROTOCOL, "another identity of the same address"
    key, = b.store(scene.file("f", MIB), "--copies", "2")
    assert sha256_of(scene.path("f")) == key
    a.stop()
    a.start(listen=a.address)
    assert ends_with(bad, (99, b"unknown")) == PROTOCOL, "a restart forgives"


def test_strangers_cannot_fill_the_log(scene):
    a = scene.node("a").start()
    host, port = a.address.rsplit(":", 1)
    before = len(a.log())
    for _ in range(2000):
        with socket.create_connection((host, int(port))) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    wait_until(lambda: descriptors(a) < 30, "connections to be closed")
    assert len(a.log()) - before < 40000, "a few lines, then a count"


def copied(scene, node):
    """A daemon's vault, copied while it was stopped."""
    twin = scene.node("twin")
    shutil.copytree(node.vault, twin.vault)
    return twin


def test_a_copied_vault_is_told_to_all(scene):
    a, b = cluster(scene, "ab")
    b.stop()
    twin = copied(scene, b)
    b.start(peers=[a])
    wait_in_sync([a, b])
    twin.start(peers=[a])
    for node in (b, twin):
        wait_until(lambda: node.status().get("said_twice_by"), f"{node.name} to be told")
        assert "a peer says that this identity runs twice" in node.log()
        assert "says that this identity runs twice" in node.run("status").text
    assert a.status()["healthy"] is True and "this identity runs twice" in a.log()


def test_a_copied_vault_that_meets_itself_ends(scene):
    a = scene.node("a").start()
    a.stop()
    twin = copied(scene, a)
    a.start()
    twin.start(peers=[a], wait=False)
    wait_until(twin.ended, "the twin to end")
    assert twin.process.returncode == 6 and f"runs twice: at {a.address}" in twin.log()
    assert a.status()["healthy"] is True


def test_a_lie_about_twins_ends_nothing(scene):
    a = scene.node("a").start()
    liar = member(scene, a)
    liar.goodbye(TWICE)
    liar.until_closed()
    wait_until(lambda: a.status().get("said_twice_by"), "the lie to be shown")
    assert a.status()["healthy"] is True
    assert "runs twice" in "".join(a.run("doctor", "--json").json["look"])
    b = scene.node("b").start(peers=[a])
    wait_until(lambda: b.status()["connected"] == 1, "the next to be served")
