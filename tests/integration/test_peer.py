"""A second implementation of the protocol and a daemon are one cluster, whoever dials whom.

tests/peer/ is written from the documents alone, so a test that fails here says that the daemon and its
documents differ.
"""
import os
import struct
import subprocess
import threading

import seal
from client import PART, Client, Listener
from extract import MEMBER, Damage, sha256
from harness import wait_until
from session import CANCEL, DUPLICATE, FETCH, HELLO, NOT_MEMBER, RENEW, TWICE, Closed, Handshake, \
    Identity, Session, WrongClock, now_ms

MIB = 1 << 20


def client(scene, node, key="", **options):
    c = Client(node.address, scene.token, scene.cluster_key if key == "" else key, **options)
    scene.cleanups.append(c.socket.close)
    return c


def listener(scene, **options):
    a = Listener(scene.token, scene.cluster_key, Identity(), **options)
    scene.cleanups.append(a.close)
    return a


def content(scene, name, size):
    with open(scene.file(name, size, seed=name), "rb") as f:
        return f.read()


def sealed(scene, c, name, size):
    data = content(scene, name, size)
    return seal.seal_file(c.identity, c.key, name.encode(), data, seal.hlc_of(now_ms())), data


def agree(c):
    """Our digest equals theirs, as they know as well."""
    c.agreed = False
    c.send_root()
    c.run_until(lambda: c.agreed)


def takes_all(blob_id):
    return True


# ---- a member like any other ----

def test_peer_joins_and_stores_files(scene):
    node = scene.node("a").start()
    node.store(scene.file("before", 2 * MIB))
    c = client(scene, node, accepts=takes_all)
    c.run_until(lambda: c.agreed and len(c.blobs) == node.status()["blobs"])
    for name, size in (("empty", 0), ("inline", 4096), ("one chunk", 4097), ("a tree", 3 * MIB)):
        file, data = sealed(scene, c, name, size)
        c.publish(file)
        assert node.get(name) == data and node.get(file.key) == data
    agree(c)
    status = node.status()
    assert status["files"] == 5 and status["members"] == 2 and status["pending"] == 0, status
    node.run("verify", "--deep")


def test_removal_reaches_the_peer_and_back(scene):
    node = scene.node("a").start()
    c = client(scene, node)
    file, data = sealed(scene, c, "x", 100)
    c.publish(file)
    c.run_until(lambda: c.agreed)
    c.write([seal.tombstone_of(c.identity, c.key, sha256(data), 100, seal.hlc_of(now_ms(), 9),
                               data=data, name=b"x")])
    node.run("get", "x", code=3)
    node.run("restore", file.key)
    c.run_until(lambda: not c.records[file.rid].flags)
    agree(c)
    assert node.get(file.key) == data


def test_daemon_dials_the_peer(scene):
    ours = listener(scene, accepts=takes_all)
    node = scene.node("a").start(peers=[ours.address])
    node.store(scene.file("x", MIB))
    c = ours.accept()
    assert c.keyed and c.dialler is False
    c.run_until(lambda: c.agreed and len(c.blobs) == node.status()["blobs"])
    file, data = sealed(scene, c, "y", MIB)
    c.publish(file)
    assert node.get("y") == data
    assert any(r.type == MEMBER and c.identity.public in r.envelope for r in c.records.values())


def test_blind_peer(scene):
    """It belongs once a keyed member said so, and is offered blobs that it cannot read."""
    node = scene.node("a").start()
    stranger = Session(node.address, scene.token, None)
    scene.cleanups.append(stranger.socket.close)
    stranger.send(HELLO, stranger.hello())
    assert stranger.until_closed() == NOT_MEMBER
    keyed = client(scene, node)
    keyed.write([seal.member_record(keyed.identity, stranger.identity.public,
                                    seal.hlc_of(now_ms()), role=2)])
    blind = client(scene, node, key=None, identity=stranger.identity, accepts=takes_all)
    node.store("--no-wait", scene.file("x", 200000))
    blind.run_until(lambda: blind.blobs and blind.agreed)


def test_wrong_secrets_of_a_listener(scene):
    """The daemon dials: it must find out by itself, and reveal nothing before."""
    ours = listener(scene)
    node = scene.node("a").start(peers=[ours.address])
    ours.parameters = ("quite another", *ours.parameters[1:])
    try:
        ours.accept()
        raise AssertionError("a foreign token was accepted")
    except Damage as error:
        assert "gate tag" in str(error)
    wait_until(lambda: "wrong token" in node.log(), "the token in the log")
    ours.parameters = (scene.token, os.urandom(32).hex(), ours.parameters[2])
    try:
        ours.accept()
        raise AssertionError("a foreign key was accepted")
    except Damage as error:
        assert "another cluster key" in str(error)


def test_clock_of_a_listener(scene):
    class Late(Handshake):
        def clock(self):
            return now_ms() - 600000

    class LateSession(Session):
        handshake_of = Late

    ours = listener(scene, kind=LateSession)
    node = scene.node("a").start(peers=[ours.address])
    try:
        ours.accept()
        raise AssertionError("the clocks are ten minutes apart")
    except WrongClock as error:
        assert abs(error.ts - now_ms()) < 60000
    wait_until(lambda: "clock differs by" in node.log(), "the clock in the log")


# ---- connections that end ----

