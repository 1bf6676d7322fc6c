"""What errors say: the thing, what is wrong with it, and what to do about it."""
import os
import signal
import subprocess

from client import Client
from extract import NAME, parse_record, sha256
from harness import wait_until
from session import RECORDS

MIB = 1 << 20


def said(result):
    """The one line on stderr."""
    lines = result.err.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("peervault: "), result
    return lines[0][len("peervault: "):]


# ---- where the vault and the daemon are ----

def test_addresses_that_cannot_be_listened_on(scene):
    used = scene.node("a").start().address
    for address, words in (("192.0.2.1:3000", "this machine has no such address"),
                           (used, "another program listens there")):
        result = scene.node("b").run("daemon", "--listen", address, code=5)
        line = result.err.decode().splitlines()[-1]  # behind the log
        assert line.startswith(f"peervault: cannot listen on {address}: {words}: "), result


def test_vault_path_that_is_a_file(scene):
    path = scene.file("file", content=b"mine")
    for vault in (path, path + "/", path + "/vault"):
        for command in (["ls"], ["init"], ["store", path], ["get", "x"], ["status"], ["id"],
                        ["key", "export"], ["config", "show"], ["config", "check"],
                        ["daemon", "--listen", "127.0.0.1:0"]):
            result = scene.run("--vault", vault, *command, code=1)
            assert said(result) == (f"{path} is not a folder: move it away, or name another folder "
                                    "with --vault"), result
    with open(path, "rb") as f:
        assert f.read() == b"mine"


def test_import_of_malformed_secrets(scene):
    """They are not "other secrets" than those of a vault that is not there."""
    secrets = f"PEERVAULT_CLUSTER_KEY={'00' * 32}\nPEERVAULT_AUTH_TOKEN={scene.token}\n"
    result = scene.run("--vault", scene.path("v"), "key", "import", "-", stdin=secrets.encode(), code=2)
    assert "cluster key" in said(result) and "other secrets" not in said(result), result


# ---- settings ----

def role(scene, vault, *flags, **env):
    result = scene.run("--vault", vault, "config", "show", "--json", *flags,
                       env=scene.environment(**env))
    rows = [line for line in result.text.splitlines() if '"key":"role"' in line]
    assert len(rows) == 1, result
    return [part.split('"')[0] for part in (rows[0].split('"value":"')[1],
                                            rows[0].split('"origin":"')[1])]


def test_role_of_a_blind_vault(scene):
    vault, keyed = scene.path("blind"), scene.path("keyed")
    scene.run("--vault", vault, "init", "--role", "blind",
              env=scene.environment(PEERVAULT_AUTH_TOKEN=scene.token))
    scene.run("--vault", keyed, "init")
    assert role(scene, vault) == ["blind", "keyring"]
    assert role(scene, vault, "--role", "blind") == ["blind", "flag"]
    assert role(scene, vault, PEERVAULT_ROLE="keyed") == ["keyed", "environment"]
    assert role(scene, keyed) == ["keyed", "default"]
    assert role(scene, scene.path("none")) == ["keyed", "default"]
    # What the daemon would refuse, the check refuses.
    scene.run("--vault", vault, "config", "check")
    for path, wrong in ((vault, "keyed"), (keyed, "blind")):
        for command in (["config", "check"], ["daemon"]):
            result = scene.run("--vault", path, *command, "--role", wrong, code=2)
            assert "blind" in said(result), result


# ---- a daemon that ends under way ----

def begin(node, *args, **streams):
    process = subprocess.Popen([node.scene.program, "--vault", node.vault, *args], env=node.env,
                               stderr=subprocess.PIPE, **streams)
    node.scene.cleanups.append(process.kill)
    return process


def line_of(process):
    """The line before the sum of all files, which comes where there are several."""
    err = process.stderr.read().decode()
    process.wait(timeout=60)
    assert process.returncode == 5 and err.count("\n") <= 2, (process.returncode, err)
    return err.splitlines()[0]


