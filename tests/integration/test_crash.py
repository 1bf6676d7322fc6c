"""kill -9 in the middle of things: what was acknowledged is there, nothing else is listed."""
import json
import os
import random
import subprocess

from harness import sha256_of, wait_until

MIB = 1 << 20


def listed(node):
    return {json.loads(line)["key"] for line in node.run("ls", "--json").text.splitlines()
            if '"key"' in line}


def test_daemon_killed_while_storing(scene):
    node = scene.node("a")
    rng = random.Random(7)
    acknowledged = {}
    for round_number in range(3 if scene.sanitized else 8):
        node.start()
        paths = [scene.file(f"r{round_number}/{i}", size, seed=round_number * 100 + i)
                 for i, size in enumerate([100, 5000, 200000, 3 * MIB, 50, 70000, 8 * MIB, 9 * MIB])]
        client = subprocess.Popen([scene.program, "--vault", node.vault, "store", "--no-wait", *paths],
                                  env=node.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        lines = []
        for _ in range(rng.randrange(0, len(paths))):
            lines.append(client.stdout.readline())
        node.kill()
        lines += client.stdout.read().splitlines(True)
        client.wait()
        for line in lines:
            text = line.decode()
            if text.endswith("\n"):
                acknowledged[text[:64]] = text[66:-1]
    node.start()
    wait_until(lambda: os.listdir(os.path.join(node.vault, "tmp")) == [], "no temporary files")
    keys = listed(node)
    assert set(acknowledged) <= keys
    for key in keys:  # whatever is listed is whole
        node.run("get", key, "-o", scene.path("out"))
        assert sha256_of(scene.path("out")) == key
    for path in node.blob_files():
        assert sha256_of(path) == os.path.basename(path)


def test_client_killed_while_storing(scene):
    node = scene.node("a").start()
    read_end, write_end = os.pipe()
    client = subprocess.Popen([scene.program, "--vault", node.vault, "store", "-", "--name", "half"],
                              env=node.env, stdin=read_end, stdout=subprocess.PIPE)
    os.close(read_end)
    os.write(write_end, os.urandom(60000))
    client.kill()
    client.wait()
    os.close(write_end)
    assert listed(node) == set()
    node.run("get", "half", code=3)
    assert node.store(scene.file("after", 100))


def test_embedded_store_killed(scene):
    node = scene.node("a")
    node.run("init")
    path = scene.file("f", 30 * MIB)
    for _ in range(3):
        client = subprocess.Popen([scene.program, "--vault", node.vault, "store", path], env=node.env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        blobs = os.path.join(node.vault, "blobs")
        wait_until(lambda: client.poll() is not None or any(os.listdir(os.path.join(blobs, d))
                                                            for d in os.listdir(blobs)), "a blob")
        client.kill()
        client.wait()
    key = node.store(path)[0]
    node.run("get", key, "-o", scene.path("out"))
    assert sha256_of(scene.path("out")) == key


def test_two_first_stores_at_once_share_one_vault(scene):
    for round_number in range(5):
        node = scene.node(f"v{round_number}")
        env = scene.environment()  # no secrets given: whoever is first makes them
        files = [scene.file(f"in{round_number}/{i}", content=f"{round_number} {i}".encode())
                 for i in range(4)]
        clients = [subprocess.Popen([scene.program, "--vault", node.vault, "store", f], env=env,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for f in files]
        for path, client in zip(files, clients):
            out, err = client.communicate(timeout=120)
            assert client.returncode == 0, err
            got = scene.run("--vault", node.vault, "get", out.decode()[:64], env=env)
            assert got.out == open(path, "rb").read()


def test_a_lost_keyring_comes_back_from_its_export(scene):
    node = scene.node("a")
    env = scene.environment()
    path = scene.file("f", 300000)
    key = scene.run("--vault", node.vault, "store", path, env=env).text[:64]
    paper = scene.run("--vault", node.vault, "key", "export", env=env).out
    os.unlink(os.path.join(node.vault, "keyring"))
    for args in (["get", key], ["store", path], ["ls"], ["init"]):
        lost = scene.run("--vault", node.vault, *args, env=env, code=4)
        assert b"keyring is missing" in lost.err, lost
    scene.run("--vault", node.vault, "key", "import", "-", stdin=paper, env=env)
    assert scene.run("--vault", node.vault, "get", key, env=env).out == open(path, "rb").read()
