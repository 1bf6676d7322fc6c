"""Damaged vaults, each with its exact outcome: what opening, looking and getting say, and the cure.

A row is one animal: its name, what was done to a copy of a small vault (zoo.py), and what comes of
it. An outcome is an exit code and a pattern that its lines have. `opening` is that of everything
that opens the vault, where it cannot be opened. `lost` names the files that do not come, `still`
those that do not come after the cure either, and wrong bytes never do (damage.py).
"""
import os
import re

from damage import LOGGED, SIZES, Sample
from zoo import (SECRETS, become, blob, blob_folder, blob_of_another, cut, from_another, gone,
                 hard_link, link_to_other_blob, log_of_another, longer, mode, older_database,
                 put_aside, rebuild_begun, remove, set_header, socket_left, strangers, swap_blobs,
                 swap_pages, unknown_files, unreadable, unreadable_blob, upper_case, vault_becomes,
                 write, wrong_folder, zeros)

REPAIR, REBUILD = "verify --deep --repair", "doctor --rebuild"
ALL, LOG = " ".join(SIZES), " ".join(LOGGED)
SINGLE_BLOBS = "large single"
DB_DAMAGED = "4 vault.db is damaged: `peervault doctor --rebuild` makes it anew from what is left$"
CUT_SHORT = "4 was cut short: `peervault doctor --rebuild` goes on with it"
PLACES = "4 {} places of the old vault.db could not be read: what stood there alone is lost here"
NO_COPY = "5 of this file is on no reachable node: try again when more peers are connected"
BACKUP = ": put it back from a backup$"
NO_VAULT = "3 no vault at .*: make one with `peervault init`$"


def bad_blob(name, damage, cause, lost="large", count=1, **more):
    return dict(name=name, damage=damage, get="4 is corrupt, and no good copy is within reach",
                lost=lost, verify=f"4 blob .*: {cause}", deep=f"4 {count} blobs are bad or missing: try "
                "`peervault verify --repair`$", cure=REPAIR, cured=f"4 {count} blobs are bad or "
                "missing: start the nodes that have copies", after=NO_COPY, still=lost) | more


def bad_db(name, damage, cured=PLACES.format(1), **more):
    """From vault.db, its two backups, and the blob files all comes back."""
    return dict(name=name, damage=damage, opening=DB_DAMAGED, cure=REBUILD, cured=cured) | more


def short_log(name, damage, lost=LOG, **more):
    """The commits from there on are lost, and with them what they stored. Nobody can tell."""
    return dict(name=name, damage=damage, killed=True, lost=lost) | more


def bad_backup(name, damage, **more):
    return dict(name=name, damage=damage, deep="4 a backup of vault.db is damaged: `peervault verify "
                "--deep --repair` writes it anew$", cure=REPAIR, cured="0 records.bak: .*: repaired") | more


def refused(name, damage, opening):
    return dict(name=name, damage=damage, opening=opening)


def harmless(name, damage, **more):
    return dict(name=name, damage=damage) | more


BLOBS = [
    harmless("a vault that is well", lambda vault: None, verify="0", cure=REBUILD),
    bad_blob("a blob file is empty", blob(0, cut, 0), "the length is wrong"),
    bad_blob("a blob file lacks its last byte", blob(0, cut, -1), "the length is wrong"),
    bad_blob("a blob file has a byte more", blob(0, longer), "the length is wrong"),
    bad_blob("a blob file is zeros", blob(0, zeros), "", verify="0"),
    bad_blob("a blob file is gone", blob(0, gone), "the bytes are missing"),
    bad_blob("the blob of a small file is gone", blob(-1, gone), "the bytes are missing", "single"),
    bad_blob("two blob files changed places", swap_blobs, "the length is wrong", count=2),
    bad_blob("a link to a good copy", blob(0, become, "link"), "something that is no file"),
    bad_blob("a link to another blob", link_to_other_blob, "something that is no file"),
    bad_blob("a pipe", blob(0, become, "fifo"), "something that is no file"),
    bad_blob("a folder", blob(0, become, "folder"), "something that is no file"),
    bad_blob("a socket", blob(0, become, "socket"), "something that is no file"),
    bad_blob("a blob of another vault", blob_of_another, "the (length is|bytes are) wrong",
             verify=None),
    bad_blob("a name in upper case", upper_case, "the bytes are missing"),
    bad_blob("in another blob's folder", wrong_folder, "the bytes are missing"),
    bad_blob("a file that may not be read", unreadable_blob, "the disk refuses to read it",
             after="4 is corrupt, and no good copy is within reach"),
    bad_blob("the blob files of another vault", from_another("blobs"), "the bytes are missing",
             SINGLE_BLOBS, r"\d"),
    bad_blob("no blob files", gone("blobs"), "the bytes are missing", SINGLE_BLOBS, r"\d"),
    bad_blob("a folder of blobs is a file", blob_folder(become, "file"), "the bytes are missing",
             count=r"\d"),
    bad_blob("a folder of blobs is gone", blob_folder(gone), "the bytes are missing", count=r"\d"),
    harmless("a blob file has a second name", hard_link),
    harmless("what others leave lying about", strangers, cure=REBUILD),
    harmless("128 unknown blob files", unknown_files(128), cure=REBUILD,
             cured="4 128 blob files are not what their names say: they are left where they are"),
]

