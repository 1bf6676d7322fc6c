"""Whole folders: store -r, --files-from and get -r, with the trees that people and attackers have."""
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess

from harness import cluster, sha256_of, wait_in_sync, wait_until

MIB = 1 << 20
NAMES = ["plain", "with space", "new\nline", "tab\tand\rreturn", "back\\slash", "-dash", ".hidden",
         "snow ☃ man", b"not utf-8 \xff\xfe".decode("utf-8", "surrogateescape"), "*", "'", "a" * 255]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def without_override():
    """In the child: permissions bind root as well."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
    libc.prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0)


def make_tree(scene, root):
    """Regular files of many kinds; the paths below root."""
    for i, name in enumerate(NAMES):
        scene.file(os.path.join(root, name), 100 + i, seed=i)
        scene.file(os.path.join(root, "sub", name[:200] + ".d", name), 3000 + i, seed=100 + i)
    for size in (0, 1, 4096, 4097, 65536, 70000, 3 * MIB + 1):
        scene.file(os.path.join(root, "sizes", str(size)), size, seed=size)
    deep = os.path.join(root, *["d"] * 60)
    scene.file(os.path.join(deep, "deep"), 10)
    scene.file(os.path.join(root, "same", "1"), 5000, seed=7)
    scene.file(os.path.join(root, "same", "2"), 5000, seed=7)
    os.utime(os.path.join(root, "plain"), ns=(1, 981173106789000000))
    return regular(root)


def regular(root):
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.append(os.path.relpath(path, root))
    return sorted(found)


def add_what_is_skipped(root):
    """The paths below root that are no regular files."""
    os.mkdir(os.path.join(root, "empty folder"))
    os.mkfifo(os.path.join(root, "fifo"))
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(root)
    listener.bind("socket")
    os.chdir(here)
    listener.close()
    for name, target in {"link": "plain", "link to folder": "sub", "loop": ".", "dangling": "no",
                         "out": "/etc"}.items():
        os.symlink(target, os.path.join(root, name))
    return ["fifo", "socket", "link", "link to folder", "loop", "dangling", "out"]


def same_files(a, b):
    assert regular(a) == regular(b), (regular(a), regular(b))
    for path in regular(a):
        assert sha256_of(os.path.join(a, path)) == sha256_of(os.path.join(b, path)), path


def no_temporary_files(root):
    left = [p for p in regular(root) if "peervault" in p]
    assert not left, left


def round_trip(scene, node):
    root = scene.path("in", "tree")
    files = make_tree(scene, root)
    skipped = add_what_is_skipped(root)
    result = node.run("store", "-r", "in/tree/", cwd=scene.dir)
    check = subprocess.run(["sha256sum", "-c"], input=result.out, cwd=scene.dir, capture_output=True)
    assert check.returncode == 0 and result.out.count(b"\n") == len(files), check
    said = [line for line in result.err.splitlines() if b": skipped: " in line]
    assert len(said) == len(skipped), result
    assert f"{len(skipped)} skipped".encode() in result.err, result
    again = node.run("store", "-r", "in/tree", cwd=scene.dir)
    assert again.out == result.out, "another order"

    node.run("get", "-r", "tree/", "-o", scene.path("out"))
    same_files(root, scene.path("out", "tree"))
    no_temporary_files(scene.path("out"))
    assert os.stat(scene.path("out/tree/plain")).st_mtime_ns == 981173106789000000
    assert not os.path.exists(scene.path("out/tree/empty folder"))
    node.run("get", "-r", "tree/sub/plain", "-o", scene.path("part"))
    assert regular(scene.path("part")) == ["tree/sub/plain.d/plain"]
    node.run("get", "-r", "tree/", "-o", scene.path("out"))  # over what is there
    same_files(root, scene.path("out", "tree"))


def test_tree_without_a_daemon(scene):
    round_trip(scene, scene.node("a"))


def test_tree_through_a_daemon(scene):
    round_trip(scene, scene.node("a").start())


def test_tree_from_another_node(scene):
    a, b = cluster(scene, "ab")
    make_tree(scene, scene.path("tree"))
    a.run("store", "-r", scene.path("tree"), "--copies", "2")
    wait_in_sync([a, b])
    b.run("get", "-r", "-o", scene.path("out"))
    same_files(scene.path("tree"), scene.path("out/tree"))


def test_folder_is_named_by_where_it_really_is(scene):
    node = scene.node("a")
    scene.file("real/f", 10)
    os.symlink("real", scene.path("link"))
    line = node.run("store", "-r", "link", cwd=scene.dir).text
    assert line.endswith("  link/f\n"), line
    assert node.run("store", "-r", ".", cwd=scene.path("real")).text.endswith("  ./f\n")
    names = [json.loads(x)["name"] for x in node.run("ls", "--json").text.splitlines()]
    assert names == ["real/f"], names


def test_equal_names_are_refused_before_storing(scene):
    node = scene.node("a").start()
    for parent in "xy":
        scene.file(f"{parent}/same/f", 10)
    scene.file("other/f", 10)
    r = node.run("store", "-r", "other", "x/same", "y/same", cwd=scene.dir, code=2)
    assert b"same name" in r.err and r.out == b"", r
    node.run("store", "-r", "/", code=2)
    assert node.status()["files"] == 0


def test_what_cannot_be_read_does_not_stop_the_rest(scene):
    node = scene.node("a")
    node.run("init")
    root = scene.path("tree")
    for name in ("a", "closed/x", "locked", "z"):
        scene.file(os.path.join(root, name), 50)
    os.chmod(os.path.join(root, "locked"), 0)
    os.chmod(os.path.join(root, "closed"), 0)
    r = node.run("store", "-r", "tree", scene.path("gone"), cwd=scene.dir, code=1,
                 preexec=without_override)
    os.chmod(os.path.join(root, "closed"), 0o700)
    assert [line[66:] for line in r.text.splitlines()] == ["tree/a", "tree/z"], r
    assert r.err.count(b"Permission denied") == 2 and b"gone: " in r.err, r
    assert b"2 stored, 3 not" in r.err, r


def test_vault_is_not_stored_into_itself(scene):
    node = scene.node("home/vault")
    os.mkdir(scene.path("home"))
    scene.file("home/doc", 100)
    node.run("init")
    r = node.run("store", "-r", scene.path("home"))
    assert len(r.out.splitlines()) == 1 and b"vault: skipped: the vault itself" in r.err, r


def run_measured(node, *args):
    """Exit code 0; the output and the peak memory in KiB."""
    with open(node.scene.path("measured"), "w+b") as out:
        p = subprocess.Popen([node.scene.program, "--vault", node.vault, *args], env=node.env,
                             stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        assert p.returncode == 0, args
        out.seek(0)
        return out.read(), usage.ru_maxrss


def many_files(scene, count):
    for i in range(count):
        scene.file(f"many/{i % 100}/{i}", content=i.to_bytes(4, "big") * 1024)


def many_round_trip(scene, node):
    count = 1000 if scene.sanitized else 10000
    many_files(scene, count)
    peaks = []
    out, peak = run_measured(node, "store", "-r", scene.path("many"))
    peaks.append(peak)
    assert len(out.splitlines()) == count
    assert out.splitlines() == sorted(out.splitlines(), key=lambda line: line[66:].split(b"/"))
    _, peak = run_measured(node, "get", "-r", "many/", "-o", scene.path("out"))
    peaks.append(peak)
    diff = subprocess.run(["diff", "-r", scene.path("many"), scene.path("out/many")],
                          capture_output=True)
    assert diff.returncode == 0, diff.stdout[:1000]
    if node.process is not None:
        peaks.append(node.rss_peak_kib())
    assert scene.sanitized or max(peaks) < 128 * 1024, peaks


def test_many_files_without_a_daemon(scene):
    many_round_trip(scene, scene.node("a"))


def test_many_files_through_a_daemon(scene):
    many_round_trip(scene, scene.node("a").start())


def test_links_in_the_target_lead_nowhere(scene):
    node = scene.node("a").start()
    for name in ("dir/inner/f", "dir/g", "top", "dir/ok"):
        node.run("store", "-", "--name", name, stdin=b"new " + name.encode())
    scene.file("outside/g", content=b"precious")
    scene.file("outside/inner/f", content=b"precious")
    os.makedirs(scene.path("out/dir"))
    os.symlink("../../outside/inner", scene.path("out/dir/inner"))
    os.symlink("../../outside/g", scene.path("out/dir/g"))
    os.symlink("../outside/new", scene.path("out/top"))
    r = node.run("get", "-r", "-o", scene.path("out"), code=1)
    assert open(scene.path("out/dir/ok"), "rb").read() == b"new dir/ok"
    assert regular(scene.path("outside")) == ["g", "inner/f"]
    for path in regular(scene.path("outside")):
        assert open(scene.path("outside", path), "rb").read() == b"precious"
    assert os.path.islink(scene.path("out/top")) and os.path.islink(scene.path("out/dir/g"))
    assert b"1 fetched" in r.err and b"3 not" in r.err, r

    shutil.rmtree(scene.path("out"))  # the whole folder replaced by a link
    os.mkdir(scene.path("out"))
    os.symlink("../outside", scene.path("out/dir"))
    node.run("get", "-r", "dir/", "-o", scene.path("out"), code=1)
    assert regular(scene.path("outside")) == ["g", "inner/f"]


def test_names_that_lead_out_are_refused(scene):
    node = scene.node("a").start()
    bad = ["../evil", "/evil", "a/../../evil", "x//y", "x/./y", "x/", ".", "..", "p/" + "n" * 256]
    for name in bad + ["good/one", "..two", "three..", "..."]:
        node.run("store", "-", "--name", name, stdin=name.encode())
    r = node.run("get", "-r", "-o", scene.path("deep/out"), code=1)  # only one folder is made
    assert not os.path.exists(scene.path("deep"))
    r = node.run("get", "-r", "-o", scene.path("out"), code=1)
    assert regular(scene.path("out")) == ["...", "..two", "good/one", "three.."], r
    assert b"4 fetched" in r.err and b"9 not" in r.err, r
    assert not os.path.exists(scene.path("evil")) and not os.path.exists("/evil")
    assert node.run("get", "-r", "none", "-o", scene.path("none"), code=3).err
    assert not os.path.exists(scene.path("none"))


def test_a_name_that_is_also_a_folder(scene):
    node = scene.node("a").start()
    for name in ("a", "a/b", "a/b/c", "b"):
        node.run("store", "-", "--name", name, stdin=name.encode())
    node.run("get", "-r", "-o", scene.path("out"), code=1)
    found = regular(scene.path("out"))
    assert "b" in found and len(found) == 2, found
    os.makedirs(scene.path("out2/b"))
    r = node.run("get", "-r", "b", "-o", scene.path("out2"), code=1)
    assert os.path.isdir(scene.path("out2/b")) and b"left as it is" in r.err, r


def test_what_is_not_verified_replaces_nothing(scene):
    node = scene.node("a")
    scene.file("t/bad", 200000, seed=1)
    scene.file("t/good", 300, seed=2)
    node.run("store", "-r", scene.path("t"))
    for blob in node.blob_files():
        with open(blob, "r+b") as f:
            f.seek(1000)
            f.write(b"rot")
    scene.file("out/t/bad", content=b"older")
    r = node.run("get", "-r", "t/", "-o", scene.path("out"), "--json", code=None)
    assert r.code in (4, 5), r
    lines = [json.loads(line) for line in r.text.splitlines()]
    assert {line["name"]: line.get("exit", 0) for line in lines} == {"t/bad": r.code, "t/good": 0}
    assert open(scene.path("out/t/bad"), "rb").read() == b"older"
    assert sha256_of(scene.path("out/t/good")) == sha256_of(scene.path("t/good"))
    no_temporary_files(scene.path("out"))


def test_interrupted_get_leaves_whole_files_only(scene):
    node = scene.node("a").start()
    for i in range(60):
        scene.file(f"t/{i}", 400000, seed=i)
    node.run("store", "-r", scene.path("t"))
    p = subprocess.Popen([scene.program, "--vault", node.vault, "get", "-r", "t/", "-o",
                          scene.path("out")], env=node.env, stderr=subprocess.PIPE)
    wait_until(lambda: p.poll() is not None or os.path.exists(scene.path("out/t")), "a first file")
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    assert p.returncode in (0, -signal.SIGINT), p.returncode
    no_temporary_files(scene.path("out"))
    for path in regular(scene.path("out")):
        assert sha256_of(scene.path("out", path)) == sha256_of(scene.path(path)), path


def test_store_in_json(scene):
    node = scene.node("a")
    scene.file("t/f", 100)
    os.symlink("f", scene.path("t/l"))
    lines = node.run("store", "-r", "t", "--json", cwd=scene.dir).text.splitlines()
    file, link = (json.loads(line) for line in lines)
    assert file["name"] == "t/f" and file["path"] == "t/f" and file["size"] == 100, file
    assert link == {"path": "t/l", "skipped": "a symbolic link"}, link


def test_files_from_a_list(scene):
    node = scene.node("a")
    for name in ("a", "d/b", "d/new\nline", "up"):
        scene.file("w/" + name, 100, seed=name)
    here = scene.path("w")
    absolute = scene.path("w/up")
    listed = f"a\n\n./d//b\n{absolute}\n"
    scene.file("list", content=listed.encode())
    r = node.run("store", "--files-from", scene.path("list"), cwd=here)
    assert [line[66:] for line in r.text.splitlines()] == ["a", "./d//b", absolute], r
    r = node.run("store", "-0", "--files-from", "-", cwd=here, stdin=b"d/new\nline\0a\0")
    assert len(r.out.splitlines()) == 2, r
    names = {json.loads(x)["name"] for x in node.run("ls", "--json").text.splitlines()}
    assert names == {"a", "d/b", absolute[1:], "d/new\nline"}, names
    r = node.run("store", "--files-from", "-", cwd=here, stdin=b"a\nd/b\n./a\n", code=2)
    assert len(r.out.splitlines()) == 2 and b"./a: " in r.err, r
    r = node.run("store", "--files-from", "-", cwd=here, stdin=b"../w/a\nd\nup\n", code=1)
    assert [line[66:] for line in r.text.splitlines()] == ["up"], r
    node.run("store", "--files-from", "-", stdin=b"")
    node.run("store", "--files-from", scene.path("no list"), code=1)


def test_a_slow_list_does_not_hold_up_what_is_listed(scene):
    node = scene.node("a").start()
    scene.file("one", 100)
    p = subprocess.Popen([scene.program, "--vault", node.vault, "store", "--files-from", "-"],
                         env=node.env, cwd=scene.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(b"one\n")
    p.stdin.flush()
    assert select.select([p.stdout], [], [], 60)[0], "nothing while the list is open"
    assert p.stdout.readline().endswith(b"  one\n")
    p.stdin.close()
    assert p.wait(timeout=60) == 0


def names_on(node):
    return sorted(json.loads(x).get("name", "") for x in node.run("ls", "--json").text.splitlines())


def test_folder_is_removed_with_all_below_it(scene):
    node = scene.node("a").start()
    for i, name in enumerate(("tree/a", "tree/sub/b", "tree/sub.d/c", "treetop")):
        scene.file(os.path.join("named", name), 20, seed=i)
    scene.file("list/tree/sub", 20, seed=9)
    node.run("store", "-r", "tree", "treetop", cwd=scene.path("named"))
    node.run("store", "--files-from", "-", stdin=b"tree/sub\n", cwd=scene.path("list"))
    node.run("rm", "-r", "tree/sub")
    assert names_on(node) == ["tree/a", "tree/sub.d/c", "treetop"], names_on(node)
    r = node.run("rm", "-r", "tree/", "tre", code=3)
    assert b"tre: no such name" in r.err and b"2 removed, 1 not" in r.err, r
    assert names_on(node) == ["treetop"] and node.status()["files"] == 1, names_on(node)
    node.run("restore", "tree/a")
    assert names_on(node) == ["tree/a", "treetop"]
    node.run("rm", "-r", "tree", "treetop", "--files-from", "-", code=2)
    node.run("rm", code=2)


def test_list_of_names_and_keys_is_removed(scene):
    node = scene.node("a")
    files = make_tree(scene, scene.path("tree"))
    node.start().run("store", "-r", "tree", cwd=scene.dir)
    names = [b"tree/" + os.fsencode(name) for name in files]
    key = sha256_of(scene.path("tree/sizes/70000")).encode()
    names[names.index(b"tree/sizes/70000")] = key
    r = node.run("--json", "rm", "--null", "--files-from", "-",
                 stdin=b"\0".join(names[:-1] + [b"no such", b"x" * 5000]), code=1)
    out = [json.loads(line) for line in r.out.splitlines()]
    failed = {o["target"]: o["exit"] for o in out if "exit" in o}
    assert failed == {"no such": 3, "x" * 4095: 1}, failed
    removed = {o["target"].encode() if "target" in o else bytes.fromhex(o["target_hex"])
               for o in out if "key" in o}
    assert removed == set(names[:-1]), r
    assert b"removed, 2 not" in r.err, r
    assert names_on(node) == [names[-1].decode()] and node.status()["files"] == 1


def test_files_of_many_names_go_with_the_last_of_them(scene):
    """Also when all are removed at once: whichever comes last must see that it does."""
    node = scene.node("a").start()
    for i in range(200):
        for folder in ("x", "y", "z"):
            scene.file(f"tree/{folder}/{i}", 50, seed=i)
    node.run("store", "-r", "tree", cwd=scene.dir)
    assert node.status()["files"] == 200
    pairs = [f"tree/{folder}/{i}" for i in range(200) for folder in "xyz"]
    node.run("rm", "--files-from", "-", stdin="\n".join(pairs).encode())
    status = node.status()
    assert status["files"] == status["names"] == 0, status
