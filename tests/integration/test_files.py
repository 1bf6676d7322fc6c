"""What one vault does, with and without a daemon: keys, sizes, names, ranges, removal."""
import hashlib
import os
import resource
import subprocess

from harness import Skip, sha256_of, wait_until

MIB = 1 << 20
SIZES = [0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 978943, 978944, 978945, 983031, 983032,
         983033, 5 * MIB + 1]


def round_trip(scene, node, sizes):
    files = [scene.file(f"in/size-{n}", n, seed=n) for n in sizes]
    for path, key in zip(files, node.store(*files)):
        assert key == sha256_of(path), path
        node.run("get", key, "-o", scene.path("out"))
        assert sha256_of(scene.path("out")) == key
        assert os.path.getsize(scene.path("out")) == os.path.getsize(path)


def test_keys_equal_sha256sum_without_a_daemon(scene):
    round_trip(scene, scene.node("a"), SIZES)


def test_keys_equal_sha256sum_through_a_daemon(scene):
    round_trip(scene, scene.node("a").start(), SIZES + [64 * MIB])


def test_sha256sum_checks_what_store_prints(scene):
    names = ["plain", "with space", "new\nline", "back\\slash", "snow ☃ man", "-dash", b"\xff\xfe".decode(
        "utf-8", "surrogateescape")]
    os.mkdir(scene.path("d"))
    for i, name in enumerate(names):
        scene.file(os.path.join(scene.path("d"), name), 1000 + i, seed=i)
    node = scene.node("a").start()
    listed = node.run("store", "--", *names, cwd=scene.path("d"))
    check = subprocess.run(["sha256sum", "-c"], input=listed.out, cwd=scene.path("d"),
                           capture_output=True)
    assert check.returncode == 0, check
    for i, name in enumerate(names):
        with open(os.path.join(scene.path("d"), name), "rb") as f:
            assert node.run("get", "--", name).out == f.read(), name


def test_stdin_and_name(scene):
    node = scene.node("a")
    data = os.urandom(300000)
    line = node.run("store", "-", "--name", "from a pipe", stdin=data).text
    assert line == f"{hashlib.sha256(data).hexdigest()}  -\n"
    assert node.get("from a pipe") == data
    assert node.get(line[:12]) == data
    nameless = node.run("store", "-", stdin=b"nameless").text[:64]
    assert node.get(nameless) == b"nameless"


def test_same_content_is_stored_once(scene):
    node = scene.node("a").start()
    first = scene.file("one", 3 * MIB)
    second = scene.file("two", 3 * MIB)
    key = node.store(first)[0]
    before = node.status()["blob_bytes"]
    assert node.store(second) == [key]
    assert node.status()["blob_bytes"] == before
    assert {e["name"] for e in entries(node)} == {"one", "two"}


def entries(node, *args):
    import json
    return [json.loads(line) for line in node.run("ls", "--json", *args).text.splitlines()
            if '"key"' in line]


def test_private_files_share_nothing(scene):
    node = scene.node("a").start()
    path = scene.file("p", 2 * MIB)
    key = node.store(path, "--private")[0]
    before = node.status()["blob_bytes"]
    assert node.get(key) == open(path, "rb").read()
    scene.file("q", 2 * MIB)
    node.store(scene.path("q"), "--private")
    assert node.status()["blob_bytes"] > before


def test_ranges(scene):
    node = scene.node("a").start()
    path = scene.file("r", 3 * MIB + 17)
    key = node.store(path)[0]
    data = open(path, "rb").read()
    for first, last in [(0, 0), (0, 9), (978940, 978950), (len(data) - 1, len(data) - 1),
                        (1 * MIB, 2 * MIB), (5, 10 * MIB)]:
        assert node.run("get", key, "--range", f"{first}-{last}").out == data[first:last + 1]
    node.run("get", key, "--range", f"{len(data)}-{len(data)}", code=2)
    node.run("get", key, "--range", "9-3", code=2)


def test_names_are_rebound_and_removed(scene):
    node = scene.node("a").start()
    one = node.store(scene.file("x/name", content=b"one"))[0]
    two = node.store(scene.file("y/name", content=b"two"))[0]
    assert node.get("name") == b"two" and node.get(one) == b"one"
    node.run("store", "-", "--name", "other", stdin=b"two")
    node.run("rm", "name")
    assert node.get("other") == b"two"
    node.run("get", "name", code=3)
    node.run("rm", "other")
    node.run("get", two, code=3)
    node.run("rm", two, code=3)
    node.run("rm", one)
    node.run("get", one, code=3)
    assert entries(node) == []
    assert node.store(scene.path("x/name")) == [one]
    assert node.get(one) == b"one"


def test_stat_counts_blobs(scene):
    node = scene.node("a").start()
    key = node.store(scene.file("s", 5 * MIB))[0]
    stat = node.run("stat", key, "--json").json
    assert stat["key"] == key and stat["size"] == 5 * MIB
    assert stat["blobs"] >= 6 and stat["missing_blobs"] == 0 and stat["stored_bytes"] > 5 * MIB
    assert [n["name"] for n in stat["names"]] == ["s"]


def test_every_blob_file_is_named_by_its_sha256(scene):
    node = scene.node("a").start()
    node.store(scene.file("big", 20 * MIB), scene.file("small", 10000))
    node.stop()
    count = 0
    for path in node.blob_files():
        name = os.path.basename(path)
        assert sha256_of(path) == name and os.path.basename(os.path.dirname(path)) == name[:2]
        count += 1
    assert count > 20


def test_the_vault_outlives_the_daemon(scene):
    node = scene.node("a").start()
    key = node.store(scene.file("f", 2 * MIB))[0]
    node.stop()
    data = open(scene.path("f"), "rb").read()
    assert node.get(key) == data
    node.start()
    assert node.get(key) == data
    wait_until(lambda: os.listdir(os.path.join(node.vault, "tmp")) == [], "no temporary files")


def test_five_gibibytes_in_bounded_memory(scene):
    if scene.sanitized:
        raise Skip("takes too long with sanitizers; the release build runs it")
    node = scene.node("a").start()
    path = scene.file("huge", 3 * MIB)
    with open(path, "r+b") as f:  # holes between islands: long, and quick to make
        for i in range(1, 50):
            f.seek(i * 100 * MIB)
            f.write(os.urandom(70000))
        f.truncate(5 << 30)
    before = rss_children_kib()
    key = node.store(path)[0]
    assert key == sha256_of(path)
    node.run("get", key, "-o", scene.path("back"))
    assert sha256_of(scene.path("back")) == key
    assert node.rss_peak_kib() <= 128 * 1024, node.rss_peak_kib()
    assert max(before, rss_children_kib()) <= 128 * 1024


def rss_children_kib():
    """The largest peak of any command run so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
