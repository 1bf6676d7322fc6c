"""Bad input: one clear line, the documented exit code, nothing lost."""
import os
import shutil
import signal
import socket
import subprocess

from harness import Skip, wait_until

MIB = 1 << 20


def one_line(result):
    lines = result.err.decode("utf-8", "replace").strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("peervault: "), result
    return lines[0]


def test_files_that_cannot_be_stored(scene):
    node = scene.node("a").start()
    os.mkdir(scene.path("folder"))
    os.mkfifo(scene.path("fifo"))
    for bad in ("folder", "fifo", "missing", "/dev/null"):
        one_line(node.run("store", bad, cwd=scene.dir, code=1))
    good = scene.file("good", content=b"good")
    result = node.run("store", "missing", good, "folder", cwd=scene.dir, code=1)
    assert result.text.endswith(f"  {good}\n") and len(result.text.splitlines()) == 1


def test_unreadable_file(scene):
    node = scene.node("a").start()
    path = scene.file("secret", content=b"x")
    os.chmod(path, 0)
    if os.geteuid() != 0:
        one_line(node.run("store", path, code=1))
        return
    # Root reads everything: give the command another user, and a vault of its own.
    os.chmod(scene.dir, 0o777)
    vault = scene.path("other")
    env = dict(node.env, HOME=scene.dir)

    def drop():
        os.setgid(65534)
        os.setuid(65534)
    os.chmod(scene.reports, 0o777)
    program = shutil.copy(scene.program, scene.path("program"))  # its folder may be ours only
    result = scene.run("--vault", vault, "store", path, env=env, preexec=drop, program=program, code=1)
    assert b"ermission" in result.err


def test_unknown_and_ambiguous_keys(scene):
    node = scene.node("a").start()
    one_line(node.run("get", "f" * 64, code=3))
    one_line(node.run("get", "no such name", code=3))
    one_line(node.run("stat", "f" * 64, code=3))
    one_line(node.run("rm", "f" * 64, code=3))
    one_line(node.run("get", "deadbeef", code=3))
    one_line(node.run("get", "", code=2))


def test_usage(scene):
    node = scene.node("a")
    for args in ([], ["nonsense"], ["store"], ["get"], ["store", "--nonsense", "x"],
                 ["get", "a", "b", "c"], ["store", "x", "y", "--name", "n"], ["daemon", "extra"],
                 ["store", "-R", "x"], ["get", "x", "--range", "abc"], ["store", "x", "--copies", "0"],
                 ["store", "x", "--copies", "many"], ["ping"], ["ls", "a", "b"]):
        result = node.run(*args, code=2)
        assert result.err.startswith(b"peervault: "), result


def test_equal_names_in_one_call(scene):
    node = scene.node("a").start()
    result = node.run("store", scene.file("x/same", content=b"1"), scene.file("y/same", content=b"2"),
                      code=2)
    one_line(result)
    assert result.out == b"" and node.status()["files"] == 0


def test_oversized_arguments(scene):
    node = scene.node("a").start()
    one_line(node.run("get", "n" * 5000, code=2))
    one_line(node.run("store", "-", "--name", "n" * 1025, stdin=b"x", code=2))
    node.run("store", "-", "--name", "n" * 1024, stdin=b"x")
    assert node.get("n" * 1024) == b"x"


def test_malformed_secrets_and_addresses(scene):
    env = scene.environment()
    for key in ("", "abc", "0" * 64, "g" * 64, "a" * 63):
        bad = dict(env, PEERVAULT_CLUSTER_KEY=key, PEERVAULT_AUTH_TOKEN="a token that is long enough")
        if key == "":
            continue  # an empty variable is an unset one
        scene.run("--vault", scene.path("v"), "init", env=bad, code=2)
        assert not os.path.exists(scene.path("v", "keyring"))
    node = scene.node("a")
    for address in ("nonsense", "1.2.3.4", ":", "127.0.0.1:99999", "127.0.0.1:-1", "[::1", "a b:1"):
        node.run("daemon", "--listen", "127.0.0.1:0", "--peer", address, code=2)
    node.run("daemon", "--listen", "nonsense", code=2)


def test_no_vault(scene):
    env = scene.environment()
    for args in (["get", "x"], ["ls"], ["status"], ["id"], ["key", "export"]):
        result = scene.run("--vault", scene.path("none"), *args, env=env, code=3)
        assert b"init" in result.err
    assert not os.path.exists(scene.path("none"))


