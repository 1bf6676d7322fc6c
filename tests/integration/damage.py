"""A small vault with a bit of everything, damaged copies of it, and what those still give."""
import ctypes
import ctypes.util
import os
import shutil
import struct
import tempfile

from harness import DEADLINE_S, Skip, wait_until

PAGE_LEN = 4096
SIZES = {"empty": 0, "tiny": 10, "inline": 3000, "small": 20000, "single": 70000, "large": 2500000}
LOGGED = {"log-inline": 200, "log-small": 9000, "log-single": 80000}
SETTINGS = b"# settings\nreplicas = 2\nlisten = 127.0.0.1:0\ngc_grace = 7d\n"


class Sample:
    """
    Two folders, made by the program: `base`, closed in good order, and `killed`, whose process was
    killed when the log held the files LOGGED and vault.db did not. Copies are damaged, not they.
    """

    def __init__(self, scene, name="sample", **secrets):
        self.scene = scene
        self.node = scene.node(name, **secrets)
        self.folder = scratch(scene)
        self.contents = {}
        self.store(SIZES)
        self.node.run("store", scene.path("inline"), "--name", "tiny")  # tiny has a history
        self.contents["tiny"] = self.contents["inline"]
        self.node.run("store", scene.path("small"), "--name", "gone")
        self.node.run("rm", "gone")
        scene.file(os.path.join(self.node.vault, "peervault.conf"), content=SETTINGS)
        self.save_records()
        self.base = self.keep("base")
        self.base_contents = dict(self.contents)
        self.killed = self.kill_with_a_log()

    def store(self, sizes):
        for name, size in sizes.items():
            path = self.scene.file(name, size, seed=self.node.name + name)
            with open(path, "rb") as f:
                self.contents[name] = f.read()
        self.node.run("store", *[self.scene.path(name) for name in sizes])

    def save_records(self):
        self.node.start()
        wait_until(lambda: os.path.exists(os.path.join(self.node.vault, "records.bak")), "records.bak")
        self.node.stop()

    def kill_with_a_log(self):
        """The log is moved into vault.db when a second passes without work: then once more."""
        log = os.path.join(self.node.vault, "vault.db-wal")
        while True:
            self.node.start()
            self.store(LOGGED)
            self.node.kill()
            os.unlink(os.path.join(self.node.vault, "control.sock"))
            if os.path.getsize(log) > 10 * PAGE_LEN:
                return self.keep("killed")

    def keep(self, name):
        return shutil.copytree(self.node.vault, os.path.join(self.folder, name))

    def copy(self, killed=False):
        work = os.path.join(self.folder, "work")
        if os.path.isdir(work) and not os.path.islink(work):
            shutil.rmtree(work)
        elif os.path.lexists(work):
            os.unlink(work)
        return Copy(self, shutil.copytree(self.killed if killed else self.base, work),
                    self.contents if killed else self.base_contents)


class Copy:
    """One vault to be damaged."""

    def __init__(self, sample, vault, contents):
        self.sample, self.vault, self.contents = sample, vault, contents
        self.preexec = self.program = None

    def path(self, *parts):
        return os.path.join(self.vault, *parts)

    def blobs(self):
        """Blob files: those of `large`, and last the one of `single`."""
        return blob_files(self.vault)

    def drop_privileges(self):
        """From here on somebody who is not root has the vault and runs the program."""
        if os.geteuid() != 0:
            return
        for folder, folders, names in os.walk(self.vault):
            for name in [".", *folders, *names]:
                os.chown(os.path.join(folder, name), 65534, 65534)

        def drop():
            os.setgid(65534)
            os.setuid(65534)
        self.preexec = drop
        os.chmod(self.sample.scene.dir, 0o755)
        os.chmod(self.sample.scene.reports, 0o777)
        program = os.path.join(self.sample.folder, "program")  # its own folder may be closed to them
        if not os.path.exists(program):
            shutil.copy(self.sample.scene.program, program)
        self.program = program

    def run(self, *args, code=None):
        scene = self.sample.scene
        result = scene.run("--vault", self.vault, *args, env=scene.environment(), code=code,
                           preexec=self.preexec, program=self.program, timeout=DEADLINE_S)
        assert 0 <= result.code <= 7, f"a crash: {result}"
        scene.check_reports()
        return result

    def get(self, code=None):
        """Gets all files: the result and the names that came. Wrong bytes never come."""
        out = os.path.join(self.sample.folder, "out")
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        os.chmod(out, 0o777)
        result = self.run("get", "-r", "-o", out, code=code)
        came = set(os.listdir(out))
        for name in came:
            with open(os.path.join(out, name), "rb") as f:
                assert f.read() == self.contents.get(name), f"wrong bytes of {name}: {result}"
        return result, came


def scratch(scene):
    """A folder for copies: in memory if there is such a file system, where a sync costs nothing."""
    shared = "/dev/shm"
    folder = tempfile.mkdtemp(prefix="pv-test-", dir=shared if os.access(shared, os.W_OK) else None)
    scene.cleanups.append(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.chmod(folder, 0o755)
    return folder


def blob_files(vault):
    """The largest first."""
    found = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(vault, "blobs"))
             for name in names]
    return sorted(found, key=lambda path: (-os.path.getsize(path), path))


def flip(path, at, mask=1):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ mask]))


def free_pages(path):
    """Numbers of the pages of vault.db that nothing is on (SQLite's list of free pages)."""
    with open(path, "rb") as f:
        db = f.read()
    free, trunk = set(), struct.unpack_from(">I", db, 32)[0]
    while trunk != 0:
        at = (trunk - 1) * PAGE_LEN
        trunk, count = struct.unpack_from(">II", db, at)
        free.update(struct.unpack_from(f">{count}I", db, at + 8))
    return free


def change_page(path, number, at, new):
    """Writes into a page of vault.db and makes its sum fit, as a program of ours would."""
    name = ctypes.util.find_library("xxhash")
    if name is None:
        raise Skip("no libxxhash")
    xxh3 = ctypes.CDLL(name).XXH3_64bits_withSeed
    xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    with open(path, "r+b") as f:
        f.seek((number - 1) * PAGE_LEN)
        page = bytearray(f.read(PAGE_LEN - 8))
        page[at:at + len(new)] = new
        f.seek((number - 1) * PAGE_LEN)
        f.write(page + struct.pack(">Q", xxh3(bytes(page), len(page), number)))
