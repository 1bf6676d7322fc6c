"""File systems on loop devices whose power can be cut.

The image lies in memory, so that a run costs no real disk. ext4 without auto_da_alloc, which hides
missing syncs, and XFS. A cut is the ioctl that shuts a file system down without writing anything more,
not even its log: as a loss of power, but that the disk itself keeps what it was given.

A recorded disk remembers every write and flush in order. From that come all the disks that a loss of
power at any moment could have left: what was written before the last flush is there, of what came after
it any part, sector by sector.
"""
import fcntl
import mmap
import os
import shutil
import struct
import subprocess

from harness import Skip

KINDS = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
         "xfs": ["mkfs.xfs", "-q", "-K"]}
OPTIONS = {"ext4": "noauto_da_alloc", "xfs": "nouuid"}
SIZE = 320 << 20  # the least that XFS takes, about; a log of a vault is moved at a 64th of it
SECTOR = 512
SHUTDOWN, NO_LOG = 0x8004587d, struct.pack("I", 2)  # _IOR('X', 125, u32)


def must(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def memory_folder(scene):
    """A tmpfs for images."""
    folder = scene.path("memory")
    if not os.path.isdir(folder):
        os.mkdir(folder)
        try:
            must("mount", "-t", "tmpfs", "tmpfs", folder)
        except (OSError, subprocess.CalledProcessError):
            raise Skip("cannot mount a tmpfs") from None
        scene.cleanups.append(lambda: subprocess.run(["umount", "-l", folder], check=False))
    return folder


def tool(scene, name, *flags):
    """Compiles tests/fault/name.c."""
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fault", name)
    target = scene.path(name)
    if not os.path.exists(target):
        must(os.environ.get("CC", "cc"), "-O2", *flags, "-o", target, source + ".c")
    return target


class Disk:
    """A mounted file system in scene.path(name)."""

    def __init__(self, scene, kind, name="disk", image=None):
        self.scene, self.kind, self.folder = scene, kind, scene.path(name)
        self.image = image or os.path.join(memory_folder(scene), name)
        self.mounted = False
        os.makedirs(self.folder, exist_ok=True)
        scene.cleanups.append(self.unmount)

    def format(self, size=SIZE):
        if shutil.which(KINDS[self.kind][0], path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            raise Skip(f"no {KINDS[self.kind][0]}")
        with open(self.image, "wb") as f:
            f.truncate(size)
        must(*KINDS[self.kind], self.image)
        return self

    def mount(self, source=None):
        """Replays the log of the file system."""
        try:
            must("mount", "-t", self.kind, "-o", "loop," + OPTIONS[self.kind],
                 source or self.image, self.folder)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Skip(f"cannot mount {self.kind} on a loop device") from error
        self.mounted = True
        return self

    def cut(self):
        """From here on nothing reaches the disk."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, NO_LOG)
        finally:
            os.close(fd)

    def unmount(self):
        if self.mounted:
            must("umount", self.folder)
            self.mounted = False


class RecordedDisk(Disk):
    """One whose writes go through tests/fault/blocklog."""

    def __init__(self, scene, kind):
        super().__init__(scene, kind)
        self.log, self.process = self.image + ".log", None

    def mount(self):
        if not os.path.exists("/dev/fuse"):
            raise Skip("no /dev/fuse")
        self.process = subprocess.Popen([tool(self.scene, "blocklog"), self.image, self.log],
                                        stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"serving\n":
            raise Skip("cannot mount FUSE")
        return super().mount()

    def unmount(self):
        super().unmount()
        if self.process is not None:
            must("umount", self.image)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def position(self):
        return os.path.getsize(self.log)

    def records(self):
        """(offset on the disk, length, place of the bytes in the log, end in the log); a flush: length 0."""
        with open(self.log, "rb") as f:
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        found, at = [], 0
        while at < len(data):
            offset, length = struct.unpack_from("QQ", data, at)
            found.append((offset, length, at + 16, at + 16 + length))
            at += 16 + length
        return data, found

    def states(self, rng, count, since, until):
        """Disks after a loss of power: (position in the log, path of an image), by position."""
        data, records = self.records()
        chosen = sorted(rng.choices([i for i, r in enumerate(records) if since <= r[3] <= until], k=count))
        durable, state = self.image + ".durable", self.image + ".state"
        must("cp", "--sparse=auto", self.image, durable)
        done = flushed = 0
        for last in chosen:
            flushed = max([i for i in range(flushed, last + 1) if records[i][1] == 0], default=flushed)
            with open(durable, "r+b") as f:
                for offset, length, at, _ in records[done:flushed]:
                    os.pwrite(f.fileno(), data[at:at + length], offset)
            done = flushed
            must("cp", "--sparse=auto", durable, state)
            with open(state, "r+b") as f:
                write_some(f.fileno(), data, records[done:last + 1], rng)
            yield records[last][3], state


def write_some(fd, data, records, rng):
    """What the disk may have kept of what was not flushed: nothing, all, some writes, some sectors."""
    whole, kept = rng.random() < 0.5, rng.choice([0, 0.1, 0.5, 0.9, 1])
    for offset, length, at, _ in records:
        step = length if whole else SECTOR
        for i in range(0, length, max(step, 1)):
            if rng.random() < kept:
                os.pwrite(fd, data[at + i:at + min(i + step, length)], offset + i)
