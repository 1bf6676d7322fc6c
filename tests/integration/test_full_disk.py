"""A disk without room: everything can still be read, deletions go on, nothing is lost."""
import os
import subprocess

from harness import Skip, wait_until

MIB = 1 << 20


def mount_small(scene, size):
    mount = scene.path("disk")
    os.mkdir(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount],
                      capture_output=True).returncode != 0:
        raise Skip("cannot mount a tmpfs")
    scene.cleanups.append(lambda: subprocess.run(["umount", "-l", mount]))
    return mount


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
