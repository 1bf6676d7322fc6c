"""Removed files that come back, what a collection ends, and what a name meant before."""
import json

from harness import cluster, wait_has_blobs, wait_in_sync, wait_until

MIB = 1 << 20


def content(path):
    with open(path, "rb") as f:
        return f.read()


def test_removed_on_one_node_restored_on_another(scene):
    a, b, c = cluster(scene)
    paths = [scene.file(f"f{i}", size, seed=i) for i, size in enumerate([100, 70000, 5 * MIB])]
    keys = a.store(*paths)
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    a.run("rm", "f0", "f1", keys[2])
    for node in (b, c):
        wait_until(lambda n=node: n.run("ls", "--json").text == "", "the removal on another node")
    wait_in_sync(scene.nodes)
    c.run("get", "f2", code=3)
    replies = [json.loads(line) for line in
               b.run("restore", "f0", keys[1], "f2", "--json").text.splitlines()]
    assert [(r["key"], r["files"], r["name"]) for r in replies] == \
        [(key, 1, f"f{i}") for i, key in enumerate(keys)], replies
    wait_until(lambda: c.run("ls", "--json").text.count("\n") == 3, "the files on a third node")
    wait_in_sync(scene.nodes)
    a.kill()
    b.kill()
    for path, key, name in zip(paths, keys, ["f0", "f1", "f2"]):
        assert c.get(key) == content(path)
        assert c.get(name) == content(path)


def test_what_is_not_removed_and_what_never_was(scene):
    a = scene.node("a").start()
    key = a.store(scene.file("f", 1000))[0]
    assert b"not removed" in a.run("restore", "f").err
    assert a.run("restore", key, "--json").json["files"] == 0
    assert b"not found" in a.run("restore", "g", code=3).err
    a.run("restore", "f", "g", "--key", key, code=2)
    a.run("restore", "f", "--key", "1234", code=2)
    a.run("restore", "f", "--key", "0" * 64, code=3)
    a.run("ls", "f", "--history", "f", code=2)
    a.run("ls", "--history", "g", code=3)


def test_a_collection_ends_it(scene):
    a = scene.node("a")
    path = scene.file("large", 3 * MIB)
    for daemon in (True, False):
        if daemon:
            a.start()
        a.store(path)
        a.run("rm", "large")
        kept = a.run("gc", "--json").json
        assert kept["garbage_blobs"] == 0 and kept["removed_files"] == 1, kept
        assert kept["removed_bytes"] > MIB, kept
        before = a.run("gc", "--dry-run", "--now", "--json").json
        assert before["dry_run"] and before["garbage_bytes"] > MIB, before
        a.run("restore", "large")
        assert a.get("large") == content(path)
        assert a.run("gc", "--now", "--json").json["garbage_blobs"] == 0
        a.run("rm", "large")
        result = a.run("gc", "--now")
        assert b"can no longer be restored" in result.err and b"freed" in result.out, result
        assert not list(a.blob_files())
        result = a.run("restore", "large", code=5)
        assert b"blobs are gone" in result.err, result
        a.stop()


def test_without_a_member_in_sync_nothing_is_collected(scene):
    a, b = cluster(scene, "ab")
    a.store(scene.file("f", MIB))
    wait_in_sync(scene.nodes)
    a.stop()
    b.stop()
    result = a.run("gc", "--now", code=5)
    assert b"nothing is deleted" in result.err, result
    blocked = a.run("gc", "--dry-run", "--json").json
    assert "in sync" in blocked["blocked"] and blocked["live_blobs"] > 0, blocked
    a.start()
    b.start(peers=[a])
    wait_in_sync(scene.nodes)
    assert a.run("gc", "--json").json["live_blobs"] > 0


def test_history_of_a_name(scene):
    a, b = cluster(scene, "ab")
    texts = [b"one", b"two two", b"x" * 100000]
    keys = []
    for text in texts:
        keys += a.store(scene.file("f", content=text))
    wait_in_sync(scene.nodes)
    lines = a.run("ls", "--history", "f").text.splitlines()
    assert [line.split()[0] for line in lines] == keys[::-1], lines
    assert lines[0].endswith("current") and "100000" in lines[0], lines
    assert lines[1].endswith("replaced"), lines
    a.run("rm", keys[0])
    lines = a.run("ls", "--history", "f").text.splitlines()
    assert lines[2].endswith("file removed"), lines
    a.run("restore", "f", "--key", keys[0][:10])
    assert a.get("f") == b"one"
    wait_until(lambda: b.run("get", "f", code=None).out == b"one", "the older version elsewhere")
    a.run("rm", "f")
    lines = a.run("ls", "--history", "f").text.splitlines()
    assert lines[0].startswith(keys[0]) and lines[0].endswith("name removed, current"), lines
    a.run("restore", "f", "--key", keys[2])
    assert a.get("f") == texts[2]
