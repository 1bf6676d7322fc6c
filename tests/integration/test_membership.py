"""Who belongs to a cluster: what operators allow, block and forget."""
from harness import cluster, wait_in_sync, wait_until


def node_id(node):
    return node.run("id").text.strip()


def peer_of(node, other):
    """What node's `peers` says of the other."""
    wanted = node_id(other)
    lines = node.run("peers", "--json").text.splitlines()
    import json
    return next((p for p in map(json.loads, lines) if p.get("node") == wanted), None)


def state_of(node, other):
    peer = peer_of(node, other)
    return peer and peer["state"]


def wait_state(node, other, state):
    wait_until(lambda: state_of(node, other) == state, f"{other.name} to be {state} at {node.name}")


def test_a_blocked_node_is_kept_out_on_one_node_only(scene):
    a, b, c = cluster(scene)
    out = a.run("peers", "block", node_id(b)[:17], "--reason", "fills the disk").text
    assert out == f"{node_id(b)} is blocked on this node\n"
    wait_state(a, b, "blocked")
    assert peer_of(a, b)["reason"] == "fills the disk"
    assert "fills the disk" in a.run("peers").text
    assert state_of(c, b) == "connected"
    a.stop()
    a.start(peers=[b, c])
    wait_state(a, c, "connected")
    wait_until(lambda: "not a member" in b.log() or "not a member" in a.log(), "the refusal")
    assert state_of(a, b) == "blocked"
    assert "fills the disk" not in b.log()

    assert "is a member" in a.run("peers", "allow", node_id(b)).text
    a.stop()
    a.start(peers=[b, c])
    wait_in_sync([a, b, c])


def test_a_forgotten_node_is_expelled_everywhere(scene):
    a, b, c = cluster(scene)
    key = b.store(scene.file("f", 100000))[0]
    wait_in_sync([a, b, c])
    assert "is expelled" in a.run("peers", "forget", node_id(b)).text
    for node in (a, c):
        wait_until(lambda: state_of(node, b) not in ("connected", "absent"), "b to be sent away")
        assert node.status()["members"] == 2
        assert node.get(key) == open(scene.path("f"), "rb").read()  # what it wrote stays
    b.stop()
    b.start(peers=[a, c])
    wait_until(lambda: "not a member" in b.log(), "b to be told")
    assert a.status()["connected"] == c.status()["connected"] == 1

    a.run("peers", "allow", node_id(b))
    b.stop()
    b.start(peers=[a, c])
    wait_in_sync([a, b, c])


def test_allowlist_lets_in_whom_it_names(scene):
    a = scene.node("a", PEERVAULT_MEMBERSHIP="allowlist").start()
    b = scene.node("b")
    b.run("init")
    b.start(peers=[a])
    wait_until(lambda: "not a member" in b.log(), "b to be refused")
    assert a.status()["members"] == 1
    assert "will be a member" in a.run("peers", "allow", node_id(b), "--ttl", "1h").text
    assert state_of(a, b) == "allowed"
    b.stop()
    b.start(peers=[a])
    wait_in_sync([a, b])
    assert state_of(a, b) == "connected"


def test_decisions_that_cannot_be(scene):
    a, b = cluster(scene, "ab")
    unknown = "aaaa" + node_id(b)[4:]
    for words, code in ((("allow", node_id(a)), 2), (("block", node_id(a)), 2),
                        (("forget", "zzzz"), 3), (("allow", node_id(b)[:5]), 0),
                        (("allow", unknown), 3), (("block", ""), 2),
                        (("allow", node_id(b), "--weight", "17"), 2),
                        (("block", node_id(b), "--ttl", "0s"), 2),
                        (("block", node_id(b), "--reason", "x" * 121), 2),
                        (("block", node_id(b), "--reason", b"\xff"), 2),
                        (("allow", node_id(b), "--role", "admin"), 2),
                        (("allow",), 2), (("banish", node_id(b)), 2)):
        result = a.run("peers", *words, code=code)
        assert code == 0 or result.err.count(b"\n") == 1, result
    a.stop()
    a.run("peers", "block", node_id(b), code=5)
