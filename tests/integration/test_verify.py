"""`verify` with real daemons: damage of all kinds on the disk is found, named and repaired."""
import json
import os
import signal
import threading

from harness import cluster, sha256_of, wait_has_blobs, wait_until

MIB = 1 << 20


def flip(path, at=1000):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def report(node, *args, code=0):
    """The problems, the files, and the last object."""
    lines = [json.loads(line) for line in node.run("verify", "--json", *args, code=code).out.splitlines()]
    return ([o for o in lines if o.get("event") == "problem"],
            [o for o in lines if o.get("event") == "file"], lines[-1])


def status_of(node):
    """Also of one that is not well."""
    result = node.run("status", "--json", code=None)
    return json.loads(result.text) if result.code in (0, 4) else {}


def test_damage_is_found_and_repaired_from_another_node(scene):
    a, b = cluster(scene, "ab")
    source = scene.file("f", 4 * MIB)
    key, = a.store(source, "--copies", "2")
    problems, files, end = report(a, "--deep")
    assert not problems and not files and end["clean"] and end["depth"] == "every byte"
    assert end["bytes"] == a.status()["blob_bytes"] and end["files"] == 1

    blobs = sorted(a.blob_files())
    flip(blobs[0])
    os.truncate(blobs[1], 5000)
    os.unlink(blobs[2])
    os.unlink(blobs[3])
    os.mkfifo(blobs[3])
    bad = {os.path.basename(path) for path in blobs[:4]}

    problems, files, end = report(a, code=4)  # the structure does not show wrong bytes
    assert {p["blob"] for p in problems} == bad - {os.path.basename(blobs[0])}
    assert end["depth"] == "structure" and end["damaged"] == 3
    assert files == [{"event": "file", "key": key, "names": [{"name": "f"}], "bad_blobs": 3}]
    problems, files, end = report(a, "--deep", code=4)
    assert {p["blob"] for p in problems} == bad and end["damaged"] == 4

    problems, files, end = report(a, "--deep", "--repair")
    assert {p["blob"] for p in problems} == bad and not files
    assert {p["result"] for p in problems} == {"repaired"}
    assert end["clean"] and end["repaired"] == 4
    assert sorted(a.blob_files()) == blobs and all(sha256_of(p) == os.path.basename(p) for p in blobs)
    assert len(os.listdir(os.path.join(a.vault, "quarantine"))) == 3  # one was not there
    status = a.status()
    assert status["healthy"] and status["bad_blobs"] == 0 and status["quarantined"] == 3
    b.stop()
    assert sha256_of(source) == key and a.get(key) == open(source, "rb").read()


def test_what_nobody_has_is_named_and_comes_back(scene):
    a, b = cluster(scene, "ab")
    key, = a.store(scene.file("f", 2 * MIB), "--copies", "2")
    wait_has_blobs([a, b])
    b.stop()
    wait_until(lambda: a.status()["connected"] == 0, "the loss of the peer to be noticed")
    path = sorted(a.blob_files())[0]
    flip(path)
    result = a.run("verify", "--deep", "--repair", code=4)
    text = result.err.decode()
    assert os.path.basename(path) in text and "no reachable node has a good copy" in text
    assert f"file {key} f: 1 blob bad or missing" in text
    assert result.text.startswith("checked every byte: ") and result.text.count("\n") == 1
    status = status_of(a)
    assert not status["healthy"] and status["bad_blobs"] == 1 and status["quarantined"] == 1
    assert "verify --repair" in a.run("status", "-q", code=4).err.decode()
    a.stop()
    a.start(wait=False)
    a.address = wait_until(lambda: status_of(a).get("listen"), "the daemon to listen")
    b.start(peers=[a])
    wait_until(lambda: status_of(a)["healthy"], "the blob to come back")  # by itself
    assert os.path.exists(path) and a.status()["bad_blobs"] == 0
    assert a.run("verify", "--deep").text.endswith("no damage\n")


def test_without_a_daemon(scene):
    a = scene.node("a")
    source = scene.file("f", 2 * MIB)
    a.run("verify", code=3)  # no vault
    key, = a.store(source)
    small, = a.store(scene.file("small", 20000, seed=2))
    assert a.run("verify").text.startswith("checked the structure: ")
    assert a.run("verify", "--deep", "-q").err == b""
    path = sorted(a.blob_files())[0]
    flip(path)
    assert "the bytes are wrong" in a.run("verify", "--deep", code=4).err.decode()
    assert os.path.exists(path)  # it was only asked for
    a.run("verify", "--deep", "--repair", code=4)
    assert not os.path.exists(path)
    a.run("get", key, code=None)
    assert a.get(small) == open(scene.path("small"), "rb").read()
    a.store(source)  # the user has a copy
    assert a.run("verify", "--deep").text.endswith("no damage\n")
    assert a.get(key) == open(source, "rb").read()
    a.run("verify", "--depth", code=2)


def test_no_false_alarm_while_files_come_and_go(scene):
    a, b = cluster(scene, "ab", PEERVAULT_GC_GRACE="0s")
    files = [scene.file(f"f{i}", size, seed=i) for i, size in enumerate([3 * MIB, 20000, 70000, 500, MIB])]
    stop = threading.Event()
    trouble = []

    def churn():
        try:
            while not stop.is_set():
                keys = a.store(*files, "--no-wait")
                for key in keys:
                    a.run("rm", key)
                a.run("gc", "--now", code=None)
        except AssertionError as e:
            trouble.append(e)

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for i in range(8):
            assert report(a, *["--deep"][:i % 2])[2]["clean"]
    finally:
        stop.set()
        worker.join()
    assert not trouble, trouble
    assert a.run("verify", "--deep").text.endswith("no damage\n")
    assert a.status()["quarantined"] == 0


def test_a_client_that_goes_away(scene):
    a, = cluster(scene, "a")
    a.store(scene.file("f", 64 * MIB))
    for seconds in (0.05, 0.2, 0.4):
        a.run("verify", "--deep", code=None,
              preexec=lambda s=seconds: signal.setitimer(signal.ITIMER_REAL, s))
    assert a.run("verify", "--deep").text.endswith("no damage\n")
