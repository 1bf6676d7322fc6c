"""Peer exchange: nodes find members whose addresses they were never told."""
import json

from harness import cluster, wait_in_sync, wait_until


def peers(node):
    return [json.loads(line) for line in node.run("peers", "--json").text.splitlines()]


def connected(node):
    return sum(p["state"] == "connected" for p in peers(node))


def test_two_that_know_a_third_find_each_other(scene):
    """b and c dial a only; what each says of itself connects them, without a as well."""
    a = scene.node("a").start()
    b, c = (scene.node(name).start(peers=[a]) for name in "bc")
    wait_until(lambda: connected(b) == 2 and connected(c) == 2, "b and c to find each other")
    wait_in_sync([a, b, c])
    a.stop()
    key, = b.store(scene.file("file", 300000), "--copies", "2")
    assert len(c.get(key)) == 300000
    for node in (b, c):
        node.stop()
    for node in (b, c):  # told of nobody: the records in their vaults are enough
        node.start(listen=node.address)
    wait_until(lambda: connected(b) == 1 and connected(c) == 1, "b and c to find each other again")


def test_an_operator_says_where(scene):
    """advertise replaces what listen tells. Neither low ports nor places that mean another machine
    to each reader are dialled."""
    a = scene.node("a").start()
    hidden = scene.node("hidden", PEERVAULT_ADVERTISE="none").start(peers=[a])
    wrong = scene.node("wrong", PEERVAULT_ADVERTISE="127.0.0.1:22,224.0.0.1:3000,0.0.0.0:3000,"
                       "169.254.1.1:3000,[ff02::1]:3000").start(peers=[a])
    found = scene.node("found").start(peers=[a])
    wait_until(lambda: connected(found) == 3, "both to dial the one that can be found")
    assert connected(hidden) == connected(wrong) == 2, "a and found"
    absent, = [p for p in peers(hidden) if p["state"] == "absent"]
    assert absent["address"] == "127.0.0.1:22", absent
    wait_until(lambda: any(p.get("last_error") for p in peers(hidden)), "an attempt to be made")
    absent, = [p for p in peers(wrong) if p["state"] == "absent"]
    assert "address" not in absent, absent


def test_an_expelled_member_is_no_longer_dialled(scene):
    a, b, c = cluster(scene, "abc")
    b.stop()
    absent, = [p for p in peers(a) if p["state"] == "absent"]
    assert absent["address"] == b.address, absent
    a.run("peers", "forget", absent["node"])
    for node in (a, c):
        wait_until(lambda: not any(p["state"] == "absent" for p in peers(node)), "b to be forgotten")


def test_one_port_for_both_families(scene):
    """[::] is all addresses of the machine, IPv4 ones as well."""
    a = scene.node("a").start(listen="[::]:0")
    port = a.address.rsplit(":", 1)[1]
    for name, host in (("b", "127.0.0.1"), ("c", "[::1]"), ("d", "localhost")):
        scene.node(name, PEERVAULT_ADVERTISE="none").start(peers=[f"{host}:{port}"])
    wait_until(lambda: connected(a) == 3, "peers of both families")
