"""What a daemon shuts itself off from, seen from outside: by strace, and by /proc."""
import os
import re
import shutil
import signal
import subprocess

from harness import Skip, wait_has_blobs, wait_in_sync, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTRUMENTED = ("asan", "tsan", "coverage")
RESOLVER = re.compile(
    r"/etc/(resolv\.conf|hosts|nsswitch\.conf|gai\.conf|host\.conf|ld\.so\.cache)$"
    r"|/run/(systemd/resolve|resolvconf|NetworkManager)/"
    r"|(/usr(/local)?)?/lib(64)?/([\w-]+/)?lib[\w.-]+\.so[\w.]*$")
HARMLESS = ("/dev/null", "/dev/urandom", "/sys/devices/system/cpu/online")
FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
CALL = re.compile(r"^\d+ +(\w+)\((.*)$")


def only_release(scene):
    if scene.variant in INSTRUMENTED:
        raise Skip("an instrumented build is not confined")


def listed_calls():
    """Those that the filter lets through, from where it has them; clone3 fails softly."""
    with open(os.path.join(ROOT, "internal/confine/calls.c")) as f:
        text = f.read()
    names = re.search(r"\ballowed\[\] = \{(.*?)\};", text, re.S).group(1)
    listed = set(re.findall(r'"(\w+)"', names)) | set(re.findall(r"SCMP_SYS\((\w+)\)", text))
    assert len(listed) > 80 and "execve" not in listed, listed
    return listed


def violations(lines, vault, listed):
    """What a confined daemon must not have tried, of strace -f -y."""
    for line in lines:
        call = CALL.match(line)
        if not call:
            continue
        name, arguments = call.groups()
        if name not in listed:
            yield f"not on the list: {line}"
        if re.search(r"= -1 EPERM", line):
            yield f"refused: {line}"
        if name == "socket" and arguments.split(",")[0] not in FAMILIES:
            yield f"family: {line}"
        opened = re.match(r'(?:(\w+)(?:<([^>]*)>)?, )?"([^"]*)"', arguments)
        if name in ("open", "openat", "openat2", "creat") and opened:
            path = os.path.normpath(os.path.join(opened[2] or "/?", opened[3]))
            inside = path == vault or path.startswith(vault + "/")
            if not inside and path not in HARMLESS and not RESOLVER.match(path):
                yield f"opened: {line}"


def test_the_checker_sees_violations(scene):
    """What the next test looks for is found where it is."""
    listed = listed_calls()
    for line in ('12 openat(AT_FDCWD</tmp>, "/etc/passwd", O_RDONLY) = -1 EACCES (Permission denied)',
                 '12 openat(7</v/blobs>, "../../w/file", O_RDONLY <unfinished ...>',
                 '12 openat(7</home>, "x", O_RDONLY) = 8</home/x>',
                 '12 open("/usr/lib/../../etc/shadow", O_RDONLY) = 3',
                 '12 socket(AF_PACKET, SOCK_RAW, 768) = -1 EPERM (Operation not permitted)',
                 '12 execve("/bin/sh", ["sh"], 0x7ffe) = ?', '12 io_uring_setup(8, 0x7ffe) = 3',
                 '12 fork() = 13', '12 kill(1, SIGTERM) = -1 EPERM (Operation not permitted)'):
        assert list(violations([line], "/v", listed)), line
    for line in ('12 openat(7</v/blobs>, "00/1", O_RDONLY) = 8</v/blobs/00/1>',
                 '12 openat(AT_FDCWD</tmp>, "/v/vault.db", O_RDWR <unfinished ...>',
                 '12 openat(AT_FDCWD</tmp>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 26</etc/hosts>',
                 '12 openat(AT_FDCWD</tmp>, "/lib/x86_64-linux-gnu/libnss_mdns.so.2", O_RDONLY) = 3',
                 '12 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 9',
                 "12 <... read resumed>) = 1", "12 +++ exited with 0 +++"):
        assert not list(violations([line], "/v", listed)), line


def after_start(trace):
    """The lines after the filter was set."""
    with open(trace, errors="replace") as f:
        lines = f.read().splitlines()
    start = [i for i, line in enumerate(lines) if "seccomp(SECCOMP_SET_MODE_FILTER" in line]
    assert start, "the filter was never set"
    return lines[start[-1] + 1:]