FOLDERS = [
    refused("blobs is a file", become("blobs", "file"), "1 /blobs is no folder"),
    refused("blobs is a link", become("blobs", "link"), "1 /blobs is no folder"),
    refused("tmp is a file", become("tmp", "file"), "1 /tmp is no folder"),
    refused("tmp is a link", become("tmp", "link"), "1 /tmp is no folder"),
    refused("quarantine is a file", become("quarantine", "file"), "1 /quarantine is no folder"),
    harmless("no tmp", gone("tmp")),
    harmless("no quarantine", gone("quarantine")),
    refused("an empty folder", lambda vault: [remove(vault.path(n)) for n in os.listdir(vault.vault)],
            NO_VAULT),
    refused("no folder", vault_becomes("nothing"), NO_VAULT),
    refused("the vault is a file", vault_becomes("file"), "1 is not a folder: move it away"),
    refused("the vault is a link to nowhere", vault_becomes("dangling"), "[13] "),
    harmless("the vault is a link to a vault", vault_becomes("link")),
]

DATABASE = [
    bad_db("no vault.db", gone("vault.db"), "0"),
    bad_db("no vault.db and no log", gone("vault.db", "vault.db-wal"), "0"),
    bad_db("vault.db is empty", cut("vault.db", 0), "4 places of the old vault.db"),
    bad_db("one page of vault.db", cut("vault.db", 4096)),
    bad_db("half of vault.db", cut("vault.db", 0.5)),
    bad_db("the first page is zeros", zeros("vault.db", 0, 4096)),
    bad_db("vault.db is zeros", zeros("vault.db")),
    bad_db("vault.db is a text", write("vault.db", b"hello\n" * 1000)),
    bad_db("vault.db is a folder", become("vault.db", "folder"), PLACES.format(2)),
    bad_db("vault.db is a pipe", become("vault.db", "fifo"), PLACES.format(2)),
    bad_db("vault.db is a link to it", become("vault.db", "link"), PLACES.format(2)),
    bad_db("two pages changed places", swap_pages),
    bad_db("of an earlier version", set_header(60, 0), "0"),
    bad_db("of another program", set_header(68, 7), "0"),
    bad_db("with pages of another length", set_header(16, 0x02000202)),
    refused("of a later version", set_header(60, 2), "1 a later version of peervault wrote this vault"),
    refused("may not be read", unreadable("vault.db"), "6 cannot open the vault: denied"),
    harmless("of another vault", from_another("vault.db", "vault.db-wal"), lost=ALL,
             get="3 records cannot be read: names may be missing",
             deep=r"4 \d blobs are bad or missing", cure=REBUILD,
             after="0 names may be missing"),
    harmless("a journal beside it", write("vault.db-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 600)),
    bad_db("put aside by a rebuild", put_aside("vault.db-wal", "vault.db"), "0", opening=CUT_SHORT),
    bad_db("only the log put aside", put_aside("vault.db-wal"), "0", opening=CUT_SHORT),
    bad_db("a rebuild that has begun", rebuild_begun, "0", opening=CUT_SHORT),
]

LOGS = [
    short_log("half of the log", cut("vault.db-wal", 0.5), None),
    short_log("the log is empty", cut("vault.db-wal", 0)),
    short_log("no log", gone("vault.db-wal")),
    short_log("the log is zeros", zeros("vault.db-wal")),
    short_log("the log has no beginning", zeros("vault.db-wal", 0, 32)),
    short_log("the log has a hole", zeros("vault.db-wal", 30000, 35000), None),
    short_log("the log is a text", write("vault.db-wal", b"hello\n" * 9000)),
    short_log("vault.db of yesterday", older_database),
    bad_db("the log without its vault.db", gone("vault.db"), "0", killed=True, still=None,
           after="[05] "),
    bad_db("the log of an empty vault.db", cut("vault.db", 0), "4 places", killed=True, still=None,
           after="[05] "),
    # Its pages are good ones, of the same numbers: what comes of the mixture is chance.
    harmless("the log of another vault", log_of_another, get="[345] ", lost=None, deep="4 ",
             doctor="[04] ", cure=REBUILD, cured="[04] ", after="[045] ", still=None),
    bad_db("the log is a folder", become("vault.db-wal", "folder")),
    bad_db("the log is a pipe", become("vault.db-wal", "fifo")),
    bad_db("the log is a link", become("vault.db-wal", "link")),
]

KEYS = [
    refused("no keyring", gone("keyring"), "4 its keyring is missing: put the keyring back"),
    refused("the keyring is empty", cut("keyring", 0), "4 /keyring, line 1: malformed"),
    refused("the keyring lacks its sum and a byte", cut("keyring", -70), "4 /keyring, line 4: malformed"),
    refused("the keyring is cut in its sum", cut("keyring", -10), "4 /keyring, line 5: malformed"),
    refused("a keyring for all to read", mode("keyring", 0o644), "6 chmod 600 it, and think of new"),
    refused("the keyring may not be read", unreadable("keyring"), "6 may not be read by this user$"),
    refused("the keyring is a folder", become("keyring", "folder"), "4 /keyring is no file" + BACKUP),
    refused("the keyring is a pipe", become("keyring", "fifo"), "4 /keyring is no file" + BACKUP),
    refused("the keyring is a link", become("keyring", "link"), "6 /keyring is no file" + BACKUP),
    refused("a keyring too long", write("keyring", b"x" * 17000), "4 /keyring is damaged" + BACKUP),
    refused("a keyring of a later version", write("keyring", b"peervault-keyring 2\n"),
            "4 /keyring, line 1: malformed"),
    harmless("a keyring without keys", write("keyring", b"peervault-keyring 1\n"), lost=ALL,
             get="6 this is a blind node", deep="0 the trees of 6 files were not checked"),
    harmless("the keyring of another vault", from_another("keyring"), lost=ALL,
             get="3 names may be missing", deep="0 the trees of 6 files were not checked"),
    refused("no identity", gone("identity"), "4 /identity is missing" + BACKUP),
    refused("the identity is empty", cut("identity", 0), "4 /identity is damaged" + BACKUP),
    refused("the identity lacks a byte", cut("identity", -1), "4 /identity is damaged" + BACKUP),
    refused("the identity has a byte more", longer("identity"), "4 /identity is damaged" + BACKUP),
    refused("an identity for all to read", mode("identity", 0o640), "6 /identity may be read by others"),
    refused("the identity is a folder", become("identity", "folder"), "4 /identity is no file" + BACKUP),
    refused("the identity is a pipe", become("identity", "fifo"), "4 /identity is no file" + BACKUP),
    harmless("the identity of another vault", from_another("identity")),
    refused("no secrets", gone(*SECRETS), "4 its keyring is missing: put the keyring back"),
    harmless("all but the blob files of another vault",
             from_another("vault.db", "vault.db-wal", *SECRETS), foreign=True,
             get="4 is corrupt, and no good copy", lost=SINGLE_BLOBS, deep=r"4 \d blobs are bad or missing"),
]

OTHERS = [
    bad_backup("no records.bak", gone("records.bak")),
    bad_backup("records.bak is empty", cut("records.bak", 0)),
    bad_backup("records.bak lacks a byte", cut("records.bak", -1)),
    bad_backup("records.bak is a pipe", become("records.bak", "fifo")),
    bad_backup("records.bak is a link", become("records.bak", "link")),
    bad_backup("records.bak is a folder", become("records.bak", "folder"),
               cured="4 a backup of vault.db is damaged: take away what lies in its place$"),
    harmless("records.bak of another vault", from_another("records.bak"), cure=REBUILD,
             after="0 names may be missing"),
    harmless("no lock", gone("lock")),
    harmless("a lock of somebody who died", write("lock", b"hello")),
    refused("the lock is a folder", become("lock", "folder"), "1 its file `lock` is no file: remove it$"),
    refused("the lock is a pipe", become("lock", "fifo"), "1 its file `lock` is no file: remove it$"),
    refused("the lock is a link", become("lock", "link"), "6 or a link: remove it$"),
    harmless("a control.sock that nobody listens to", socket_left),
    harmless("control.sock is a file", write("control.sock", b"x")),
    harmless("control.sock is a folder", lambda vault: os.mkdir(vault.path("control.sock"))),
    refused("settings are a folder", become("peervault.conf", "folder"), "2 peervault.conf: not a file$"),
    refused("settings are a pipe", become("peervault.conf", "fifo"), "2 peervault.conf: not a file$"),
    refused("settings with a zero byte", write("peervault.conf", b"replicas = \0 2\n"),
            "2 line 1: a zero byte: this is not a text file$"),
    refused("settings too long", write("peervault.conf", b"#\n" * 40000), "2 larger than 64 KiB$"),
    refused("settings that may not be read", unreadable("peervault.conf"), "6 peervault.conf: denied$"),
]


def differs(result, expected):
    """What is not as expected, or nothing. Log lines begin with a date."""
    code, _, pattern = expected.partition(" ")
    lines = "\n".join(line for line in result.err.decode("utf-8", "replace").splitlines()
                      if not re.match(r"\d{4}-\d\d-\d\dT", line))
    if re.fullmatch(code, str(result.code)) and re.search(pattern, lines, re.MULTILINE):
        return []
    return [f"expected {expected!r}: {result}"]


def missing(vault, expected, which):
    """which: names of files that do not come; None: some of them, it is not said which."""
    result, came = vault.get()
    if which is not None and set(vault.contents) - came != set(which.split()):
        return [f"expected all but {which!r}, not {sorted(came)}: {result}"]
    return differs(result, expected)


def judge(vault, animal):
    opening = animal.get("opening")
    lost = " ".join(vault.contents) if opening else animal.get("lost", "")
    wrong = missing(vault, opening or animal.get("get", "0"), lost)
    if animal.get("verify"):
        wrong += differs(vault.run("verify"), animal["verify"])
    wrong += differs(vault.run("verify", "--deep"), opening or animal.get("deep", "0"))
    wrong += differs(vault.run("doctor"), opening or animal.get("doctor", "0"))
    if animal.get("cure"):
        wrong += differs(vault.run(*animal["cure"].split()), animal.get("cured", "0"))
        wrong += missing(vault, animal.get("after", "0"), animal.get("still", ""))
    return wrong


def visit(scene, animals):
    """With sanitizers, which make each command slow, every third."""
    sample = Sample(scene, cluster_key="3c" * 31 + "c3")  # the same blobs each time
    other = Sample(scene, "other", token="a token of another cluster", cluster_key="5a" * 31 + "a5")
    wrong = []
    for animal in animals[::3] if scene.sanitized and "ZOO" not in os.environ else animals:
        vault = sample.copy(animal.get("killed", False))
        vault.other = other
        animal["damage"](vault)
        if animal.get("foreign"):
            vault.contents = other.base_contents
        wrong += [f"{animal['name']}: {what}" for what in judge(vault, animal)]
    assert not wrong, "\n".join([f"{len(wrong)} outcomes differ", *wrong])


def test_blobs(scene):
    visit(scene, BLOBS + FOLDERS)


def test_databases(scene):
    visit(scene, DATABASE)


def test_logs(scene):
    visit(scene, LOGS)


def test_secrets_and_what_else_lies_there(scene):
    visit(scene, KEYS + OTHERS)
