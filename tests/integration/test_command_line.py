"""What surrounds a command: closed streams, symbolic links, settings, file systems."""
import os
import signal
import subprocess

from harness import Skip, wait_until


def without_streams(*closed):
    def close():
        for fd in closed:
            os.close(fd)
    return close


def closed(scene, node, *args, streams):
    """The exit code of a command that was started with closed standard streams."""
    return subprocess.run([scene.program, "--vault", node.vault, *args], env=node.env,
                          preexec_fn=without_streams(*streams), timeout=60).returncode


def test_closed_standard_streams(scene):
    node = scene.node("a")
    path = scene.file("file", 200000)
    node.store(path)
    # Without a descriptor 0, 1 or 2 of its own, a command would take the vault's for it.
    assert closed(scene, node, "store", "-", streams=[0]) == 1
    assert closed(scene, node, "store", "-", "--name", "x", streams=[0, 1, 2]) == 1
    for command in (["ls"], ["get", "file"], ["stat", "file"], ["help"], ["store", path]):
        assert closed(scene, node, *command, streams=[1]) == 1, command
        assert closed(scene, node, *command, streams=[0, 1, 2]) == 1, command
    assert closed(scene, node, "store", "missing", streams=[2]) == 1
    assert closed(scene, node, "get", "file", "-o", scene.path("out"), streams=[0, 1, 2]) == 0
    with open(path, "rb") as f, open(scene.path("out"), "rb") as g:
        assert f.read() == g.read()
    assert len(node.run("ls").text.splitlines()) == 1


def test_get_through_symbolic_links(scene):
    node = scene.node("a")
    node.store(scene.file("file", content=b"new"))
    old = scene.file("old", content=b"old")
    os.symlink("old", scene.path("link"))
    node.run("get", "file", "-o", scene.path("link"))
    assert os.path.islink(scene.path("link"))
    with open(old, "rb") as f:
        assert f.read() == b"new"
    for name, target in (("dangling", "nothing"), ("loop", "loop")):
        os.symlink(target, scene.path(name))
        result = node.run("get", "file", "-o", scene.path(name), code=1)
        assert b"symbolic link" in result.err and os.path.islink(scene.path(name))


def test_secret_file_that_is_missing(scene):
    node = scene.node("a")
    node.store(scene.file("file", content=b"x"))
    env = dict(scene.environment(), PEERVAULT_AUTH_TOKEN_FILE=scene.path("none"))
    for command in (["ls"], ["config", "check"]):
        result = node.run(*command, env=env, code=2)
        assert b"PEERVAULT_AUTH_TOKEN_FILE" in result.err


def test_read_only_file_system(scene):
    mount = scene.path("mount")
    os.mkdir(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", mount],
                      stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("a mount needs root")
    scene.cleanups.append(lambda: subprocess.run(["umount", mount]))
    node = scene.node("mount/vault")
    node.store(scene.file("file", content=b"x"))
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    for command in (["ls"], ["store", scene.path("file")], ["daemon", "--listen", "127.0.0.1:0"]):
        result = node.run(*command, code=1)
        assert b"read-only file system" in result.err, result
    node.run("id")


def test_daemon_says_once_that_it_listens(scene):
    node = scene.node("a").start()
    lines = [line for line in node.log().splitlines() if "listening" in line]
    assert len(lines) == 1, lines
    for part in (f"address={node.address}", f"vault={node.vault}", "node=", "version="):
        assert part in lines[0], lines
    # Networks come late: an address that is not there yet is no mistake of who wrote it.
    result = scene.node("b").run("daemon", "--listen", "192.0.2.1:0", code=5)
    assert b"192.0.2.1:0" in result.err


def test_ping_says_whom_it_did_not_find(scene):
    node = scene.node("a").start()
    result = node.run("ping", "nobody", code=5)
    assert result.err.startswith(b"peervault: nobody: "), result


def test_demo_ends_at_ctrl_c_while_it_makes_a_file(scene):
    demo = subprocess.Popen([scene.program, "demo", "--nodes", "2", "--files", "1", "--big", "2GiB"],
                            env=scene.environment(TMPDIR=scene.dir), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)
    scene.cleanups.append(demo.kill)

    def folders():
        return [f for f in os.listdir(scene.dir) if f.startswith("peervault-demo-")]

    def begun():
        return folders() and os.path.exists(scene.path(folders()[0], "large.bin"))
    wait_until(lambda: begun() or demo.poll() is not None, "the large file to be begun")
    if demo.poll() == 7:
        raise Skip("needs 9 GiB of free disk")
    demo.send_signal(signal.SIGINT)
    err = demo.stderr.read()
    _, status, usage = os.wait4(demo.pid, 0)
    demo.returncode = os.waitstatus_to_exitcode(status)
    assert demo.returncode == 1 and b"interrupted" in err, err
    # All of the file would take several seconds of computing.
    assert usage.ru_utime + usage.ru_stime < 3 and not folders(), usage
