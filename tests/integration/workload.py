"""Many clients at once on one node, and an oracle that knows what each of them was told.

Storers stream files, large and small, new ones and new contents of old names, and then remove and
restore some; collectors delete for good what was removed, read every byte, and list. Files share most
of their chunks across clients, so that what one of them removes another one is just storing.
"""
import hashlib
import os
import random
import subprocess
import threading

from harness import write_random

# Sizes that end in the record, in a row, in a file, and in several.
SIZES = [0, 100, 4000, 5000, 60000, 70000, 300000, 900000, 2500000]
LIVE_MAX = 40  # files of one client, so that reading everything stays short


class Workload:
    def __init__(self, node, oracle, rng, storers=3, copies=1):
        self.node, self.oracle, self.copies = node, oracle, copies
        self.source = node.scene.path("source")
        self.stopping, self.mutex = threading.Event(), threading.Lock()
        self.collections = []  # [begun, ended or None] of those that end all graces
        self.unexpected = []
        os.makedirs(self.source, exist_ok=True)
        self.bases = [self._base(size) for size in SIZES]
        clients = [Storer(self, f"client{i}", rng.getrandbits(32)) for i in range(storers)]
        clients.append(Collector(self, "collector", rng.getrandbits(32)))
        self.threads = [threading.Thread(target=self._run, args=(c,)) for c in clients]

    def _base(self, size):
        path = os.path.join(self.node.scene.dir, f"base{size}")
        if not os.path.exists(path):
            with open(path, "wb") as f:
                write_random(f, size, seed=size)
        with open(path, "rb") as f:
            return f.read()

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """From now on clients may fail; none begins anything new."""
        self.stopping.set()

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.unexpected, self.unexpected

    def _run(self, client):
        try:
            while not self.stopping.is_set():
                client.round()
        except Failed as failure:
            if not self.stopping.is_set():
                self.unexpected.append(str(failure))
        except BaseException as error:
            self.unexpected.append(repr(error))
            raise

    def command(self, *args, codes=(0,), **kw):
        result = self.node.run(*args, code=None, **kw)
        if result.code not in codes:
            raise Failed(result)
        return result

    def collected_since(self, at):
        with self.mutex:
            return any(ended is None or ended >= at for _, ended in self.collections)


class Failed(Exception):
    pass


class Client:
    def __init__(self, workload, name, seed):
        self.w, self.name, self.rng = workload, name, random.Random(seed)
        self.oracle = workload.oracle


class Storer(Client):
    def __init__(self, *args):
        super().__init__(*args)
        self.keys = {}     # name -> the contents it had, newest last
        self.removed = {}  # key -> position of its removal
        os.makedirs(os.path.join(self.w.source, self.name), exist_ok=True)

    def round(self):
        names = {self._name() for _ in range(self.rng.randrange(1, 12))}
        self._store(sorted(names))
        for _ in range(self.rng.randrange(4)):
            if self.w.stopping.is_set():
                return
            self.rng.choice([self._remove_key, self._remove_name, self._restore])()
        while len(self._live()) > LIVE_MAX and not self.w.stopping.is_set():
            self._remove_key()

    def _live(self):
        return [(name, key) for name, keys in sorted(self.keys.items()) for key in keys
                if self.oracle.value(("file", key))]

    def _name(self):
        if self.keys and self.rng.random() < 0.2:
            return self.rng.choice(sorted(self.keys))
        return f"{self.name}/{self.rng.getrandbits(40):010x}"

    def _write(self, name):
        content = self.rng.choice(self.w.bases) + b"%016x" % self.rng.getrandbits(64)
        with open(os.path.join(self.w.source, name), "wb") as f:
            f.write(content)
        return hashlib.sha256(content).hexdigest()

    def _store(self, names):
        """All names are given at once; each line of the answer acknowledges one."""
        copies = self.rng.randrange(self.w.copies) + 1
        process = subprocess.Popen(
            [self.w.node.scene.program, "--vault", self.w.node.vault, "store", "--files-from", "-",
             *(["--copies", str(copies)] if copies > 1 else ["--no-wait"])],
            cwd=self.w.source, env=self.w.node.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        steps = {}
        for name in names:
            key = self._write(name)
            steps[key] = self.oracle.begin({("file", key): True, ("name", name): key})
            self.keys.setdefault(name, []).append(key)
        try:
            process.stdin.write("".join(n + "\n" for n in names).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass
        lines = []
        for line in process.stdout:
            key = line[:64].decode()
            if line.endswith(b"\n"):
                self.oracle.acknowledge(steps[key], "stored")
            lines.append(key)
        error = process.stderr.read()
        if process.wait() != 0:
            raise Failed(f"store: exit {process.returncode}: {error.decode()}")
        if lines != list(steps):
            raise AssertionError(f"store said {lines} for {list(steps)}")
        if copies > 1:
            self.oracle.copied(list(steps))

    def _names_of(self, key):
        return [n for n in self.keys if self.oracle.value(("name", n)) == key]

    def _remove(self, what, key, names, is_last):
        changes = {("name", n): None for n in names}
        if is_last:
            changes["file", key] = False
            self.removed[key] = self.oracle.clock()
        step = self.oracle.begin(changes)
        self.w.command("rm", what)
        self.oracle.acknowledge(step, "removed")

    def _remove_key(self):
        live = self._live()
        if live:
            key = self.rng.choice(live)[1]
            self._remove(key, key, self._names_of(key), True)

    def _remove_name(self):
        names = [n for n in sorted(self.keys) if self.oracle.value(("name", n)) is not None]
        if names:
            name = self.rng.choice(names)
            self._remove(name, self.oracle.value(("name", name)), [name], True)

    def _restore(self):
        """Comes back under its name, unless that means something else now."""
        gone = [(n, k) for n, keys in sorted(self.keys.items()) for k in keys
                if k in self.removed and not self.oracle.value(("file", k))]
        if not gone:
            return
        name, key = self.rng.choice(gone)
        changes = {("file", key): True}
        if self.oracle.value(("name", name)) is None:
            changes["name", name] = key
        step = self.oracle.begin(changes)
        result = self.w.command("restore", key, codes=(0, 3, 5))
        if result.code == 0:
            self.oracle.acknowledge(step, "restored")
        elif self.w.stopping.is_set():
            raise Failed(result)  # nobody knows why
        elif self.w.collected_since(self.removed[key]):
            self.oracle.undo(step, changes)
        else:
            raise AssertionError(f"nobody collected it: {result}")


class Collector(Client):
    def round(self):
        what = self.rng.randrange(4)
        if what == 0:
            self._collect()
        elif what == 1:
            self.w.command("verify", "--deep")
        elif what == 2:
            self.w.command("ls")
        else:
            self.w.stopping.wait(self.rng.random() * 1.5)  # the log is moved when nobody writes
        self.oracle.counts["looks"] += 1

    def _collect(self):
        period = [self.oracle.clock(), None]
        with self.w.mutex:
            self.w.collections.append(period)
        # 5: another member is not in sync, or a removal is not known to it yet: nothing is deleted.
        self.w.command("gc", "--now", codes=(0, 5))
        period[1] = self.oracle.clock()
        self.oracle.counts["collected"] += 1
