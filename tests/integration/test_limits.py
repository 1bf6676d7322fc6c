"""What stays within its limit whatever is asked of it, and serves on."""
import glob
import os
import re
import socket
import subprocess
import time

from cgroup import Group
from harness import Skip, wait_in_sync, wait_until
from netns import Network
from session import Handshake, Identity, Token, frame_of

MIB = 1 << 20
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def strangers(scene, node, count):
    """Connections that never say a word."""
    port = int(node.address.rsplit(":", 1)[1])
    for _ in range(count):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
        scene.cleanups.append(s.close)


def test_too_few_descriptors(scene):
    node = scene.node("a")
    node.start(first="ulimit -n 63", wait=False)
    assert node.process.wait(timeout=60) == 1, node.log()
    assert node.log().strip().splitlines()[-1] == \
        "peervault: only 63 open files are allowed, and 64 are needed: raise the limit " \
        "(`ulimit -n`, LimitNOFILE= of a service)", node.log()
    node.process = None


def serve_with_few(scene, limit, clients, silent):
    node = scene.node("a")
    node.start(first=f"ulimit -n {limit}")
    peer = scene.node("b").start(peers=[node])
    files = [scene.file(f"f{i}", 2 * MIB, seed=i) for i in range(4)]
    keys = node.store(*files, "--copies", "2")
    strangers(scene, node, silent)
    running = []
    for i in range(clients):
        out = scene.path(f"out{i}")
        args = ["store", scene.file(f"g{i}", MIB, seed=100 + i)] if i % 2 else \
            ["get", keys[i % 4], "-o", out]
        running.append((args, subprocess.Popen([scene.program, "--vault", node.vault, *args],
                                               env=node.env, stdout=subprocess.DEVNULL,
                                               stderr=subprocess.PIPE)))
    for args, process in running:
        err = process.communicate(timeout=300)[1]
        assert process.returncode == 0, f"{args} -> {process.returncode}: {err}"
        if args[0] == "get":
            assert open(args[3], "rb").read() == open(files[keys.index(args[1])], "rb").read()
    assert node.run("verify", "--deep").code == 0
    assert node.status()["connected"] == 1
    peer.stop()
    node.stop()


def test_few_descriptors(scene):
    serve_with_few(scene, 64, 24, 60)


def test_few_processes(scene):
    """16 threads suffice; with too few it says so at once, and not when it looks up its first name."""
    if scene.sanitized:
        raise Skip("a sanitizer starts one of its own at the end")

    def group(count):
        return Group(scene, "pids", [("pids.max", count)], [("pids.max", count)])
    enough = group(16)
    a = scene.node("a")
    enough.start(a, peers=["localhost:1"])
    b = scene.node("b").start(peers=[a])
    key, = a.store(scene.file("f", MIB), "--copies", "2")
    assert len(b.get(key)) == MIB
    wait_until(lambda: "cannot connect" in a.log(), "the name to be looked up")
    a.stop()
    enough.remove()
    scene.cleanups.remove(enough.remove)
    few = group(6)  # its own would fit, those of libuv would not
    few.start(a, peers=["localhost:1"], wait=False)
    assert a.process.wait(timeout=60) == 1, a.log()
    assert a.log().strip().splitlines()[-1] == \
        "peervault: no more threads may be started: raise the limit of processes (`ulimit -u`, " \
        "TasksMax= of a service, --pids-limit of a container)", a.log()
    a.process = None
    assert len(a.run("get", key, preexec=few.enter).out) == MIB  # looks up no names


def test_a_fifth_of_a_core(scene):
    """Slow is not dead: no session is given up, and the watchdog of the shutdown stays asleep."""
    group = Group(scene, "cpu", [("cpu.cfs_quota_us", 20000), ("cpu.cfs_period_us", 100000)],
                  [("cpu.max", "20000 100000")])
    a, b = scene.node("a"), scene.node("b").start()
    group.start(a, peers=[b])
    wait_in_sync([a, b])
    files = [scene.file(f"f{i}", 4 * MIB, seed=i) for i in range(4)]
    keys = b.store(*files, "--copies", "2")
    for key in keys:
        assert len(a.get(key)) == 4 * MIB
    assert len(b.get(a.store(scene.file("g", 4 * MIB, seed=9), "--copies", "2")[0])) == 4 * MIB
    for node in (a, b):
        assert "disconnected" not in node.log(), node.log()
    a.stop()
    assert "forced to stop" not in a.log()


