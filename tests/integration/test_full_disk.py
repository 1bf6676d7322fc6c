"""A disk without room: everything can still be read, deletions go on, nothing is lost."""
import os
import signal
import subprocess

from harness import Skip, wait_has_blobs, wait_in_sync, wait_until

MIB = 1 << 20


def mount_on(scene, what, *args):
    mount = scene.path("disk")
    os.mkdir(mount)
    if subprocess.run(["mount", *args, mount], capture_output=True).returncode != 0:
        raise Skip(f"cannot mount {what}")
    scene.cleanups.append(lambda: subprocess.run(["umount", "-l", mount]))
    return mount


def mount_small(scene, size, more=""):
    return mount_on(scene, "a tmpfs", "-t", "tmpfs", "-o", f"size={size}{more}", "tmpfs")


def mount_ext4(scene, size):
    image = scene.path("image")
    with open(image, "wb") as f:
        f.truncate(size)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True)
    if made.returncode != 0:
        raise Skip("cannot make an ext4")
    return mount_on(scene, "an ext4 image", "-o", "loop", image)  # detached when unmounted


def take_the_rest(path):
    """Writes until not a byte is left, as another program may."""
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    assert os.statvfs(path).f_bfree == 0


def test_full_to_the_last_byte(scene):
    mount = mount_small(scene, "24m")
    node = scene.node("disk/a")
    node.log_path = scene.path("log")  # not on that disk
    large, tiny = scene.file("large", 3 * MIB), scene.file("tiny", content=b"tiny")
    keys = node.store(large, tiny)
    filler = os.path.join(mount, "filler")
    take_the_rest(filler)

    def read_all():
        assert node.get(keys[0]) == open(large, "rb").read()
        assert node.get("tiny") == b"tiny"
        assert node.run("ls").text.count("\n") == 2
        assert node.run("stat", "large").text
        node.run("store", scene.file("more", 2 * MIB, seed=2), code=7)

    read_all()  # without a daemon
    node.start()
    read_all()
    assert node.status()["files"] == 2
    node.stop()
    node.start()  # a second time, under the same number
    read_all()
    os.unlink(filler)
    assert node.store(scene.file("more", 2 * MIB, seed=2))
    node.run("rm", "large")
    node.run("get", "large", code=3)
    node.stop()
    node.start()
    assert node.status()["files"] == 2


def test_deleting_when_nothing_can_be_stored(scene):
    mount_small(scene, "24m")
    node = scene.node("disk/a").start()
    stored, number = [], 0
    for size in (3 * MIB, 20000, 100):  # until even those without a blob are refused
        while True:
            number += 1
            assert number < 5000
            paths = [scene.file(f"{size}.{number}.{i}", size, seed=number * 32 + i)
                     for i in range(1 if size > MIB else 32)]
            result = node.run("store", *paths, code=None)
            stored += [line[:64] for line in result.text.splitlines()]
            for path in paths:
                os.unlink(path)
            if result.code != 0:
                assert result.code == 7, result
                break
    wait_until(lambda: os.listdir(os.path.join(node.vault, "tmp")) == [], "no temporary files")
    assert len(stored) > 100
    for key in stored[:40]:
        node.run("rm", key)
        node.run("get", key, code=3)
    for key in stored[40:60]:
        node.run("get", key)
    node.stop()
    node.start()
    node.run("rm", stored[41])
    assert node.status()["files"] == len(stored) - 41


# ---- full, and full no more, without a restart ----

def fill(scene, node, size):
    """Stores files of a size until one is refused; the keys of those that were taken."""
    keys = []
    while True:
        path = scene.file("filling", size, seed=f"{size}/{len(keys)}")
        result = node.run("store", path, "--name", f"{size}/{len(keys)}", code=None)
        if result.code != 0:
            break
        keys.append(result.text[:64])
        assert len(keys) < 2000
    assert result.code == 7 and result.err.count(b"\n") == 1 and result.out == b"", result
    return keys


