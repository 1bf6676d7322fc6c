"""The cluster key is replaced while the cluster works, and dies on the way."""
import json
import threading

from harness import wait_in_sync, wait_until


def keys_of(node):
    """The lines of `key list`, by state; of one node all keys have different states."""
    return [json.loads(line) for line in node.run("key", "list", "--json").out.splitlines()]


def by_state(node, state):
    return [k for k in keys_of(node) if k["state"] == state]


def active(node):
    key, = by_state(node, "active")
    return key["key"]


def cluster(scene, count=3, **settings):
    nodes = [scene.node(name, **settings) for name in "abc"[:count]]
    nodes[0].start()
    for node in nodes[1:]:
        node.start(peers=[nodes[0]])
    wait_in_sync(nodes)
    return nodes


def test_a_key_is_replaced_and_retires(scene):
    """Each file can be read at any time; what was written meanwhile, too; in the end the old key is gone."""
    a, b, c = nodes = cluster(scene, PEERVAULT_KEY_GRACE="2s")
    files = {f"f{i}": scene.file(f"f{i}", 3000 + 70000 * (i % 2), seed=i) for i in range(8)}
    a.store(*files.values(), "--copies", "3")
    a.run("store", files["f0"], "--private", "--name", "private", "--copies", "3")
    b.run("rm", "f7")
    old = active(a)
    stop, errors = threading.Event(), []

    def read_all():
        while not stop.is_set():
            for node in nodes:
                for name in ("f1", "f2", "private"):
                    result = node.run("get", name, code=None)
                    if result.code != 0:
                        errors.append((node.name, result))
    reader = threading.Thread(target=read_all)
    reader.start()
    try:
        said = a.run("key", "rotate", "--json").json
        assert said["phase"] == "retire" and said["left"] == 0 and said["have"] == said["of"] == 3, said
        b.store(scene.file("new", 100000, seed=99), "--copies", "3")
        wait_until(lambda: all(by_state(n, "retired") for n in nodes), "the old key to retire")
        wait_until(lambda: not any(k["files"] + k["names"] + k["tombstones"] for n in nodes
                                   for k in by_state(n, "retired")), "what was under it to be gone")
    finally:
        stop.set()
        reader.join()
    assert not errors, errors
    new = active(a)
    assert new != old and all(active(n) == new for n in nodes)
    for node in nodes:
        found, = by_state(node, "active")
        assert (found["files"], found["names"], found["dedup"]) == (9, 9, True), keys_of(node)
        listed = node.run("ls").text
        assert sorted(line.split()[-1] for line in listed.splitlines()) == \
            sorted([*(f"f{i}" for i in range(7)), "new", "private"]), listed
        for i in range(7):
            assert node.get(f"f{i}") == open(files[f"f{i}"], "rb").read()
        node.run("verify", "--deep")
    # Removal by name finds the file that an old name means.
    a.run("rm", "f1")
    a.run("rm", "private")
    wait_until(lambda: "f1" not in c.run("ls").text and "private" not in c.run("ls").text, "removal")
    assert len(c.run("ls").text.splitlines()) == 7, c.run("ls").text
    # A second one, on another node, restarted with the secrets that it was made with.
    c.stop()
    c.start(peers=[a])
    wait_in_sync(nodes)
    c.run("key", "rotate")
    assert all(active(n) == active(c) != new for n in nodes)


def test_killed_in_each_phase(scene):
    """kill -9 of the node that began, or of another one: it goes on by itself where it was."""
    a, b = nodes = cluster(scene, 2)
    files = [scene.file(f"f{i}", 2000 + i, seed=i) for i in range(300)]
    a.store(*files, "--copies", "2")
    old = active(a)
    b.kill()  # stage: it lacks the new key
    a.run("key", "rotate", "--no-wait")
    assert by_state(a, "staged") and active(a) == old
    a.kill()
    a.start()
    assert by_state(a, "staged") and active(a) == old
    b.start(peers=[a])  # activate, as soon as it has it
    wait_until(lambda: by_state(a, "read-only"), "the new key to be active")
    a.kill()
    b.store(scene.file("meanwhile", 5000, seed=999), "--no-wait")
    a.start(listen=a.address)
    wait_until(lambda: active(b) == active(a) != old, "both to have it")
    b.kill()  # re-seal
    b.start(peers=[a])
    wait_in_sync(nodes)
    said = b.run("key", "rotate", "--json", "--no-wait").json
    wait_until(lambda: all(k.get("retires_ms") for n in nodes for k in by_state(n, "read-only")) and
               by_state(a, "read-only"), f"nothing to be left: {said}")
    for node in nodes:
        key, = by_state(node, "active")
        assert (key["files"], key["names"]) == (301, 301), keys_of(node)
        for i in (0, 150, 299):
            assert node.get(f"f{i}") == open(files[i], "rb").read()
        assert len(node.run("ls").text.splitlines()) == 301


def test_a_member_without_the_new_key(scene):
    """--force does not wait for it: it goes on writing under the old one, and is given the new one later."""
    a, b = nodes = cluster(scene, 2)
    key, = a.store(scene.file("f", 5000), "--copies", "2")
    b.stop()
    a.run("key", "rotate", "--force", "--no-wait")
    wait_until(lambda: by_state(a, "read-only"), "the new key to be active")
    late, = b.store(scene.file("late", 6000, seed=2))
    assert active(a) != active(b.start(peers=[a])) or by_state(b, "read-only")
    wait_until(lambda: active(a) == active(b), "it to be given the key")
    wait_until(lambda: all(k.get("retires_ms") for n in nodes for k in by_state(n, "read-only")), "the end")
    for node in nodes:
        assert len(node.get(key)) == 5000 and len(node.get(late)) == 6000
        found, = by_state(node, "active")
        assert (found["files"], found["names"]) == (2, 2), keys_of(node)


def test_a_leaked_key_goes_to_nobody(scene):
    """A new token with it, and no member gets either over the network: each joins again."""
    a, b = nodes = cluster(scene, 2)
    key, = a.store(scene.file("f", 5000), "--copies", "2")
    old = active(a)
    a.run("key", "rotate", "--compromised")
    assert active(a) != old
    wait_until(lambda: a.status()["connected"] == 0, "the session to end")
    wait_until(lambda: "wrong token" in b.log(), "b to be refused")
    assert active(b) == old and len(keys_of(b)) == 1
    assert len(a.get(key)) == 5000 and len(b.get(key)) == 5000
    code = a.run("invite", "--role", "keyed").text.split()[0]
    b.stop()
    del b.env["PEERVAULT_AUTH_TOKEN"]
    b.run("join", code)
    assert by_state(b.start(peers=[a]), "read-only")[0]["key"] == old and active(b) == active(a)
    wait_until(lambda: all(k.get("retires_ms") for n in nodes for k in by_state(n, "read-only")), "the end")
    for node in nodes:
        found, = by_state(node, "active")
        assert (found["files"], found["names"], found["dedup"]) == (1, 1, True), keys_of(node)
        assert len(node.get(key)) == 5000
