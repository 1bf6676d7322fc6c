"""Vaults that earlier versions made (tests/compat/) are opened, checked, read and mended by this one."""
import ctypes
import hashlib
import json
import os
import tarfile

from harness import sha256_of, wait_until

COMPAT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "compat")
# Never changed: an archive that is made anew proves nothing about the vaults that are out there.
FROZEN = {"vault-v1.tar.xz": "b8a7c164294f4ada54cea8ace5f33d9f6f30b736a46d0be1cc427fa3b1c98d72"}


def unpack(scene, archive, name, copy="frozen"):
    """A copy of one vault of an archive, and what its manifest promises."""
    with tarfile.open(os.path.join(COMPAT, archive)) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))["vaults"][name]
        members = [m for m in tar.getmembers() if m.name.split("/")[0] == name]
        for member in members:
            member.name = f"{copy} {archive} {member.name}"
        tar.extractall(scene.dir, members)
    node = scene.node(f"{copy} {archive} {name}")
    node.env = scene.environment()  # the secrets are those of the keyring
    return node, manifest


def every(scene, name, copy="frozen"):
    for archive in sorted(FROZEN):
        yield unpack(scene, archive, name, copy)


def of_state(manifest, *states):
    return [file for file in manifest["files"] if file["state"] in states]


def listed(node, code=0):
    """{key: (length, private, names)} of `ls`."""
    files = {}
    for line in node.run("ls", "--json", code=code).text.splitlines():
        item = json.loads(line)
        file = files.setdefault(item["key"], (item["size"], item["private"], set()))
        if "name" in item or "name_hex" in item:
            file[2].add(item.get("name_hex") or item["name"].encode().hex())
    return files


def promised(files):
    return {f["key"]: (f["length"], f["private"], set(f["names"])) for f in files}


def assert_readable(node, files):
    """By key, and by every name."""
    for file in files:
        for word in [file["key"], *map(bytes.fromhex, file["names"])]:
            content = node.get(word)
            assert len(content) == file["length"], word
            assert hashlib.sha256(content).hexdigest() == file["key"], word


def assert_same_secrets(node, manifest):
    lines = node.run("key", "export").text.splitlines()
    assert dict(line.split("=", 1) for line in lines) == manifest["secrets"]
    assert node.run("id").text.strip() == manifest["node"]


def test_archives_are_never_replaced(scene):
    found = {name for name in os.listdir(COMPAT) if name.startswith("vault-")}
    assert found == set(FROZEN), "each archive is named here with its SHA-256"
    for name, was in FROZEN.items():
        path = os.path.join(COMPAT, name)
        assert os.path.getsize(path) <= 1 << 20
        assert sha256_of(path) == was, \
            f"{name} is not what it was: restore it, and give a new format an archive of its own"


def test_a_whole_vault_opens(scene):
    for node, manifest in every(scene, "whole"):
        live = of_state(manifest, "live")
        assert_same_secrets(node, manifest)
        assert listed(node) == promised(live)
        node.run("verify")
        node.run("verify", "--deep")
        assert_readable(node, live)
        for name, keys in manifest["history"].items():
            lines = node.run("ls", "--json", "--history", bytes.fromhex(name)).text.splitlines()
            past = [json.loads(line)["key"] for line in reversed(lines)]
            assert past[:len(keys)] == keys
        assert node.run("doctor", "--json").json["problems"] == []


def test_what_was_deleted_in_it_comes_back(scene):
    for node, manifest in every(scene, "whole"):
        for file in of_state(manifest, "deleted"):
            node.run("get", file["key"], code=3)
            node.run("restore", file["key"])
        assert listed(node) == promised(manifest["files"])
        assert_readable(node, manifest["files"])
        node.run("gc")
        node.run("verify", "--deep")


def test_it_is_rebuilt_and_goes_on(scene):
    for node, manifest in every(scene, "whole"):
        live = of_state(manifest, "live")
        report = node.run("doctor", "--rebuild", "--json").json
        assert report["gaps"] == report["refused"] == report["bad_files"] == 0
        assert listed(node) == promised(live)
        node.run("verify", "--deep")
        new = scene.file("new", 300000)
        node.start()
        node.store(new)
        assert_readable(node, live)
        node.stop()
        assert node.get("new") == open(new, "rb").read()


