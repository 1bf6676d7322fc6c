"""Who belongs to a cluster: what operators allow, block and forget."""
import json
import os
import re
import subprocess
import time

from harness import cluster, new_token, wait_in_sync, wait_until
from session import JOIN, Invite, Session

REQUEST = b"\1\4eve!"


def node_id(node):
    return node.run("id").text.strip()


def peer_of(node, other):
    """What node's `peers` says of the other."""
    wanted = node_id(other)
    lines = node.run("peers", "--json").text.splitlines()
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
    b.stop()  # or it would dial again meanwhile
    assert a.status()["members"] == 1
    assert "will be a member" in a.run("peers", "allow", node_id(b), "--ttl", "1h").text
    assert state_of(a, b) == "allowed"
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


# ---- invites ----

def newcomer(scene, name):
    """A machine without a vault and without any secret."""
    node = scene.node(name)
    for key in ("PEERVAULT_AUTH_TOKEN", "PEERVAULT_CLUSTER_KEY"):
        del node.env[key]
    return node


def invite(node, *words):
    return node.run("invite", *words).text.strip()


def test_a_machine_joins_by_one_command_on_each_side(scene):
    a, b = cluster(scene, "ab")
    key = a.store(scene.file("f", 3000000))[0]
    c = newcomer(scene, "c")
    out = c.run("join", invite(a, "--role", "keyed"), "--listen", "127.0.0.1:0").text
    assert "role   keyed" in out and a.address in out, out
    c.start()  # with nothing but what join wrote
    wait_until(lambda: c.status()["in_sync"] >= 1, "c to be in sync")
    assert c.get(key) == open(scene.path("f"), "rb").read()
    assert peer_of(a, c)["role"] == "keyed"


def test_many_addresses_of_the_inviter(scene):
    """The settings that join writes can be read, however long they are together."""
    elsewhere = [f"{'x' * 40}-{i}.example:3000" for i in range(7)]
    a = scene.node("a", PEERVAULT_ADVERTISE=",".join(elsewhere)).start()
    b = newcomer(scene, "b")
    b.run("join", invite(a, "--address", a.address))
    shown = [json.loads(line) for line in b.run("config", "show", "--json").text.splitlines()]
    peers = next(row["value"] for row in shown if row["key"] == "peers").split(",")
    assert peers[0] == a.address and set(elsewhere) <= set(peers), peers


def test_settings_that_anybody_may_read_stay(scene):
    a = scene.node("a").start()
    b = newcomer(scene, "b")
    os.makedirs(b.vault, mode=0o700)
    conf = f"{b.vault}/peervault.conf"
    with open(conf, "w") as f:
        f.write("scrub = off")
    os.chmod(conf, 0o644)
    b.run("join", invite(a), "--listen", "127.0.0.1:0")
    with open(conf) as f:
        assert f.read() == f"scrub = off\npeers = {a.address}\nlisten = 127.0.0.1:0\n"
    b.run("config", "check")


def test_an_invite_is_good_for_one_machine(scene):
    a = scene.node("a", PEERVAULT_MEMBERSHIP="allowlist").start()
    code = invite(a, "--role", "keyed")
    b, c = newcomer(scene, "b"), newcomer(scene, "c")
    b.run("join", code)
    assert "used by another machine" in c.run("join", code, code=6).err.decode()
    assert "used by another machine" in a.log()
    b.run("join", code)  # the same machine may come again
    b.start()
    wait_in_sync([a, b])
    c.run("join", invite(a, "--role", "keyed"))  # goes on with the identity it has
    c.start()
    wait_until(lambda: a.status()["in_sync"] == 2, "both to be in sync")
    assert a.status()["members"] == 3


def test_an_invite_outlives_a_restart_but_not_its_time(scene):
    a = scene.node("a").start()
    code = invite(a)
    short = a.run("invite", "--ttl", "1s", "--json").json
    port = a.address
    a.stop()
    a.start(listen=port)
    b, c = newcomer(scene, "b"), newcomer(scene, "c")
    assert "role   blind" in b.run("join", code).text
    wait_until(lambda: time.time() * 1000 > short["expires_ms"], "the invite to lapse")
    c.run("join", short["code"], code=6)


def test_codes_that_are_none(scene):
    a = scene.node("a").start()
    code = invite(a, "--role", "keyed")
    digits, address = code.split("@")
    wrong = digits[:40] + ("a" if digits[40] != "a" else "b") + digits[41:]
    b = newcomer(scene, "b")
    for text in ("", digits, digits + "@", wrong + "@" + address, code + ",", code[:-1] + "x",
                 "x" + code, code.replace("pvj1", "pvt1")):
        result = b.run("join", text, code=2)
        assert result.err.count(b"\n") == 1, result
    b.run("join", digits.upper() + "@" + address)
    a.run("invite", "--ttl", "31d", code=2)
    a.run("invite", "--role", "admin", code=2)
    a.run("invite", "--address", "nowhere", code=2)
    assert invite(a, "--address", "home.example.org:3000").endswith("@home.example.org:3000")
    for _ in range(30):
        invite(a)
    assert "invites are open" in a.run("invite", code=1).err.decode()
    a.stop()
    a.run("invite", code=5)