def test_many_strangers(scene):
    serve_with_few(scene, 256, 80, 400)


# ---- handshakes of one host ----

def answered(network, node, token, source, count=1):
    """How many first messages under the token got an answer, and how long they took together. Who is
    refused is closed before it is read."""
    messages = [frame_of(Handshake(Identity(), Token(token)).make_1()) for _ in range(count)]
    host, port = node.address.rsplit(":", 1)

    def one(message):
        with socket.create_connection((host, int(port)), 60, (source, 0)) as s:
            try:
                s.sendall(message)
                return len(s.recv(1)) > 0
            except ConnectionError:
                return False

    def work():
        start = time.monotonic()
        return sum(map(one, messages)), time.monotonic() - start
    return network.run(work)


def test_handshakes_of_one_host(scene):
    daemon, stranger, neighbour, known = (f"192.0.2.{i}" for i in range(1, 5))
    network = Network(scene, [f"{a}/32" for a in (daemon, stranger, neighbour, known)])
    node = scene.node("a")
    network.start(node, listen=f"{daemon}:0", peers=[f"{known}:1"])
    heard, took = answered(network, node, scene.token, stranger, 100)
    assert heard <= 20 + 5 * (took + 1), (heard, took)  # however slow this machine is
    assert heard == 100 or "handshakes of this host" in node.log()
    wait_until(lambda: answered(network, node, scene.token, neighbour)[0], "another host to be heard")
    wait_until(lambda: answered(network, node, scene.token, stranger)[0], "the host to be heard again")
    heard, took = answered(network, node, scene.token, known, 100)
    assert heard > 20 + 5 * (took + 1) or took > 10, f"a configured peer is exempt: {heard}"


def defined_tests():
    """suite/test of the unit tests, with the text of their file; file.test of the others."""
    found = {}
    for folder, pattern in (("unit", r"^Test\((\w+), (\w+)"), ("integration", r"^def test_()(\w+)"),
                            ("hostile", r'^    row\("()([^"]+)"')):
        for path in glob.glob(os.path.join(ROOT, "tests", folder, "*.*")):
            with open(path) as f:
                text = f.read()
            base = os.path.basename(path).split(".")[0].removeprefix("test_")
            for suite, name in re.findall(pattern, text, re.M):
                full = {"unit": f"{suite}/{name}", "integration": f"{base}.{name}",
                        "hostile": f"hostile {name}"}[folder]
                found[full] = text if folder == "unit" else None
    return found


def test_each_limit_has_a_test(scene):
    """tests/limits names them: one knows the limit by its name, or has real peers who go past it."""
    tests, listed = defined_tests(), []
    with open(os.path.join(ROOT, "tests/limits")) as f:
        rows = [line.split(maxsplit=1) for line in f if line.strip() and not line.startswith("#")]
    for name, proof in rows:
        listed.append(name)
        named = proof.strip().split(", ")
        for test in named:
            assert test in tests, f"{name}: there is no test {test}"
        assert any(tests[test] is None or f"PV_{name}" in tests[test] for test in named), \
            f"none of {named} knows {name}"
    limits = [row["name"] for row in scene.run("doctor", "--limits", "--json").json["limits"]]
    assert listed == limits, set(limits) ^ set(listed) or "in another order"


def test_the_list_of_limits_is_true(scene):
    """Each is enforced where internal/base/limits.h says."""
    with open(os.path.join(ROOT, "internal/base/limits.h")) as f:
        rows = re.findall(r'^    X\((\w+), \d+, "[^"]+",[ \\\n]+"[^"]+", "([^"]+)"\)', f.read(), re.M)
    assert len(rows) > 30, rows
    for name, path in rows:
        with open(os.path.join(ROOT, path)) as f:
            assert re.search(rf"\bPV_{name}\b", f.read()), f"PV_{name} is not in {path}"


# ---- peers that announce much and stall ----

def test_temporary_files_of_the_dead_are_removed(scene):
    node = scene.node("a").start()
    key = node.store(scene.file("f", MIB))[0]
    node.kill()
    for name in ("0000000000000007", "records.bak", "probe"):
        scene.file(os.path.join(node.vault, "tmp", name), 100000)
    node.start()
    assert os.listdir(os.path.join(node.vault, "tmp")) == []
    assert node.get(key) == open(scene.path("f"), "rb").read()