def test_a_daemon_at_work_stays_in_its_vault(scene):
    """Store, get, replicate, collect, verify, reload, restart: nothing outside is even tried."""
    only_release(scene)
    if not shutil.which("strace"):
        raise Skip("no strace")
    if subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL).returncode:
        raise Skip("strace may not trace here")
    other = scene.node("other").start()
    port = other.address.rsplit(":", 1)[1]
    node = scene.node("traced")
    for part in ("first", "second"):
        trace = scene.path(f"{part}.trace")
        node.start(peers=[f"localhost:{port}"], first=f'set -- strace -D -f -y -o "{trace}" "$@"')
        wait_in_sync([node, other])
        files = [scene.file(f"{part}{i}", size, seed=i) for i, size in enumerate((100, 70000, 3 << 20))]
        keys = node.store(*files, "--copies", "2")
        far, = other.store(scene.file(f"{part}.far", 1 << 20, seed=9))
        wait_has_blobs([node, other])
        assert len(node.get(keys[2])) == 3 << 20 and len(node.get(far)) == 1 << 20
        node.run("rm", keys[1])
        node.run("gc", "--now", code=None)
        node.run("verify", "--deep")
        node.run("status")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings reloaded" in node.log(), "reload")
        node.stop()
        lines = after_start(trace)
        assert len(lines) > 1000, "the trace ends early"
        assert any("/etc/hosts" in line for line in lines), "no name was looked up"
        found = list(violations(lines, node.vault, listed_calls()))
        assert not found, "\n".join(found[:20])
        os.truncate(node.log_path, 0)


def of_process(node, name):
    with open(f"/proc/{node.process.pid}/status") as f:
        return re.search(rf"^{name}:\s+(\S+)", f.read(), re.M).group(1)


def test_status_says_what_is_in_force(scene):
    node = scene.node("a").start()
    said = node.status()["confined"]
    line, = re.findall("^confined  (.*)$", node.run("status").text, re.M)
    assert line == said["text"] and f'by="{line}"' in node.log(), (line, node.log())
    assert said["no_new_privileges"] and of_process(node, "NoNewPrivs") == "1"
    assert said["capabilities"] == 0
    for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb") + (("CapBnd",) if os.geteuid() == 0 else ()):
        assert int(of_process(node, kind), 16) == 0, kind
    if scene.variant in INSTRUMENTED:
        assert "no landlock (an instrumented build)" in line, line
        assert not said["seccomp"] and said["landlock"] == 0
        return
    assert said["seccomp"] and of_process(node, "Seccomp") == "2"
    with open(f"/proc/{node.process.pid}/limits") as f:
        assert re.search(r"^Max core file size\s+0\s+0", f.read(), re.M)


def test_it_can_be_switched_off(scene):
    node = scene.node("a", PEERVAULT_CONFINE="off").start()
    said = node.status()["confined"]
    assert said["text"] == "no (confine = off)" and not said["seccomp"] and not said["landlock"]
    assert of_process(node, "NoNewPrivs") == "0"


def test_secrets_leave_the_environment(scene):
    node = scene.node("a").start()
    try:
        with open(f"/proc/{node.process.pid}/environ", "rb") as f:
            environment = f.read()
    except PermissionError:
        return  # nobody but root can even look
    assert b"PEERVAULT_AUTH_TOKEN" in environment, "not the memory that the process began with"
    assert node.scene.token.encode() not in environment
    assert node.scene.cluster_key.encode() not in environment


def test_a_vault_behind_a_link_and_a_long_path(scene):
    """Rules hold for the folder, whatever it is called; the socket is reached through /proc."""
    os.makedirs(scene.path("disk/real"))
    os.symlink(scene.path("disk/real"), scene.path("link"))
    node = scene.node("link")
    deep = scene.node("deep")
    deep.vault = scene.path(*["d" * 60] * 3)
    for n in (node, deep):
        key, = n.start().store(scene.file("file", 200000))
        n.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings reloaded" in n.log(), "reload")
        assert len(n.get(key)) == 200000
        n.stop()
        assert len(n.start().get(key)) == 200000


def test_a_vault_that_moves(scene):
    """The settings come from the folder that was opened, wherever its path leads by now."""
    node = scene.node("a").start()
    os.rename(node.vault, scene.path("elsewhere"))
    scene.file("elsewhere/peervault.conf", content=b"log_level = debug\nmem_limit = 65MiB\n")
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: 'setting waits for a restart" key=mem_limit' in node.log(), "reload")
    os.rename(scene.path("elsewhere"), node.vault)


def test_root_with_a_vault_of_somebody_else(scene):
    """Without its capabilities root is nobody there: it keeps the one that it needs."""
    if os.geteuid() != 0:
        raise Skip("not root")
    node = scene.node("a")
    node.run("init")
    for folder, names, files in os.walk(node.vault):
        for name in [".", *files]:
            os.chown(os.path.join(folder, name), 12345, 12345)
    key, = node.start().store(scene.file("file", 200000))
    assert len(node.get(key)) == 200000
    assert "CAP_DAC_OVERRIDE" in node.status()["confined"]["text"]
    assert int(of_process(node, "CapPrm"), 16) == 1 << 1