def all_but_storing_works(scene, node, keys, size):
    refused = scene.file("refused", size, seed="refused")
    node.run("store", refused, code=7)
    status = node.run("status", "--json", code=7).json
    assert status["healthy"] is False and status["problems"][0]["exit"] == 7, status
    for i, key in ((0, keys[0]), (len(keys) - 1, keys[-1])):
        wanted = scene.file("wanted", size, seed=f"{size}/{i}")
        assert node.get(key) == open(wanted, "rb").read()
    assert node.run("ls").text.count("\n") == len(keys)
    assert node.run("verify", "--deep").code == 0
    assert os.listdir(os.path.join(node.vault, "tmp")) == []
    node.run("rm", keys[1])
    node.run("get", keys[1], code=3)
    node.run("restore", keys[1])
    assert node.get(keys[1])
    for key in keys[:len(keys) // 2]:
        node.run("rm", key)
    assert node.run("gc", "--now", "--json").json["garbage_bytes"] >= size * (len(keys) // 2)
    assert node.store(refused) and node.store(scene.file("another", size, seed="another"))
    assert node.status()["healthy"] is True
    assert node.run("verify", "--deep").code == 0
    for key in keys[len(keys) // 2:]:
        assert node.get(key)


def live_through(scene, size):
    node = scene.node("disk/a")
    node.log_path = scene.path("log")  # not on that disk
    node.start()
    keys = fill(scene, node, size)
    assert len(keys) > 6
    st = os.statvfs(node.vault)
    assert st.f_favail >= st.f_files // 20 and st.f_bavail >= st.f_blocks // 40, st
    node.stop()
    node.start()  # with the socket that this takes
    all_but_storing_works(scene, node, keys, size)
    node.stop()
    node.start()
    assert node.run("verify", "--deep").code == 0


def test_full_ext4(scene):
    mount_ext4(scene, 48 * MIB)
    live_through(scene, 2 * MIB)


def test_no_inodes_left(scene):
    mount_small(scene, "64m", ",nr_inodes=400")  # 256 of them are folders
    live_through(scene, 3 * MIB)


def test_too_few_inodes_for_a_vault(scene):
    mount_small(scene, "64m", ",nr_inodes=64")
    node = scene.node("disk/a")
    result = node.run("store", scene.file("f", 100), code=7)
    assert b"storage full" in result.err, result


def test_limit_is_raised_by_a_reload(scene):
    node = scene.node("a")

    def limit_to(mib):
        scene.file(os.path.join(node.vault, "peervault.conf"),
                   content=f"disk_limit = {mib}MiB\n".encode())
        if node.process is not None:
            node.process.send_signal(signal.SIGHUP)
            wait_until(lambda: node.status()["disk_limit"] == mib * MIB, "the reload")

    limit_to(5)
    node.start()
    kept, large = scene.file("kept", 3 * MIB), scene.file("large", 4 * MIB, seed=2)
    node.store(kept)
    node.run("store", large, code=7)
    limit_to(16)
    node.store(large)
    assert "waits for a restart" not in node.log()
    limit_to(2)  # less than is there: that stays
    node.run("store", scene.file("more", MIB, seed=3), code=7)
    assert node.status()["healthy"] is False
    assert node.get("kept") == open(kept, "rb").read()
    node.run("rm", "large")
    node.run("gc", "--now")
    limit_to(5)
    node.store(scene.file("last", 100000, seed=4))
    assert node.status()["healthy"] is True


def test_replicas_for_a_full_disk(scene):
    """A peer that is full refuses, what it has stays good, and it takes the rest when it can."""
    mount = mount_small(scene, "40m")
    full = scene.node("disk/full")
    full.log_path = scene.path("full.log")
    a = scene.node("a").start()
    full.start(peers=[a])
    wait_in_sync([a, full])
    filler = os.path.join(mount, "filler")
    with open(filler, "wb") as f:
        f.write(bytes(20 * MIB))
    files = [scene.file(f"f{i}", 6 * MIB, seed=i) for i in range(4)]
    keys = a.store(*files, "--no-wait")
    wait_until(lambda: full.status()["healthy"] is False, "the disk to be full")
    a.store(scene.file("one more", MIB, seed=9))
    for node in (a, full):
        assert node.run("verify", "--deep").code == 0
        assert node.get(keys[0]) == open(files[0], "rb").read()  # at "full" from a, not kept
    assert os.listdir(os.path.join(full.vault, "tmp")) == []
    os.unlink(filler)
    a.stop()  # whoever was refused offers again after ten minutes, or in the next session
    a.start()
    a.env["PEERVAULT_LISTEN"] = a.address
    full.stop()
    full.start(peers=[a])
    wait_has_blobs([a, full])
    wait_in_sync([a, full])  # the records come after the blobs
    assert full.status()["healthy"] is True
    a.stop()
    for key, path in zip(keys, files):
        assert full.get(key) == open(path, "rb").read()
