"""mem_limit and 128 MiB suffice for the heaviest load, in a cgroup that allows no more."""
import os
import shutil
import subprocess

from cgroup import MemoryGroup
from harness import Skip, wait_in_sync

MIB = 1 << 20
BESIDES_MIB = 128  # what the service's unit allows besides mem_limit


def heaviest_load(scene, mem_mib, clients, file_mib):
    """Stores, gets, checks and gc at once, while peers take all of it. The peak of what is resident."""
    group = MemoryGroup(scene, (mem_mib + BESIDES_MIB) * MIB)
    node = scene.node("a", PEERVAULT_MEM_LIMIT=f"{mem_mib}MiB")
    group.start(node)
    peers = []
    for name in "bc":
        peers.append(scene.node(name).start(peers=[node, *peers]))
    wait_in_sync([node, *peers])  # gc refuses until it has met equal records
    first = [scene.file(f"first{i}", file_mib * MIB, seed=i) for i in range(4)]
    keys = node.store(*first, "--no-wait")
    running = []

    def begin(*args):
        running.append((args, subprocess.Popen([scene.program, "--vault", node.vault, *args], env=node.env,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)))

    begin("verify", "--deep")
    begin("gc", "--now")
    for i in range(clients):
        if i % 2 == 0:
            begin("store", scene.file(f"more{i}", file_mib * MIB, seed=100 + i), "--no-wait")
        else:
            begin("get", keys[i % 4], "-o", scene.path(f"out{i}"))
        if i % 16 == 9:
            begin("verify", "--deep")
    for args, process in running:
        err = process.communicate(timeout=900)[1]
        assert process.returncode == 0, f"{args} -> {process.returncode}: {err}"
        if args[0] == "get":
            os.unlink(args[3])
    wait_in_sync([node, *peers])
    assert group.killed() == 0 and not node.ended()
    peak = node.rss_peak_kib() >> 10
    print(f"     mem_limit {mem_mib} MiB: at most {peak} MiB resident, of {mem_mib + BESIDES_MIB}")
    assert peak <= mem_mib + BESIDES_MIB
    for n in (node, *peers):
        n.stop()
        shutil.rmtree(n.vault)


def test_smallest_limit(scene):
    if scene.sanitized:
        raise Skip("a sanitizer has memory of its own")
    heaviest_load(scene, 32, 14, 4)


def test_default_limit(scene):
    if "LONG" not in os.environ:
        raise Skip("gigabytes are written: make fault does it")
    heaviest_load(scene, 64, 64, 24)
