"""The documents suffice: programs written from them alone read a vault and speak to a daemon.

extract.py, session.py and client.py are those programs. A test here that fails says that the daemon and
its documents differ. What a daemon answers to bytes the protocol forbids: tests/hostile.
"""
import os
import subprocess
import sys
import time

import extract
from client import Client
from extract import Damage, Vault, check_blob, read_file, sha256
from session import BLOBS

MIB = 1 << 20


def client(scene, node, **options):
    c = Client(node.address, scene.token, scene.cluster_key, **options)
    scene.cleanups.append(c.socket.close)
    return c


def written(scene, name, size):
    path = scene.file(name, size, seed=name)
    with open(path, "rb") as f:
        return path, f.read()


# ---- the vault ----

def fill(scene, node):
    """Stores files of many kinds; what must be found again: {key: (content, names)}."""
    wanted = {}
    for size in (0, 1, 4096, 4097, 70000, 3 * MIB):
        path, content = written(scene, f"size {size}", size)
        node.store(path)
        wanted[sha256(content)] = content, {f"size {size}".encode()}
    path, content = written(scene, "secret", 300000)
    node.store("--private", path)
    wanted[sha256(content)] = content, {b"secret"}
    odd = b"a\nb\\c", b"\xff\xfe", "\N{SNOWMAN}".encode(), b"n" * 255
    for name in odd:
        path = os.path.join(os.fsencode(scene.dir), name)
        with open(path, "wb") as f:
            f.write(b"odd " + name)
        node.store(os.fsdecode(path))
        wanted[sha256(b"odd " + name)] = b"odd " + name, {name}
    again = scene.file("second name", content=b"odd " + odd[0])
    node.store(again)
    wanted[sha256(b"odd " + odd[0])][1].add(b"second name")
    for size in (10, 100000):
        path, content = written(scene, f"removed {size}", size)
        key, = node.store(path)
        node.run("rm", key)
    return wanted


def found(vault):
    return {f.key: (b"".join(vault.content(f)), set(vault.names_of(f))) for f in vault.files.values()}


def test_extractor_restores_every_file(scene):
    node = scene.node("a").start()
    wanted = fill(scene, node)
    node.stop()
    vault = Vault(node.vault, int(time.time()))
    assert found(vault) == wanted and vault.unread == 0
    assert sum(f.private for f in vault.files.values()) == 1
    os.mkdir(scene.path("out"))
    subprocess.run([sys.executable, extract.__file__, node.vault, scene.path("out")], check=True,
                   stdout=subprocess.DEVNULL)
    assert {bytes.fromhex(name) for name in os.listdir(scene.path("out"))} == set(wanted)


def test_extractor_reads_the_log_of_a_killed_daemon(scene):
    node = scene.node("a").start()
    wanted = fill(scene, node)
    node.kill()
    assert os.path.getsize(os.path.join(node.vault, "vault.db-wal")) > 0
    assert found(Vault(node.vault, int(time.time()))) == wanted


def test_extractor_names_a_damaged_blob(scene):
    node = scene.node("a").start()
    node.store(written(scene, "x", 500000)[0])
    node.stop()
    victim = next(node.blob_files())
    with open(victim, "r+b") as f:
        f.seek(1000)
        byte = f.read(1)[0]
        f.seek(1000)
        f.write(bytes([byte ^ 1]))
    try:
        found(Vault(node.vault, int(time.time())))
    except Damage:
        return
    raise AssertionError("a flipped bit was not seen")


def test_blobs_and_keyring_give_nothing_without_records(scene):
    node = scene.node("a").start()
    node.store(written(scene, "x", 500000)[0])
    node.stop()
    os.remove(os.path.join(node.vault, "vault.db"))
    result = subprocess.run([sys.executable, extract.__file__, node.vault], capture_output=True)
    assert result.returncode == 1 and b"without records" in result.stderr and not result.stdout


# ---- the protocol ----

def test_python_peer_fetches_blobs(scene):
    a = scene.node("a").start()
    path, content = written(scene, "x", 3 * MIB)
    key, = a.store(path)
    c = client(scene, a)
    c.run_until(lambda: c.agreed)
    file, = read_files(c)
    assert file.key.hex() == key
    assert b"".join(read_file(file, c.fetch, int(time.time()))) == content
    known = list(c.blobs)
    assert c.locate(known + [bytes(32)]) == {**dict.fromkeys(known, True), bytes(32): False}
    assert c.fetch(bytes(32)) is None
    c.goodbye()
    assert c.until_closed() is None


def read_files(c):
    records = [r for r in c.records.values() if r.type == extract.FILE]
    return [extract.parse_file(r, extract.open_record(r, c.key, int(time.time())), c.key) for r in records]


def test_python_peer_receives_records_and_offers(scene):
    a = scene.node("a").start()
    a.store(written(scene, "before", 200000)[0])
    c = client(scene, a, accepts=lambda blob_id: True)
    c.run_until(lambda: c.agreed and c.blobs)
    path, content = written(scene, "after", 100000)
    # The store returns when two members have the file: only if our acknowledgements count.
    store = subprocess.Popen([scene.program, "--vault", a.vault, "store", "--copies", "2", path],
                             env=a.env, stdout=subprocess.PIPE)
    c.run_until(lambda: any(f.key == sha256(content) for f in read_files(c)) and len(c.blobs) == 2)
    c.run_until(lambda: store.poll() is not None)
    assert store.communicate()[0][:64].decode() == sha256(content).hex() and store.returncode == 0
    for blob_id, blob in c.blobs.items():
        check_blob(blob, blob_id)
    status = a.status()
    assert status["members"] == 2 and status["connected"] == 1
    c.run_until(lambda: a.status()["pending"] == 0)
    assert f"admitted a new member\" node={c.identity.node_id.hex()[:8]}" in a.log()


def test_python_peer_stores_a_blob_and_a_record(scene):
    """What one daemon told us, we tell another one that has never met it."""
    a, b = scene.node("a").start(), scene.node("b").start()
    path, content = written(scene, "x", MIB)
    key, = a.store(path)
    c = client(scene, a, accepts=lambda blob_id: True)
    c.run_until(lambda: c.agreed and len(c.blobs) == a.status()["blobs"])
    d = client(scene, b, identity=c.identity)
    d.records.update(c.records)
    d.send_root()
    d.run_until(lambda: d.agreed)
    for blob in c.blobs.values():
        d.offer(blob, 0)
    d.run_until(lambda: all((BLOBS, blob_id) in d.acknowledged for blob_id in c.blobs))
    d.goodbye()
    d.until_closed()
    assert b.get(key) == content
