"""What stays within its limit whatever is asked of it, and serves on."""
import os
import socket
import subprocess

MIB = 1 << 20


def few_descriptors(scene, count):
    """The program, allowed only so many open files."""
    path = scene.file(f"few{count}", content=(f"#!/bin/sh\nulimit -n {count} && "
                                              f"exec {scene.program} \"$@\"\n").encode())
    os.chmod(path, 0o755)
    return path


def start_with_few(scene, node, count, **kw):
    whole, scene.program = scene.program, few_descriptors(scene, count)
    try:
        node.start(**kw)
    finally:
        scene.program = whole


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
    start_with_few(scene, node, 63, wait=False)
    assert node.process.wait(timeout=60) == 1, node.log()
    assert node.log().strip().splitlines()[-1] == \
        "peervault: only 63 open files are allowed, and 64 are needed: raise the limit " \
        "(`ulimit -n`, LimitNOFILE= of a service)", node.log()
    node.process = None


def serve_with_few(scene, limit, clients, silent):
    node = scene.node("a")
    start_with_few(scene, node, limit)
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


def test_many_strangers(scene):
    serve_with_few(scene, 256, 80, 400)
