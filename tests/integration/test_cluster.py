"""Several real daemons on loopback: replication, convergence, repair, loss of a node."""
import os
import shutil
import subprocess

from harness import (Skip, cluster, sha256_of, wait_has_blobs, wait_in_sync, wait_until)

MIB = 1 << 20


def test_get_from_another_node_by_key_prefix_and_name(scene):
    a, _, c = cluster(scene)
    path = scene.file("dir/report", 5 * MIB)
    key = a.store(path)[0]
    wait_in_sync(scene.nodes)
    data = open(path, "rb").read()
    assert c.get(key) == data
    assert c.get(key[:10]) == data
    assert c.get("report") == data


def test_files_survive_any_two_nodes(scene):
    a, b, c = cluster(scene)
    paths = [scene.file(f"f{i}", size, seed=i) for i, size in enumerate([0, 10, 5000, 70000, 3 * MIB])]
    keys = a.store(*paths)
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    a.kill()
    for path, key in zip(paths, keys):
        assert c.get(key) == open(path, "rb").read()
    b.kill()
    for path, key in zip(paths, keys):
        assert c.get(key) == open(path, "rb").read()


def test_a_node_that_was_away_converges_by_itself(scene):
    a, b, c = cluster(scene)
    c.stop()
    keys = a.store(scene.file("one", 2 * MIB), scene.file("two", 100))
    keys += b.store(scene.file("three", 200000))
    a.run("rm", "two")
    c.start(peers=[a, b])
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    a.kill()
    b.kill()
    assert c.get(keys[0]) == open(scene.path("one"), "rb").read()
    assert c.get(keys[2]) == open(scene.path("three"), "rb").read()
    c.run("get", keys[1], code=5)  # removed, but nobody is left to say so for certain


def test_copies_are_waited_for(scene):
    a, b, c = cluster(scene)
    path = scene.file("f", 4 * MIB)
    a.run("store", path, "--copies", "3")
    stat = a.run("stat", "f", "--json").json
    assert stat["copies"] == 3
    b.kill()
    c.kill()
    wait_until(lambda: a.status()["connected"] == 0, "the loss of the peers to be noticed")
    result = a.run("store", scene.file("g", 4 * MIB, seed=9), "--no-wait")
    assert result.code == 0


def test_unknown_key_is_certain_only_if_all_were_asked(scene):
    a, b, _ = cluster(scene)
    a.run("get", "0" * 64, code=3)
    b.kill()
    wait_until(lambda: a.status()["connected"] == 1, "the loss of a peer to be noticed")
    a.run("get", "0" * 64, code=5)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_a_flipped_byte_is_repaired_from_a_peer(scene):
    a, b = cluster(scene, "ab")
    path = scene.file("f", 3 * MIB)
    key = a.store(path)[0]
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    damaged = sorted(a.blob_files())
    for i, blob in enumerate(damaged):
        flip(blob, [0, 40, 100000, -1][i % 4] % os.path.getsize(blob))
    assert a.get(key) == open(path, "rb").read()
    wait_until(lambda: all(sha256_of(p) == os.path.basename(p) for p in a.blob_files()),
               "the blobs to be repaired")
    b.kill()
    assert a.get(key) == open(path, "rb").read()


def test_a_flipped_byte_without_peers_is_named(scene):
    a = scene.node("a").start()
    key = a.store(scene.file("f", 3 * MIB))[0]
    blob = sorted(a.blob_files())[0]
    for at in (0, 31, 32, 5000, os.path.getsize(blob) - 1):
        flip(blob, at)
        result = a.run("get", key, "-o", scene.path("out"), code=4)
        assert os.path.basename(blob).encode() in result.err
        assert not os.path.exists(scene.path("out"))
        flip(blob, at)
    assert a.get(key) == open(scene.path("f"), "rb").read()


def test_a_lost_blob_file_is_fetched_again(scene):
    a, b = cluster(scene, "ab")
    path = scene.file("f", 3 * MIB)
    key = a.store(path)[0]
    wait_has_blobs(scene.nodes)
    wait_in_sync(scene.nodes)
    for blob in a.blob_files():
        os.unlink(blob)
    assert a.get(key) == open(path, "rb").read()


def test_a_replaced_node_is_filled_again(scene):
    a, b = cluster(scene, "ab")
    key = a.store(scene.file("f", 3 * MIB))[0]
    wait_has_blobs(scene.nodes)
    b.kill()
    shutil.rmtree(b.vault)
    b.start(peers=[a])
    wait_until(lambda: b.status()["files"] == 1, "records on the new node")
    wait_has_blobs(scene.nodes)
    a.kill()
    assert b.get(key) == open(scene.path("f"), "rb").read()


def test_nothing_readable_on_disk_wire_or_log(scene):
    canary = b"the-canary-sings-at-dawn-7f3a"
    name = "canary-name-5d21"
    capture = scene.path("capture.pcap")
    if shutil.which("tcpdump") is None or os.geteuid() != 0:
        raise Skip("needs tcpdump and root")
    tcpdump = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "-w", capture, "-s", "0", "tcp"],
                               stderr=subprocess.PIPE)
    scene.cleanups.append(tcpdump.kill)
    while b"listening" not in tcpdump.stderr.readline():
        assert tcpdump.poll() is None, "tcpdump ended"
    a = scene.node("a", PEERVAULT_LOG_LEVEL="debug").start()
    b = scene.node("b", PEERVAULT_LOG_LEVEL="debug").start(peers=[a])
    wait_in_sync([a, b])
    small = a.store(scene.file(name, content=canary * 3))[0]
    large = a.store(scene.file(name + "-2", content=canary * 100000))[0]
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    assert b.get(name) == canary * 3
    assert b.get(large) == canary * 100000
    a.stop()
    b.stop()
    tcpdump.terminate()
    tcpdump.wait()
    scene.cleanups.clear()
    assert os.path.getsize(capture) > len(canary) * 100000 // 10
    places = [capture, a.log_path, b.log_path]
    for node in (a, b):
        for folder, _, names in os.walk(node.vault):
            places += [os.path.join(folder, n) for n in names if n not in ("keyring",)]
    for place in places:
        with open(place, "rb") as f:
            content = f.read()
        for secret in (canary, name.encode(), small.encode(), large.encode(),
                       bytes.fromhex(small), bytes.fromhex(large), scene.cluster_key.encode(),
                       scene.token.encode()):
            assert secret not in content, (place, secret)
