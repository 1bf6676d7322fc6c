"""File systems on loop devices whose power can be cut.

The image lies in memory, so that a run costs no real disk. ext4 without auto_da_alloc, which hides
missing syncs, and XFS. A cut is the ioctl that shuts a file system down without writing anything more,
not even its log: as a loss of power, but that the disk itself keeps what it was given.
"""
import fcntl
import os
import shutil
import struct
import subprocess

from harness import Skip

KINDS = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
         "xfs": ["mkfs.xfs", "-q", "-K"]}
OPTIONS = {"ext4": "noauto_da_alloc", "xfs": "nouuid"}
SIZE = 320 << 20  # the least that XFS takes, about
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


class Disk:
    """A mounted file system in scene.path(name)."""

    def __init__(self, scene, kind, name="disk", image=None):
        self.scene, self.kind, self.folder = scene, kind, scene.path(name)
        self.image = image or os.path.join(memory_folder(scene), name)
        self.mounted = False
        os.makedirs(self.folder, exist_ok=True)
        scene.cleanups.append(self.unmount)

    def format(self):
        if shutil.which(KINDS[self.kind][0], path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            raise Skip(f"no {KINDS[self.kind][0]}")
        with open(self.image, "wb") as f:
            f.truncate(SIZE)
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
