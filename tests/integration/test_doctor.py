"""vault.db lost or damaged, and made anew from what is left."""
import os
import re
import shutil

from harness import cluster, wait_has_blobs, wait_in_sync, wait_until

MIB = 1 << 20
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIZES = [0, 10, 3000, 20000, 70000, 300000, 3 * MIB]


def fill(scene, node, count=21):
    """Files of all kinds; what each name means."""
    contents = {}
    for i in range(count):
        path = scene.file(f"file {i}", SIZES[i % len(SIZES)] + (i if i >= len(SIZES) else 0), seed=i)
        contents[os.path.basename(path)] = open(path, "rb").read()
    node.run("store", *[scene.path(name) for name in contents])
    return contents


def assert_all(node, contents):
    for name, data in contents.items():
        assert node.get(name) == data, name


def rot(path, pages):
    with open(path, "r+b") as f:
        for page in pages:
            f.seek(page * 4096 + 1000)
            f.write(b"rot" * 50)


def db(node):
    return os.path.join(node.vault, "vault.db")


def test_rebuild_of_a_whole_vault_changes_nothing(scene):
    node = scene.node("a")
    contents = fill(scene, node)
    node.run("store", scene.path("file 3"), "--name", "second name")
    node.run("rm", "file 5")
    del contents["file 5"]
    before = node.run("ls", "--json").text.splitlines()
    report = node.run("doctor", "--rebuild", "--json").json
    assert report["files"] == len({bytes(c) for c in contents.values()})
    assert report["gaps"] == 0 and report["bad_files"] == 0 and report["refused"] == 0
    assert sorted(node.run("ls", "--json").text.splitlines()) == sorted(before)
    assert_all(node, contents)
    node.run("get", "file 5", code=3)
    node.run("verify", "--deep")
    assert any("vault.db.lost" in n for n in os.listdir(os.path.join(node.vault, "quarantine")))
    node.run("gc", code=4)  # what vault.db forgot might still be wanted
    node.run("gc", "--now")
    assert_all(node, contents)


def test_rebuild_around_damaged_pages(scene):
    node = scene.node("a")
    contents = fill(scene, node, 42)
    pages = os.path.getsize(db(node)) // 4096
    rot(db(node), [0] + [p for p in range(5, pages, 40)])
    result = node.run("ls", code=4)
    assert "doctor --rebuild" in result.err.decode()
    node.run("doctor", "--rebuild", code=4)
    listed = node.run("ls", "--json").text.splitlines()
    assert len(listed) > len(contents) * 2 // 3
    whole = sum(node.run("get", name, code=None).out == data for name, data in contents.items())
    assert whole > len(contents) // 2
    for name, data in contents.items():
        result = node.run("get", name, code=None)
        assert result.code != 0 or result.out == data, f"wrong bytes of {name}"


def back_up(node):
    """Runs until the backups are there; then all of vault.db is lost."""
    node.start()
    wait_until(lambda: os.path.exists(os.path.join(node.vault, "small.bak")), "small.bak")
    node.stop()
    for name in os.listdir(node.vault):
        if name.startswith("vault.db"):
            os.remove(os.path.join(node.vault, name))


def test_rebuild_from_backups_brings_everything_back(scene):
    node = scene.node("a")
    contents = fill(scene, node)
    back_up(node)
    node.run("doctor", "--rebuild")
    assert_all(node, contents)
    node.run("verify", "--deep")


def test_rebuild_from_records_bak_alone(scene):
    node = scene.node("a")
    contents = fill(scene, node)
    back_up(node)
    os.remove(os.path.join(node.vault, "small.bak"))
    node.run("doctor", "--rebuild")
    assert len(node.run("ls", "--json").text.splitlines()) == len(contents)
    for name, data in contents.items():
        if len(data) <= 4096:  # in its record
            assert node.get(name) == data
        elif len(data) < 65536:  # its blob was a row of vault.db, and went with it
            node.run("get", name, code=5)
        elif len(data) < 80000:  # one blob, a file
            assert node.get(name) == data


def test_a_rebuild_that_was_cut_short_goes_on(scene):
    """By a power cut at any of its steps; until then nobody takes the rest for the whole vault."""
    aside = [("vault.db-wal", "vault.db.lost-wal"), ("vault.db", "vault.db.lost")]
    for steps in range(1, 4):
        node = scene.node(f"cut {steps}")
        contents = fill(scene, node, 7)
        node.start()
        late = scene.file(f"late {steps}", 5000, seed="late")
        node.store(late)  # is in the log only
        node.kill()
        contents[os.path.basename(late)] = open(late, "rb").read()
        for old, new in aside[:steps]:
            os.rename(os.path.join(node.vault, old), os.path.join(node.vault, new))
        if steps >= 3:  # and a new one was begun
            beginning = scene.node("beginning")
            beginning.run("store", late)
            shutil.copy(os.path.join(beginning.vault, "vault.db"), node.vault)
        for command in (["ls"], ["get", "file 2"], ["gc", "--now"], ["status"]):
            result = node.run(*command, code=4)
            assert b"was cut short: `peervault doctor --rebuild`" in result.err, result
        node.run("doctor", "--rebuild")
        assert_all(node, contents)
        node.run("verify", "--deep")
        assert not any("lost" in name for name in os.listdir(node.vault))


def test_rebuild_is_refused_beside_a_daemon(scene):
    node, = cluster(scene, "a")
    result = node.run("doctor", "--rebuild", code=5)
    assert b"in use by process" in result.err


def test_rebuild_and_peers_give_everything_back(scene):
    a, b = cluster(scene, "ab")
    contents = fill(scene, a)
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    b.stop()
    for name in os.listdir(b.vault):
        if name.startswith("vault.db") or name.endswith(".bak"):
            os.remove(os.path.join(b.vault, name))
    b.run("doctor", "--rebuild")
    b.start(peers=[a])
    wait_in_sync(scene.nodes)
    wait_has_blobs(scene.nodes)
    fetched = b.status()["peers"][0]["in_bytes"]
    big = sum(len(c) for c in contents.values() if len(c) >= 70000)
    assert fetched < big / 2, "blob files that were here came over the network again"
    a.kill()
    assert_all(b, contents)


def test_doctor_prints_every_limit(scene):
    node = scene.node("a")
    with open(os.path.join(ROOT, "internal/base/limits.h")) as f:
        names = re.findall(r"^    X\((\w+),", f.read(), re.M)
    limits = node.run("doctor", "--limits", "--json").json["limits"]
    assert [l["name"] for l in limits] == names and len(names) > 40, limits
    assert all(l["unit"] and l["at_limit"] and l["value"] >= 0 for l in limits)
    lines = node.run("doctor", "--limits").text.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert not os.path.exists(node.vault), "it needs no vault, and makes none"


def test_doctor_says_what_to_look_at(scene):
    a, b = cluster(scene, "ab")
    fill(scene, a, 7)
    wait_has_blobs(scene.nodes)
    assert a.run("doctor", "--json").json["problems"] == []
    b.stop()
    wait_until(lambda: a.status()["connected"] == 0, "the loss of the peer to be noticed")
    look = "\n".join(a.run("doctor", "--json").json["look"])
    assert "0 of 1 other members are connected" in look
    result = b.run("doctor")
    assert b"no daemon runs" in result.err
    shutil.rmtree(os.path.join(a.vault, "tmp"))
    result = a.run("doctor", code=1)
    assert b"cannot be written" in result.err
    os.mkdir(os.path.join(a.vault, "tmp"))
