"""Limits of bandwidth between daemons. A transfer may take longer than they say, never less."""
import re
import signal
import time

from harness import wait_has_blobs, wait_in_sync, wait_until

KIB, MIB = 1 << 10, 1 << 20
FREE = 200 * KIB  # bursts of either side, and what lay in the sockets' buffers as records


def pair(scene, **settings):
    a = scene.node("a").start()
    b = scene.node("b", PEERVAULT_LIMIT_LAN="on", **settings).start(peers=[a])
    wait_in_sync([a, b])
    return a, b


def seconds_for(scene, source, target, size, seed):
    start = time.monotonic()
    source.store(scene.file(f"f{seed}", size, seed=seed))
    wait_has_blobs([source, target])
    return time.monotonic() - start


def test_each_direction_is_limited(scene):
    a, b = pair(scene, PEERVAULT_LIMIT_UP="512KiB", PEERVAULT_LIMIT_PEER_DOWN="512KiB")
    assert b.status()["bandwidth"] == \
        {"up": 512 * KIB, "down": 0, "peer_up": 0, "peer_down": 512 * KIB, "lan": True}
    assert "512 KiB/s up, 512 KiB/s down from each peer" in b.run("status").text
    least = (MIB - FREE) / (512 * KIB)
    assert seconds_for(scene, b, a, MIB, 1) >= least
    assert seconds_for(scene, a, b, MIB, 2) >= least
    wait_in_sync([a, b])
    for node in (a, b):
        assert len(re.findall("disconnected", node.log())) == 0, "a slow link is not a dead one"


def test_a_reload_changes_it(scene):
    a, b = pair(scene)
    assert b.run("status").text.count("bandwidth") == 0
    with open(b.vault + "/peervault.conf", "a") as f:
        f.write("limit_peer_up = 256KiB\n")
    b.process.send_signal(signal.SIGHUP)
    wait_until(lambda: b.status()["bandwidth"]["peer_up"] == 256 * KIB, "the limit to be set")
    assert "limit_peer_up" not in b.log(), "nothing waits for a restart"
    assert seconds_for(scene, b, a, MIB // 2, 1) >= (MIB // 2 - FREE) / (256 * KIB)


def test_get_through_a_narrow_pipe(scene):
    """Slower than a fetch has patience for, were it the peer's fault."""
    a = scene.node("a").start()
    key, = a.store(scene.file("f", MIB // 2))
    b = scene.node("b", PEERVAULT_LIMIT_LAN="on", PEERVAULT_LIMIT_DOWN="128KiB").start(peers=[a])
    wait_until(lambda: b.status()["files"] == 1, "the record to come")
    assert b.get(key) == open(scene.path("f"), "rb").read()
    assert "a peer stopped sending" not in b.log()
