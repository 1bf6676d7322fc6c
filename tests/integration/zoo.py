"""The damages of test_zoo.py: each takes a Copy and leaves it damaged."""
import os
import shutil
import socket
import struct

from damage import PAGE_LEN, blob_files, change_page

SECRETS = "keyring", "identity"


def write(name, content, mode=0o600):
    def damage(vault):
        remove(vault.path(name))
        with open(vault.path(name), "wb") as f:
            f.write(content)
        os.chmod(vault.path(name), mode)
    return damage


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def gone(*names):
    return lambda vault: [remove(vault.path(name)) for name in names]


def cut(name, part):
    """To so many bytes; negative: so many fewer; a fraction: so much of it."""
    def damage(vault):
        size = os.path.getsize(vault.path(name))
        os.truncate(vault.path(name), int(size * part) if isinstance(part, float) else
                    size + part if part < 0 else part)
    return damage


def zeros(name, start=0, end=None):
    def damage(vault):
        size = os.path.getsize(vault.path(name))
        with open(vault.path(name), "r+b") as f:
            f.seek(start)
            f.write(bytes((size if end is None else end) - start))
    return damage


def mode(name, bits):
    return lambda vault: os.chmod(vault.path(name), bits)


def become(name, kind):
    """Something that is no file lies in its place; a link leads to what it was."""
    def damage(vault):
        path = vault.path(name)
        kept = path + ".kept"
        if kind == "link":
            os.rename(path, kept)
            os.symlink(kept, path)
            return
        remove(path)
        if kind == "folder":
            os.mkdir(path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as s:
                short = os.path.join(vault.sample.folder, "s")
                remove(short)
                s.bind(short)
                os.rename(short, path)
        elif kind == "file":
            write(name, b"a file\n")(vault)
    return damage


def from_another(*names):
    """What lies in another vault, of other secrets, under the same names."""
    def damage(vault):
        for name in names:
            remove(vault.path(name))
            source = os.path.join(vault.other.base, name)
            if os.path.isdir(source):
                shutil.copytree(source, vault.path(name))
            else:
                shutil.copy(source, vault.path(name))
    return damage


def blob(number, damage, *args):
    """The same for a blob file: 0.. are of `large`, -1 is of `single`."""
    def on_blob(vault):
        damage(os.path.relpath(vault.blobs()[number], vault.vault), *args)(vault)
    return on_blob


def longer(name):
    def damage(vault):
        with open(vault.path(name), "ab") as f:
            f.write(b"\0")
    return damage


def swap_blobs(vault):
    one, other = vault.blobs()[0], vault.blobs()[1]
    os.rename(one, one + ".kept")
    os.rename(other, one)
    os.rename(one + ".kept", other)


def blob_of_another(vault):
    shutil.copy(blob_files(vault.other.base)[0], vault.blobs()[0])


def link_to_other_blob(vault):
    one, other = vault.blobs()[:2]
    os.unlink(one)
    os.symlink(other, one)


def hard_link(vault):
    os.link(vault.blobs()[0], vault.path("other name"))


def upper_case(vault):
    path = vault.blobs()[0]
    os.rename(path, os.path.join(os.path.dirname(path), os.path.basename(path).upper()))


def wrong_folder(vault):
    path = vault.blobs()[0]
    folder = "00" if os.path.basename(path)[:2] != "00" else "01"
    os.rename(path, vault.path("blobs", folder, os.path.basename(path)))


def folder_of_blob(vault):
    return os.path.relpath(os.path.dirname(vault.blobs()[0]), vault.vault)


def blob_folder(damage, *args):
    return lambda vault: damage(folder_of_blob(vault), *args)(vault)


def strangers(vault):
    """What people and programs leave lying about."""
    write("blobs/00/.DS_Store", b"x")(vault)
    write("blobs/notes.txt", b"x")(vault)
    write("blobs/00/" + "00" * 31, b"x")(vault)
    os.mkdir(vault.path("blobs", "00", "folder"))
    write("tmp/left over", b"x")(vault)
    os.mkdir(vault.path("tmp", "folder"))
    write("quarantine/old", b"x")(vault)
    write("keyring.tmp", b"half")(vault)
    write("README", b"mine")(vault)


def unknown_files(count):
    def damage(vault):
        for i in range(count):
            write(f"blobs/00/00{i:062x}", b"who knows")(vault)
    return damage


def set_header(at, value):
    """A number in the header of vault.db, as another program would have written it."""
    return lambda vault: change_page(vault.path("vault.db"), 1, at, struct.pack(">I", value))


def swap_pages(vault):
    with open(vault.path("vault.db"), "r+b") as f:
        f.seek(3 * PAGE_LEN)
        pages = f.read(2 * PAGE_LEN)
        f.seek(3 * PAGE_LEN)
        f.write(pages[PAGE_LEN:] + pages[:PAGE_LEN])


def older_database(vault):
    """Yesterday's vault.db and log with today's blob files."""
    for name in ("vault.db", "vault.db-wal"):
        shutil.copy(os.path.join(vault.sample.base, name), vault.path(name))


def put_aside(*names):
    def damage(vault):
        for name in names:
            os.rename(vault.path(name), vault.path(name.replace("vault.db", "vault.db.lost")))
    return damage


def rebuild_begun(vault):
    """doctor --rebuild was killed when it had put the old one aside and made a new one."""
    put_aside("vault.db-wal", "vault.db")(vault)
    shutil.copy(os.path.join(vault.other.base, "vault.db"), vault.path("vault.db"))


def log_of_another(vault):
    shutil.copy(os.path.join(vault.other.killed, "vault.db-wal"), vault.path("vault.db-wal"))


def socket_left(vault):
    become("control.sock", "socket")(vault)


def vault_becomes(kind):
    def damage(vault):
        real = vault.vault + ".real"
        remove(real)
        os.rename(vault.vault, real)
        if kind == "file":
            with open(vault.vault, "w", encoding="ascii"):
                pass
        elif kind != "nothing":
            os.symlink(real if kind == "link" else "/no/such/place", vault.vault)
    return damage


def unreadable_blob(vault):
    unreadable(os.path.relpath(vault.blobs()[0], vault.vault))(vault)

def unreadable(name):
    """By whoever runs the program: a root of this machine becomes somebody else."""
    def damage(vault):
        vault.drop_privileges()
        os.chmod(vault.path(name), 0)
    return damage