def test_another_node_cannot_play_the_inviter(scene):
    a = scene.node("a").start()
    z = scene.node("z", token=None).start()
    code = invite(a, "--role", "keyed")
    b = newcomer(scene, "b")
    result = b.run("join", code.split("@")[0] + "@" + z.address, code=6)
    assert b"not known there" in result.err, result
    b.run("join", code)  # nothing was lost


def test_a_blind_machine_joins_and_never_gets_the_key(scene):
    a = scene.node("a").start()
    key = a.store(scene.file("f", 3000000))[0]
    b = newcomer(scene, "b")
    b.run("join", invite(a, "--role", "blind"))
    with open(f"{b.vault}/keyring") as f:
        text = f.read()
    assert "root " + a.run("id", "--json").json["node_hex"] in text
    assert "cluster" not in text and scene.cluster_key not in text
    b.start()
    wait_until(lambda: b.status()["connected"] == 1 and a.status()["in_sync"] == 1, "b to be in sync")
    wait_until(lambda: b.status()["blobs"] == a.status()["blobs"] > 0, "blobs at b")
    assert peer_of(a, b)["role"] == "blind"
    b.run("get", key, code=6)


def asking(node, code):
    return subprocess.Popen([node.scene.program, "--vault", node.vault, "join", code], env=node.env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def number_shown(join):
    for line in join.stderr:
        if found := re.search(rb"invite confirm (\d{6})`", line):
            return found.group(1).decode()
    raise AssertionError("no number was shown")


def test_a_machine_joins_when_it_is_confirmed(scene):
    a = scene.node("a").start()
    b, c = newcomer(scene, "b"), newcomer(scene, "c")
    code = invite(a, "--role", "keyed", "--confirm")
    join = asking(b, code)
    scene.cleanups.append(join.kill)
    number = number_shown(join)
    refused_once(c.run("join", code, code=6), "used by another machine")
    for text in ("", "12345", "1234567", "12345x", "+12345"):
        a.run("invite", "confirm", text, code=2)
    wrong = "%06d" % ((int(number) + 1) % 1000000)
    refused_once(a.run("invite", "confirm", wrong, code=3), "no machine waits here with this number")
    port = a.address
    a.stop()
    a.start(listen=port)  # the invite is still one to be confirmed, and b asks again
    number = number_shown(join)
    assert a.status()["members"] == 1
    assert "is a member" in a.run("invite", "confirm", number).err.decode()
    out, _ = join.communicate(timeout=120)
    assert join.returncode == 0 and b"role   keyed" in out, out
    refused_once(a.run("invite", "confirm", number, code=3), "no machine waits")
    b.start()
    wait_in_sync([a, b])


# ---- machines that come back ----

def another_cluster(scene):
    return scene.node("z", token=new_token(), cluster_key=os.urandom(32).hex()).start()


def files_of(node):
    """What joining may change, and what it may not."""
    found = {}
    for name in ("keyring", "identity", "peervault.conf"):
        path = os.path.join(node.vault, name)
        found[name] = open(path, "rb").read() if os.path.exists(path) else None
    return found


def replace_token(*nodes):
    """On all that run: those who do not are out."""
    nodes[0].run("token", "rotate", "--overlap", "1h")
    wait_until(lambda: len({tuple(tokens_of(n)) for n in nodes}) == 1, "all to be told")
    for node in nodes:
        node.run("token", "rotate", "--finish")


def refused_once(result, words):
    assert result.err.count(b"\n") == 1 and words in result.err.decode(), result


def test_a_machine_that_missed_the_new_token_joins_again(scene):
    a, b, c = cluster(scene)
    c.run("store", scene.file("f", 300000))
    wait_in_sync([a, b, c])
    who, before = node_id(c), files_of(c)
    c.stop()
    replace_token(a, b)
    c.start(peers=[a, b])
    wait_until(lambda: "wrong token" in c.log(), "c to be kept out")
    refused_once(c.run("join", invite(a, "--role", "keyed"), code=5), "stop it first")
    c.stop()
    refused_once(c.run("join", invite(a), code=2), "this vault is keyed")
    refused_once(c.run("join", invite(another_cluster(scene), "--role", "keyed"), code=2),
                 "belongs to another cluster")
    assert files_of(c) == before

    for key in ("PEERVAULT_AUTH_TOKEN", "PEERVAULT_CLUSTER_KEY"):
        del c.env[key]
    out = c.run("join", invite(a, "--role", "keyed"), "--listen", "127.0.0.1:0")
    assert who in out.text and "joined again" in out.err.decode(), out
    c.run("join", invite(a, "--role", "keyed"), "--listen", "127.0.0.1:0")
    with open(f"{c.vault}/peervault.conf") as f:
        lines = f.read().splitlines()
    assert len(lines) == len(set(lines)) == out.text.count("127.0.0.1") + 1, lines
    refused_once(c.run("join", invite(a, "--role", "keyed"), "--listen", "127.0.0.1:1", code=2),
                 "change it there")
    c.start()
    wait_in_sync([a, b, c])
    assert node_id(c) == who and tokens_of(c) == tokens_of(a)
    assert files_of(c)["identity"] == before["identity"] and a.status()["members"] == 3
    with open(scene.path("f"), "rb") as f:
        assert c.get("f") == f.read()


def test_a_blind_machine_joins_again_where_it_knows_somebody(scene):
    a, m = cluster(scene, "am")
    b = newcomer(scene, "b")
    b.run("join", invite(a))
    b.start()
    wait_until(lambda: a.status()["in_sync"] == 2 and m.status()["members"] == 3, "all to be in sync")
    b.stop()
    replace_token(a, m)
    a.stop()  # for good: another member takes its place
    refused_once(b.run("join", invite(m, "--role", "keyed"), code=2), "this vault is blind")
    refused_once(b.run("join", invite(another_cluster(scene)), code=2), "knows no such inviter")
    assert "role   blind" in b.run("join", invite(m)).text
    b.start()
    wait_until(lambda: peer_of(m, b)["state"] == "connected", "b to be back")
    assert m.status()["members"] == 3


# ---- the token ----

def tokens_of(node):
    with open(f"{node.vault}/keyring") as f:
        return [line.split()[1] for line in f if line.startswith("token ")]


def test_a_new_token_reaches_all_and_loses_no_request(scene):
    a, b, c = cluster(scene)
    old = tokens_of(a)[0]
    keys = a.store(*[scene.file(f"f{i}", 200000, seed=i) for i in range(4)])
    wait_in_sync([a, b, c])
    c.stop()
    a.run("token", "rotate", "--overlap", "1h")
    wait_until(lambda: tokens_of(b) == tokens_of(a) and len(tokens_of(a)) == 2, "b to be told")
    new = tokens_of(a)[0]
    assert new != old and tokens_of(a)[1] == old
    for key in keys:
        b.get(key)
    c.start(peers=[a, b])  # with the old one
    wait_until(lambda: tokens_of(c) == [new, old], "c to be told")
    wait_in_sync([a, b, c])
    late = scene.node("late").start(peers=[a])  # made now, and given the old one
    wait_until(lambda: tokens_of(late) == [new, old], "a newcomer to be told")
    late.stop()

    for node in (a, b, c):
        node.run("token", "rotate", "--finish")
        assert tokens_of(node) == [new]
        node.env["PEERVAULT_AUTH_TOKEN"] = new
    for node in (a, b, c):
        node.stop()
    for i, node in enumerate((a, b, c)):
        node.start(peers=[a, b, c][:i])
    wait_until(lambda: all(n.status()["in_sync"] >= 2 for n in (a, b, c)), "all to be in sync")
    too_late = scene.node("too-late", token=old).start(peers=[a])
    wait_until(lambda: "wrong token" in too_late.log(), "the old token to be refused")


def test_an_overlap_ends_by_itself(scene):
    a = scene.node("a").start()
    old = tokens_of(a)[0]
    assert a.run("token", "rotate", "--overlap", "1s", "--json").json["tokens"] == 2
    a.stop()
    a.env["PEERVAULT_AUTH_TOKEN"] = tokens_of(a)[0]
    wait_until(lambda: a.start() and a.stop() is None and tokens_of(a)[1:] == [], "the end of it")
    assert tokens_of(a)[0] != old
    a.run("token", "rotate", code=5)
    a.start()
    a.run("token", "rotate", "--overlap", "91d", code=2)
    a.run("token", "rotate", "--overlap", "1h", "--finish", code=2)
    a.stop()
    a.env["PEERVAULT_AUTH_TOKEN"] = old
    refused_once(a.run("ls", code=2), "may have been replaced since")


# ---- guests; what else they may say: tests/hostile ----

def guest(code):
    session = Session(code.split("@")[1].split(",")[0], Invite(code), None)
    session.start()
    return session


def test_guests_get_a_grant_and_no_more(scene):
    a = scene.node("a").start()
    blind, keyed = invite(a), invite(a, "--role", "keyed")
    first = guest(blind)
    first.send(JOIN, REQUEST)
    kind, grant = first.receive()
    assert kind == JOIN and grant[:2] == b"\2\2"
    assert bytes.fromhex(scene.cluster_key) not in grant and scene.token.encode() in grant
    second = guest(keyed)
    second.send(JOIN, REQUEST)
    assert bytes.fromhex(scene.cluster_key) in second.receive()[1]
    waiting = [guest(invite(a)) for _ in range(4)]
    a.stop()  # with guests in the house
    assert all(session.until_closed() == 1 for session in waiting)