def test_a_crashed_vault_opens(scene):
    for node, manifest in every(scene, "crashed"):
        live = of_state(manifest, "live")
        unknown = set(node.blob_files())
        assert os.listdir(os.path.join(node.vault, "tmp")) != []
        assert os.path.getsize(os.path.join(node.vault, "vault.db-wal")) > 0
        assert_same_secrets(node, manifest)
        assert listed(node) == promised(live)
        assert os.listdir(os.path.join(node.vault, "tmp")) == []
        node.run("verify", "--deep")
        assert_readable(node, live)
        node.start()
        wait_until(lambda: unknown - set(node.blob_files()), "the unknown file to go")
        assert node.status()["healthy"] is True
        assert len(unknown - set(node.blob_files())) == 1
        node.stop()
        assert_readable(node, live)


def test_a_crashed_vault_is_rebuilt(scene):
    for node, manifest in every(scene, "crashed"):
        node.run("doctor", "--rebuild")
        assert listed(node) == promised(of_state(manifest, "live"))
        assert_readable(node, of_state(manifest, "live"))
        node.run("verify", "--deep")


def test_a_damaged_vault_gives_what_is_good(scene):
    for node, manifest in every(scene, "damaged"):
        assert listed(node) == promised(manifest["files"])
        assert_readable(node, of_state(manifest, "live"))
        for file in of_state(manifest, "damaged"):
            result = node.run("get", file["key"], code=None)
            assert result.code in (4, 5) and \
                hashlib.sha256(result.out).hexdigest() != file["key"], result
        node.run("verify", "--deep", code=4)
        assert_readable(node, of_state(manifest, "live"))


def test_a_damaged_vault_is_rebuilt(scene):
    for node, manifest in every(scene, "damaged"):
        node.run("doctor", "--rebuild", code=4)
        assert listed(node) == promised(manifest["files"])
        assert_readable(node, of_state(manifest, "live"))
        for file in of_state(manifest, "damaged"):
            assert node.run("get", file["key"], code=None).code in (4, 5)


# ---- paper ----

def test_sheets_of_earlier_versions_are_read(scene):
    """They are in drawers: what was printed once must be understood for ever."""
    sheets = sorted(name for name in os.listdir(COMPAT) if name.startswith("sheet-"))
    assert sheets
    for name in sheets:
        node = scene.node(name)
        node.env = scene.environment()
        node.run("key", "import", "@" + os.path.join(COMPAT, name))
        with open(os.path.join(COMPAT, name)) as f:
            check = [line.strip() for line in f if line.startswith("PEERVAULT_CHECK=")]
        assert check[0] in node.run("key", "export", "--sheet").text.splitlines()


# ---- the other way round ----

def state_of(folder):
    """What is there: content, and when it was written."""
    state = {}
    for at, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(at, name)
            info = os.lstat(path)
            is_file = name in names
            state[path] = (info.st_ino, info.st_mode, is_file and info.st_mtime_ns,
                           is_file and sha256_of(path))
    return state


def make_future(vault):
    """As a later version would leave it: a greater user_version, on a page that is whole."""
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSeed
    xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    with open(os.path.join(vault, "vault.db"), "r+b") as f:
        page = bytearray(f.read(4096))
        page[60:64] = (2).to_bytes(4, "big")
        page[4088:] = xxh3(bytes(page[:4088]), 4088, 1).to_bytes(8, "big")
        f.seek(0)
        f.write(page)


def test_a_vault_of_the_future_is_left_alone(scene):
    node, _ = unpack(scene, sorted(FROZEN)[-1], "whole", "future")
    make_future(node.vault)
    lock = os.path.join(node.vault, "lock")  # the one file that whoever looks may write
    os.remove(lock)
    before = state_of(node.vault)
    file = scene.file("file", 70000)
    for command in (["ls"], ["status"], ["get", "empty"], ["store", file], ["rm", "empty"],
                    ["restore", "deleted"], ["verify", "--repair"], ["gc", "--now"], ["doctor"],
                    ["doctor", "--rebuild"], ["daemon", "--listen", "127.0.0.1:0"]):
        result = node.run(*command, code=1)
        assert b"a later version of peervault wrote this vault" in result.err, result
        assert result.out == b""
        os.remove(lock)
        assert state_of(node.vault) == before, f"{command} changed the vault"
