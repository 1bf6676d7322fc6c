"""Two machines on one wire, set up by a stranger who types what the README says."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

from harness import Result, Skip, sha256_of, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETWORK = "10.91.87."  # only inside the two namespaces


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=60)


def lines_of_the_readme(prompt):
    """What the README has a person type at that prompt, without comments."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        typed = re.findall(rf"^{prompt}\$ +(.*?)(?: +#.*)?$", f.read(), re.M)
    assert typed, prompt
    return typed


def remove_with_empty_parent(folder):
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(folder))


class Machine:
    """A network namespace, and a home for a user of its own."""

    def __init__(self, scene, number, name, hosts):
        self.scene, self.daemon = scene, None
        self.namespace = f"pv-test-{os.getpid()}-{number}"
        self.home = scene.path(name)
        self.log = scene.path(f"{name}.log")
        os.mkdir(self.home)
        self.env = dict(scene.environment(), HOME=self.home,
                        PATH=f"{os.path.dirname(scene.program)}:{os.environ['PATH']}")
        # `ip netns exec` puts what is here in the place of /etc/hosts.
        config = f"/etc/netns/{self.namespace}"
        scene.cleanups.append(lambda: remove_with_empty_parent(config))
        scene.file(os.path.join(config, "hosts"), content=hosts.encode())
        ip("netns", "add", self.namespace)
        scene.cleanups.append(lambda: ip("netns", "delete", self.namespace))
        scene.cleanups.append(self.kill)

    def plug_in(self, cable, number):
        """One end of the cable, with an address."""
        ip("link", "set", cable, "netns", self.namespace)
        for args in (("address", "add", f"{NETWORK}{number}/24", "dev", cable),
                     ("link", "set", cable, "up"), ("link", "set", "lo", "up")):
            ip("-n", self.namespace, *args)

    def type(self, line, code=0):
        done = subprocess.run(["ip", "netns", "exec", self.namespace, "sh", "-c", line],
                              env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=600)
        result = Result(line, done.returncode, done.stdout, done.stderr)
        assert code is None or result.code == code, f"exit {code} expected: {result}"
        return result

    def start(self, line):
        """A daemon, in a terminal of its own."""
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, "sh", "-c", f"exec {line}"], env=self.env,
                cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listens():
            assert self.daemon.poll() is None, self.written()
            return "listening" in self.written()
        wait_until(listens, f"`{line}` to listen")

    def written(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        assert self.daemon.wait(timeout=60) == 0, self.written()

    def kill(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()


def two_machines(scene):
    if os.geteuid() != 0 or not shutil.which("ip"):
        raise Skip("only root, with ip of iproute2, can make network namespaces")
    if os.path.basename(scene.program) != "peervault":
        raise Skip("the program has another name than people type")
    hosts = f"127.0.0.1 localhost\n{NETWORK}1 first.example\n{NETWORK}2 second.example\n"
    try:
        first = Machine(scene, 1, "first", hosts)
        second = Machine(scene, 2, "second", hosts)
        cable = f"pv{os.getpid()}"
        ip("link", "add", f"{cable}a", "type", "veth", "peer", "name", f"{cable}b")
        first.plug_in(f"{cable}a", 1)
        second.plug_in(f"{cable}b", 2)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise Skip("no network namespaces here: " + said.decode(errors="replace").strip()) from error
    return first, second, f"{cable}a"


def follow_the_readme(scene, first, second):
    """The tour's "two machines": daemon, invite; join, daemon."""
    first_daemon, invite = lines_of_the_readme("first")
    join, second_daemon = lines_of_the_readme("second")
    first.start(first_daemon)
    code = first.type(invite).text.strip()
    second.type(join.replace("CODE", code))
    second.start(second_daemon)
    wait_until(lambda: second.type("peervault status --json").json["in_sync"] == 1,
               "the second to be in sync with the first")


def test_two_machines_of_the_readme(scene):
    first, second, cable = two_machines(scene)
    follow_the_readme(scene, first, second)
    assert f"{NETWORK}1:3000" in second.type("peervault peers").text
    assert first.type("peervault peers --json").json["in_sync"] is True

    # Stored here, on both when the command returns, fetched there.
    scene.file(f"{first.home}/holiday.mov", 20_000_000)
    key = first.type("peervault store -q --copies 2 holiday.mov").text[:64]
    assert key == sha256_of(f"{first.home}/holiday.mov")
    second.type(f"peervault get {key[:8]} -o holiday.mov")
    assert sha256_of(f"{second.home}/holiday.mov") == key

    # What is stored while the wire is cut travels afterwards.
    ip("-n", first.namespace, "link", "set", cable, "down")
    scene.file(f"{second.home}/notes.txt", content=b"written while the wire was cut\n")
    second.type("peervault store -q --no-wait notes.txt")
    ip("-n", first.namespace, "link", "set", cable, "up")
    wait_until(lambda: first.type("peervault get notes.txt", code=None).code == 0,
               "the file that was stored while the wire was cut")
    assert first.type("peervault get notes.txt").text == "written while the wire was cut\n"
    second.stop()
    first.stop()
    assert first.type("peervault get notes.txt").text == "written while the wire was cut\n"


def test_a_stranger_is_not_admitted(scene):
    """A machine with secrets of its own on the same wire learns nothing."""
    first, second, _ = two_machines(scene)
    first.type("peervault init")
    first.start("peervault daemon --listen 0.0.0.0:3000")
    second.type("peervault init")
    second.start("peervault daemon --listen 0.0.0.0:3000 --peer first.example:3000")

    def turned_away():
        lines = second.type("peervault peers --json").text.splitlines()
        return [p for p in map(json.loads, lines) if p.get("last_error")]
    for peer in wait_until(turned_away, "the second to be turned away"):
        assert peer["state"] != "connected", peer
    assert first.type("peervault status --json").json["members"] == 1
    second.stop()
    first.stop()