def test_daemon_that_ends_during_a_store(scene):
    node = scene.node("a").start()
    first = scene.file("first", content=b"first")
    store = begin(node, "store", first, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    store.stdin.write(b"x" * MIB)
    store.stdin.flush()
    assert store.stdout.readline().endswith(b"first\n")  # it is durable, the other one is open
    node.kill()
    line = line_of(store)
    assert line.startswith("peervault: -: ") and "start it again" in line, line
    node.start()
    assert node.get("first") == b"first"
    assert len(node.run("ls").text.splitlines()) == 1

    store = begin(node, "store", "-", "--name", "report.pdf", stdin=subprocess.PIPE)
    store.stdin.write(b"x" * MIB)
    store.stdin.flush()
    wait_until(lambda: os.listdir(os.path.join(node.vault, "tmp")) or
               node.status()["mem_used_bytes"] > MIB // 2, "the upload to be under way")
    node.process.send_signal(signal.SIGTERM)
    line = line_of(store)
    assert line.startswith("peervault: report.pdf: ") and "start" in line, line
    wait_until(node.ended, "the daemon to end")


def test_daemon_that_ends_during_a_get(scene):
    node = scene.node("a").start()
    node.store(scene.file("report.pdf", 40 * MIB))
    old = scene.file("out", content=b"old")
    os.mkfifo(scene.path("fifo"))
    get = begin(node, "get", "report.pdf", "-o", scene.path("fifo"))
    with open(scene.path("fifo"), "rb") as fifo:
        fifo.read(1)
        node.kill()
        fifo.read()
    line = line_of(get)
    assert line.startswith("peervault: report.pdf: ") and "get it once more" in line, line
    with open(old, "rb") as f:
        assert f.read() == b"old"


# ---- what is not shown, what is more than it seems ----

def foreign(record, identity):
    """A record like this one, of another name and under another cluster key."""
    envelope = bytearray(record.envelope)
    envelope[8:16] = os.urandom(8)  # kid
    envelope[24:56] = os.urandom(32)  # rid
    envelope[72:104] = identity.public
    envelope[-64:] = identity.signer.sign(b"PV1/record\0" + envelope[:-64])
    return parse_record(bytes(envelope))


def test_list_that_lacks_files(scene):
    node = scene.node("a").start()
    node.store(scene.file("one", content=b"one"))
    assert node.run("ls").err == b""
    c = Client(node.address, scene.token, scene.cluster_key)
    scene.cleanups.append(c.socket.close)
    c.run_until(lambda: c.agreed and any(r.type == NAME for r in c.records.values()))
    name = next(r for r in c.records.values() if r.type == NAME)
    record = foreign(name, c.identity)
    c.send_records([record])
    c.run_until(lambda: (RECORDS, sha256(record.envelope)) in c.acknowledged)
    for options in ([], ["--json"]):
        result = node.run("ls", *options)
        assert said(result).startswith("not all is listed: 1 record(s)"), result
        assert len(result.text.splitlines()) == 1, result
    assert node.run("ls", "-q").err == b""


def test_names_that_are_not_all(scene):
    node = scene.node("a").start()
    for i in range(9):
        node.run("store", "-", "--name", f"{i}" + "n" * 1023, stdin=b"x")
    result = node.run("stat", "0" + "n" * 1023)
    rows = [line for line in result.text.splitlines() if line.startswith("name ")]
    assert len(rows) == 9 and "more" in rows[8] and "peervault ls" in rows[8], result
    node.store(scene.file("single", content=b"y"))
    assert "more" not in node.run("stat", "single").text


def test_removal_of_private_copies(scene):
    node = scene.node("a").start()
    path = scene.file("f", content=b"content")
    key, = node.store(path)
    node.store("--private", path)
    result = node.run("rm", key)
    assert result.out == b"" and said(result).startswith(f"{key}: removed 2 files"), result
    node.store(path)
    assert node.run("rm", key).err == b""
