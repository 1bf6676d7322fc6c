"""kill -9 and power cuts in the middle of things: what was acknowledged is there, nothing else is."""
import os
import random
import subprocess

from crashes import kill_loop, power_cuts, replay
from disks import tool
from harness import sha256_of, wait_until

MIB = 1 << 20


def seeded(few, many, scene):
    """A generator, and how many crashes; tests/fault/crash does more of them, with a seed of one's own."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    return random.Random(seed), few if scene.sanitized else many


def test_killed_under_load(scene):
    print(kill_loop(scene, *seeded(2, 6, scene)))


def test_killed_while_another_node_takes_copies(scene):
    print(kill_loop(scene, *seeded(1, 3, scene), pair=True))


def test_power_cut_on_ext4(scene):
    print(power_cuts(scene, *seeded(1, 3, scene), "ext4"))


def test_power_cut_on_xfs(scene):
    print(power_cuts(scene, *seeded(1, 2, scene), "xfs", pair=True))


def test_disks_that_a_loss_of_power_could_have_left(scene):
    print(replay(scene, *seeded(3, 12, scene), "ext4", seconds=1.5))


def test_a_failed_sync_ends_the_daemon(scene):
    """Of blob files, of their folders, of the log, of the database: exit 70, and nothing is lost."""
    shim, trigger = tool(scene, "nosync", "-shared", "-fPIC"), scene.path("now")
    node = scene.node("a")
    plain = dict(node.env)
    keys = []
    for i, path in enumerate(["tmp/*", "blobs/??", "vault.db-wal", "vault.db"]):
        node.env.update(LD_PRELOAD=shim, NOSYNC=os.path.join(node.vault, path), NOSYNC_FAILS=trigger)
        node.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        node.start()
        node.env = dict(plain)
        keys += node.store(scene.file("good", 200000, seed=2 * i))
        with open(trigger, "w"):
            pass
        result = node.run("store", scene.file("bad", 200000, seed=2 * i + 1), code=None)
        assert result.code != 0 or path == "vault.db", result  # that one is moved later, in quiet
        wait_until(node.ended, "the daemon to end")
        assert node.process.returncode == 70, node.process.returncode
        last = node.log().splitlines()[-1]
        assert "disk failure, stopping" in last and "error=" in last, last
        os.unlink(trigger)
        node.start()
        for key in keys:
            node.run("get", key, "-o", scene.path("out"))
            assert sha256_of(scene.path("out")) == key
        node.stop()


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
    assert node.run("ls").text == ""
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
