"""Real daemons on loopback, real vaults in temporary folders, and the command line as users run it."""
import base64
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

SUPPRESSIONS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tsan.supp")
DEADLINE_S = 120  # for anything that should take a second or a few: generous, for slow machines


class Skip(Exception):
    """The machine lacks what the test needs; says what."""


def pause(seconds=0.05):
    """Between two looks at a condition that nothing announces. Never the condition itself."""
    select.select([], [], [], seconds)


def wait_until(condition, what, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline_s} s for: {what}"
        pause()


def sha256_of(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


class Result:
    def __init__(self, args, process, out, err, max_rss_kib=0):
        self.args, self.code, self.out, self.err = args, process, out, err
        self.max_rss_kib = max_rss_kib

    @property
    def text(self):
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return (f"{self.args} -> exit {self.code}\n  out: {self.out[:600]!r}\n"
                f"  err: {self.err[:2000].decode('utf-8', 'replace')}")


class Scene:
    """One test's folder and processes."""

    def __init__(self, variant, program):
        self.variant, self.program = variant, program
        self.sanitized = variant in ("asan", "tsan")
        self.dir = tempfile.mkdtemp(prefix="pv-test-")
        self.reports = os.path.join(self.dir, "sanitizer")
        os.mkdir(self.reports)
        self.nodes = []
        self.cleanups = []
        self.token = new_token()
        self.cluster_key = os.urandom(32).hex()

    # ---- files ----

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def file(self, name, size=0, content=None, seed=1):
        """A file of pseudo-random bytes, or of the given content."""
        path = name if os.path.isabs(name) else self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            if content is not None:
                f.write(content)
            else:
                write_random(f, size, seed)
        return path

    # ---- processes ----

    def environment(self, **more):
        env = {"PATH": os.environ["PATH"], "HOME": self.dir, "LC_ALL": "C.UTF-8",
               "ASAN_OPTIONS": f"log_path={self.reports}/asan:detect_leaks=1:exitcode=99",
               "UBSAN_OPTIONS": f"log_path={self.reports}/ubsan:print_stacktrace=1",
               "TSAN_OPTIONS": f"log_path={self.reports}/tsan:suppressions={SUPPRESSIONS}"}
        env.update({k: v for k, v in more.items() if v is not None})
        return env

    def run(self, *args, stdin=b"", code=0, env=None, cwd=None, timeout=600, preexec=None,
            program=None):
        """Runs the program to its end. code: the exit code demanded, None for any."""
        command = [program or self.program, *args]
        pipe_in = stdin if hasattr(stdin, "fileno") else subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe_in, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=env or self.environment(), cwd=cwd,
                                   preexec_fn=preexec)
        try:
            out, err = process.communicate(None if pipe_in is stdin else stdin, timeout=timeout)
        finally:
            process.kill()
        result = Result(args, process.returncode, out, err)
        assert code is None or result.code == code, f"exit {code} expected: {result}"
        return result

    def node(self, name, **options):
        node = Node(self, name, **options)
        self.nodes.append(node)
        return node

    # ---- the end ----

    def finish(self):
        """Stops the daemons in order and looks for what sanitizers found."""
        for node in self.nodes:
            node.stop()
        self.check_reports()

    def check_reports(self):
        for name in sorted(os.listdir(self.reports)):
            with open(os.path.join(self.reports, name), errors="replace") as f:
                raise AssertionError(f"sanitizer report {name}:\n{f.read(6000)}")

    def explain(self):
        for node in self.nodes:
            print(f"--- end of the log of {node.name}:\n{node.log()[-3000:]}")

    def cleanup(self):
        for node in self.nodes:
            node.kill()
        for undo in reversed(self.cleanups):
            undo()
        shutil.rmtree(self.dir, ignore_errors=True)


class Node:
    """A vault, and perhaps a daemon on it."""

    def __init__(self, scene, name, token=None, cluster_key=None, **env):
        self.scene, self.name = scene, name
        self.vault = scene.path(name)
        self.log_path = scene.path(name + ".log")
        self.process, self.address = None, None
        self.env = scene.environment(PEERVAULT_AUTH_TOKEN=token or scene.token,
                                     PEERVAULT_CLUSTER_KEY=cluster_key or scene.cluster_key, **env)

    def run(self, *args, **kw):
        kw.setdefault("env", self.env)
        return self.scene.run("--vault", self.vault, *args, **kw)

    def start(self, *args, peers=(), listen="127.0.0.1:0", wait=True, first=None):
        """Starts the daemon and waits until it listens. first: what its shell does to itself before,
        or to the command, which is "$@"."""
        command = ["sh", "-c", f'{first} && exec "$@"', "sh"] if first else []
        command += [self.scene.program, "--vault", self.vault, "daemon", "--listen", listen]
        for peer in peers:
            command += ["--peer", peer if isinstance(peer, str) else peer.address]
        start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*command, *args], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        if wait:
            wait_until(lambda: self.ended() or "listening" in self.log()[start:], "daemon to listen")
            assert not self.ended(), f"daemon {self.name} ended: {self.log()[start:]}"
            self.address = self.status()["listen"]
        return self

    def ended(self):
        return self.process is None or self.process.poll() is not None

    def stop(self, code=0):
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
            assert self.process.returncode == code, \
                f"daemon {self.name} exit {self.process.returncode}: {self.log()[-3000:]}"
        self.process = None

    def kill(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def rss_peak_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))

    # ---- what users do ----

    def status(self):
        """What the daemon says, also of a disk that is full."""
        result = self.run("status", "--json", code=None)
        assert result.code in (0, 7), f"no status: {result}"
        return result.json

    def store(self, *files, **kw):
        """Stores files; the keys, as printed."""
        out = self.run("store", *files, **kw).text
        return [line.lstrip("\\")[:64] for line in out.splitlines()]

    def get(self, key, **kw):
        return self.run("get", key, **kw).out

    def blob_files(self):
        for folder, _, names in os.walk(os.path.join(self.vault, "blobs")):
            for name in names:
                yield os.path.join(folder, name)


def new_token():
    """As `token new`: a passphrase would cost each start of a daemon as much as a hundred files."""
    secret = os.urandom(32)
    digits = base64.b32encode(secret + hashlib.sha256(secret).digest()[:4])
    return "pvt1-" + digits.decode().lower().rstrip("=")


def write_random(f, size, seed):
    """size bytes in which nothing comes twice, reproducible."""
    for i in range(0, size, 1 << 20):
        f.write(hashlib.shake_256(f"{seed}/{i}".encode()).digest(min(1 << 20, size - i)))


def cluster(scene, names="abc", *args, **options):
    """Daemons that dial all earlier ones, started and in sync."""
    nodes = []
    for name in names:
        nodes.append(scene.node(name, **options).start(*args, peers=list(nodes)))
    wait_in_sync(nodes)
    return nodes


def wait_in_sync(nodes):
    def settled():
        states = [n.status() for n in nodes]
        return all(s["in_sync"] == len(nodes) - 1 and s["members"] >= len(nodes) and
                   s["pending"] == 0 for s in states) and \
            len({(s["records"], s["files"]) for s in states}) == 1
    wait_until(settled, "nodes to be in sync")


def wait_has_blobs(nodes):
    """Every node holds as many blobs as the one with the most."""
    def equal():
        return len({n.status()["blobs"] for n in nodes}) == 1
    wait_until(equal, "blobs on every node")
