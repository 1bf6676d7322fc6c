"""Nodes under load that are killed, or whose disk loses its power, again and again.

After each crash the node starts again and must show what the oracle allows, every byte of it whole.
A second node, if there is one, takes copies all the while and dies with the first, or alone.
"""
import hashlib
import json
import os
import time

from disks import SIZE, Disk, RecordedDisk
from harness import wait_in_sync, wait_until
from oracle import Oracle
from workload import Workload


class Wrong(AssertionError):
    """What was acknowledged is not there, or what is there is not right."""


def insist(wrong):
    if wrong:
        raise Wrong(f"{len(wrong)} findings:\n" + "\n".join(wrong[:5]))


def listing_of(node):
    rows = [json.loads(line) for line in node.run("ls", "--json").text.splitlines()]
    return [(row["key"], row.get("name")) for row in rows]


def verify(node):
    result = node.run("verify", "--deep", "--json", code=None)
    end = json.loads(result.text.splitlines()[-1]) if result.out else {}
    if result.code != 0 or not end["clean"]:
        yield f"TORN on {node.name}: {result}"


def read_back(node, keys):
    for key in keys:
        result = node.run("get", key, code=None)
        if result.code != 0 or hashlib.sha256(result.out).hexdigest() != key:
            yield f"NOT WHOLE {key}: exit {result.code}: {result.err.decode()}"


def check(nodes, oracle, read, acknowledged=float("inf"), begun=float("inf")):
    """What every state after a crash must show; the listing of the first node.

    read: which of its keys to read back, in addition to the look at every byte.
    """
    a, listing = nodes[0], listing_of(nodes[0])
    wrong = list(oracle.findings(listing, acknowledged, begun))
    for node in nodes:
        wrong += verify(node)
    for other in nodes[1:]:
        wrong += oracle.findings_of_copy(listing_of(other), acknowledged)
    wrong += read_back(a, read(sorted(key for key, _ in listing)))
    insist(wrong)
    return listing


class Run:
    """Nodes in a folder, and what they were told."""

    def __init__(self, scene, rng, folder="", pair=False, preload=None, clock=time.monotonic):
        self.scene, self.rng = scene, rng
        self.oracle = Oracle(clock)
        self.nodes = [scene.node(os.path.join(folder, name)) for name in ("ab" if pair else "a")]
        for node in self.nodes:
            node.log_path = scene.path(os.path.basename(node.vault) + ".log")
            node.env.update(preload or {})
        self.crashes = 0

    def start(self):
        """Those that do not run; where they were before, so that the other one finds them."""
        for i, node in enumerate(self.nodes):
            if node.ended():
                try:
                    node.start(peers=self.nodes[:i], listen=node.address or "127.0.0.1:0")
                except AssertionError as error:
                    raise Wrong(f"does not start: {error}") from error
        if len(self.nodes) > 1:
            wait_until(lambda: self.nodes[0].status()["in_sync"] == 1, "the other node")

    def cycle(self, crash, longest_s=1.5):
        """Load, the crash, and a look at what is left. Starts and leaves running nodes."""
        load = Workload(self.nodes[0], self.oracle, self.rng, copies=len(self.nodes))
        load.start()
        load.stopping.wait(self.rng.uniform(0.05, longest_s))
        load.stop()
        acknowledged = crash()
        load.join()
        self.crashes += 1
        return acknowledged

    def look(self, acknowledged=float("inf")):
        listing = check(self.nodes, self.oracle, lambda keys: self.rng.sample(keys, min(3, len(keys))),
                        acknowledged)
        self.oracle.settle(listing)

    def finish(self):
        """All files once more, and nothing left over."""
        a = self.nodes[0]
        wait_until(lambda: a.status()["unknown_files"] == 0, "unknown files to go")
        status = a.status()
        if not status["healthy"] or status["quarantined"] > 0:
            raise Wrong(f"UNHEALTHY: {status}")
        insist(list(read_back(a, {key for key, _ in listing_of(a)})))
        if len(self.nodes) > 1:
            wait_in_sync(self.nodes)
            if sorted(listing_of(a), key=str) != sorted(listing_of(self.nodes[1]), key=str):
                raise Wrong("the nodes do not agree")
        for node in self.nodes:
            node.stop()

    def counts(self):
        counts = self.oracle.counts
        return f"{self.crashes} crashes, " + ", ".join(
            f"{counts[what]} {what}" for what in ("stored", "copied", "removed", "restored", "collected"))


def kill_loop(scene, rng, crashes, pair=False):
    """kill -9. What was answered holds, whenever that was heard."""
    run = Run(scene, rng, pair=pair)
    run.start()

    def kill():
        for node in run.nodes if rng.random() < 0.5 else run.nodes[:1]:
            node.kill()
        return float("inf")

    for _ in range(crashes):
        run.cycle(kill, longest_s=0.6)
        run.start()
        run.look()
    run.finish()
    return run.counts()


def power_cuts(scene, rng, cuts, kind, pair=False, preload=None):
    """What is answered after the cut began proves nothing: nobody would have heard of it."""
    disk = Disk(scene, kind).format(4 * SIZE if pair else SIZE).mount()
    run = Run(scene, rng, folder="disk", pair=pair, preload=preload)
    run.start()

    def cut():
        acknowledged = time.monotonic()
        disk.cut()
        return acknowledged

    for _ in range(cuts):
        acknowledged = run.cycle(cut)
        for node in run.nodes:
            if node.ended() and node.process.returncode != 70:
                raise Wrong(f"{node.name}: exit {node.process.returncode}: {node.log()[-2000:]}")
            node.kill()
        disk.unmount()
        disk.mount()
        run.start()
        run.look(acknowledged)
    run.finish()
    disk.unmount()
    return run.counts()


def replay(scene, rng, states, kind, pair=False, preload=None, seconds=2.5):
    """Load on a disk that remembers all writes, and then a look at disks that it could have been."""
    disk = RecordedDisk(scene, kind).format()
    disk.mount()
    run = Run(scene, rng, folder="disk", pair=pair, preload=preload, clock=disk.position)
    run.start()
    since = disk.position()
    load = Workload(run.nodes[0], run.oracle, rng, copies=len(run.nodes))
    load.start()
    load.stopping.wait(seconds)
    load.stop()
    load.join()
    for node in run.nodes:
        node.stop()
    until = disk.position()
    disk.unmount()
    left = Disk(scene, kind)
    for position, image in disk.states(rng, states, since, until):
        left.mount(image)
        check(run.nodes, run.oracle, lambda keys: keys[:1], position, position)
        left.unmount()
        run.crashes += 1
    return run.counts()