def test_daemon_with_peers_needs_secrets(scene):
    result = scene.run("--vault", scene.path("none"), "daemon", "--peer", "127.0.0.1:1",
                       env=scene.environment(), code=2)
    assert b"PEERVAULT_AUTH_TOKEN" in result.err


def test_other_secrets_than_the_keyring(scene):
    node = scene.node("a")
    node.run("init")
    env = scene.environment(PEERVAULT_CLUSTER_KEY="ab" * 31 + "cd")
    scene.run("--vault", node.vault, "ls", env=env, code=2)


def test_two_daemons_on_one_vault(scene):
    node = scene.node("a").start()
    result = node.run("daemon", "--listen", "127.0.0.1:0", code=5)
    assert str(node.process.pid).encode() in result.err
    assert node.store(scene.file("f", content=b"still here"))


def test_listen_address_in_use(scene):
    a = scene.node("a").start()
    result = scene.node("b").run("daemon", "--listen", a.address, code=None)
    assert result.code in (1, 5) and a.address.encode() in result.err


def test_closed_stdout(scene):
    node = scene.node("a").start()
    key = node.store(scene.file("f", 3 * MIB))[0]
    read_end, write_end = os.pipe()
    os.close(read_end)
    for args in (["get", key], ["ls"], ["status"], ["store", scene.path("f")]):
        done = subprocess.run([scene.program, "--vault", node.vault, *args], env=node.env,
                              stdout=write_end, stderr=subprocess.PIPE)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, (args, done)
    os.close(write_end)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([scene.program, "--vault", node.vault, "get", key], env=node.env,
                              stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
    assert node.get(key) == open(scene.path("f"), "rb").read()


def test_get_keeps_an_existing_target_on_failure(scene):
    node = scene.node("a").start()
    target = scene.file("target", content=b"precious")
    node.run("get", "f" * 64, "-o", target, code=3)
    assert open(target, "rb").read() == b"precious"
    node.run("get", "f" * 64, "-o", scene.path("no/such/folder/x"), code=None)
    assert sorted(os.listdir(scene.dir)) == sorted(set(os.listdir(scene.dir)))
    assert not [n for n in os.listdir(scene.dir) if n.startswith("target") and n != "target"]


def test_storage_full_by_limit(scene):
    node = scene.node("a", PEERVAULT_DISK_LIMIT="6MiB").start()
    key = node.store(scene.file("fits", 2 * MIB))[0]
    one_line(node.run("store", scene.file("large", 20 * MIB, seed=2), code=7))
    assert node.get(key) == open(scene.path("fits"), "rb").read()
    node.run("rm", "fits")
    assert node.store(scene.file("tiny", content=b"tiny"))


def test_full_file_system(scene):
    mount = scene.path("disk")
    os.mkdir(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount],
                      capture_output=True).returncode != 0:
        raise Skip("cannot mount a tmpfs")
    scene.cleanups.append(lambda: subprocess.run(["umount", "-l", mount]))
    node = scene.node("disk/a").start()
    key = node.store(scene.file("fits", 2 * MIB))[0]
    one_line(node.run("store", scene.file("large", 40 * MIB, seed=2), code=7))
    wait_until(lambda: os.listdir(os.path.join(node.vault, "tmp")) == [], "no temporary files")
    assert node.get(key) == open(scene.path("fits"), "rb").read()
    node.stop()
    node.start()
    assert node.get(key) == open(scene.path("fits"), "rb").read()


def test_interrupted_get_leaves_nothing(scene):
    node = scene.node("a").start()
    key = node.store(scene.file("f", 32 * MIB))[0]
    out = scene.path("out")
    os.mkdir(out)
    os.mkfifo(scene.path("stall"))
    process = subprocess.Popen([scene.program, "--vault", node.vault, "get", key, "-o",
                                os.path.join(out, "f")], env=node.env)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert [n for n in os.listdir(out) if n != "f"] == []


def test_control_socket_survives_garbage(scene):
    node = scene.node("a").start()
    path = os.path.join(node.vault, "control.sock")
    for garbage in (b"\x01\x00\x00\x00\x02{}", b"\x01\xff\xff\xff\xff", b"\x07\x00\x00\x00\x01x",
                    b"\x01\x00\x00\x00\x05hello", b"\x02\x00\x00\x00\x01\x01", os.urandom(100000),
                    b"\x01\x00\x00\x00\x14" + b'{"id":1,"op":"nope"}',
                    b"\x01\x00\x00\x00\x17" + b'{"id":1,"op":"store"  }'):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        try:
            s.sendall(garbage)
        except OSError:
            pass  # it was closed before all of it was read
        s.close()
    assert node.status()["healthy"] is True
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"