def test_session_that_is_renewed(scene):
    """GOODBYE 10 in the middle of a body: the daemon dials again and asks for the rest."""
    ours = listener(scene)
    node = scene.node("a").start(peers=[ours.address])
    c = ours.accept()
    file, data = sealed(scene, c, "x", 900000)
    blob = file.blobs[0][0]
    asked, half = [], 4 * PART
    c.on_want = lambda body: asked.append(struct.unpack_from(">II", body, 34))
    c.offer(blob, 1)
    c.run_until(lambda: asked)
    assert asked[0][0] == 0
    for at in range(0, half, PART):
        c.send_data(asked[0][1], 0, blob[at:at + PART])
    c.goodbye(RENEW)
    assert c.until_closed() is None
    d = ours.accept()
    d.on_want = lambda body: (asked.append(struct.unpack_from(">II", body, 34)),
                              d.send_body(asked[1][1], blob[asked[1][0]:]))
    d.publish(file)
    assert asked[1][0] == half, asked
    assert node.get("x") == data


def test_get_across_a_renewal(scene):
    """A user waits for the body meanwhile: nothing is lost but the way to the next session."""
    ours = listener(scene)
    node = scene.node("a").start(peers=[ours.address])
    c = ours.accept()
    file, data = sealed(scene, c, "x", 900000)
    (blob, _), = file.blobs
    blobs = {sha256(blob): blob}
    asked, half = [], 4 * PART
    c.blobs, c.on_want = blobs, lambda body: asked.append(struct.unpack_from(">II", body, 34))
    c.write(file.records)
    out = scene.path("out")
    get = subprocess.Popen([scene.program, "--vault", node.vault, "get", "x", "-o", out], env=node.env)
    scene.cleanups.append(get.kill)
    c.run_until(lambda: asked)
    for at in range(0, half, PART):
        c.send_data(asked[0][1], 0, blob[at:at + PART])
    c.goodbye(RENEW)
    assert c.until_closed() is None
    d = ours.accept()
    d.blobs, d.on_want = blobs, lambda body: (asked.append(struct.unpack_from(">II", body, 34)),
                                              d.send_body(asked[-1][1], blob[asked[-1][0]:]))
    d.run_until(lambda: get.poll() is not None)
    assert get.returncode == 0 and [offset for offset, _ in asked] == [0, half], asked
    with open(out, "rb") as f:
        assert f.read() == data


def test_fetch_from_an_offset(scene):
    node = scene.node("a").start()
    node.store(scene.file("x", 600000))
    c = client(scene, node, accepts=takes_all)
    c.run_until(lambda: any(len(b) > 4 * PART for b in c.blobs.values()))
    blob_id, blob = max(c.blobs.items(), key=lambda item: len(item[1]))
    c.goodbye()
    assert c.until_closed() is None
    d = client(scene, node, identity=c.identity)
    for held in (1, PART, len(blob) - 1):
        d.begun[blob_id] = bytearray(blob[:held])
        assert d.fetch(blob_id) == blob
        del d.blobs[blob_id]
    d.begun[blob_id] = bytearray(blob)  # nothing is left: refused by RST
    assert d.fetch(blob_id) is None


def test_second_connection_of_one_process(scene):
    node = scene.node("a").start()
    c = client(scene, node)
    c.run_until(lambda: c.agreed)
    d = client(scene, node, identity=c.identity)
    assert d.opened > c.opened
    assert c.until_closed() == DUPLICATE
    d.run_until(lambda: d.agreed)
    assert node.status()["connected"] == 1


def test_connections_dialled_by_both_sides(scene):
    """Opened at about the same time: the one that the smaller id dialled stays, as both know."""
    ours = listener(scene)
    node = scene.node("a").start(peers=[ours.address])
    accepted = ours.accept()
    dialled = client(scene, node, identity=ours.parameters[2])
    near = abs(dialled.opened - accepted.opened) < 10000
    smaller = ours.parameters[2].node_id < dialled.their_id
    kept, ended = (accepted, dialled) if near and not smaller else (dialled, accepted)
    assert ended.until_closed() == DUPLICATE
    kept.run_until(lambda: kept.agreed)


def test_identity_that_runs_twice(scene):
    node = scene.node("a").start()
    c = client(scene, node)
    c.run_until(lambda: c.agreed)
    c.identity.boot_random = os.urandom(16)
    twin = client(scene, node, identity=c.identity)
    ends = []

    def serve(session):
        try:
            session.run_until(lambda: False)
        except Closed as end:
            ends.append(end.reason)
    threads = [threading.Thread(target=serve, args=(s,)) for s in (c, twin)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert ends == [TWICE, TWICE] and "this identity runs twice" in node.log()


def test_process_that_died_unnoticed(scene):
    """Its older session does not answer: it is closed, and the newer one serves."""
    node = scene.node("a").start()
    c = client(scene, node)
    c.run_until(lambda: c.agreed)
    c.identity.boot_random, c.identity.opens = os.urandom(16), 2
    d = client(scene, node, identity=c.identity)
    d.run_until(lambda: d.agreed)
    c.until_closed()
    assert node.status()["connected"] == 1


def test_keys_that_are_replaced(scene):
    """Both directions pass 65 536 frames; those that come back before that are counted, not opened."""
    node = scene.node("a").start()
    c = client(scene, node)
    c.run_until(lambda: c.agreed)
    absent, numbers = sha256(b"absent"), range(2, 130, 2)
    reset = struct.pack(">BI", 2, 24)
    while c.into.n < 65536 - 64:
        c.send(FETCH, struct.pack(">H", 64) +
               b"".join(absent + struct.pack(">II", 0, n) for n in numbers))
        frames = c.exactly(64 * 29)
        assert all(frames[at:at + 5] == reset for at in range(0, len(frames), 29))
        for _ in numbers:
            c.into.step()
    for i in range(64):
        assert c.locate([absent]) == {absent: False}
    for _ in range(64):  # of numbers that are not open: ignored
        c.socket.sendall(b"".join(c.out.seal(1, struct.pack(">BI", CANCEL, 7)) for _ in range(1024)))
    assert c.into.n > 65536 and c.out.n > 65536
    assert c.locate([absent]) == {absent: False}
