"""Values under names, on several nodes, and who watches them."""
import hashlib
import json
import select
import signal
import subprocess
import time

from extract import Vault
from harness import DEADLINE_S, cluster, wait_in_sync, wait_until

ODD = b"tab\t newline\n backslash\\ NUL\0 not UTF-8 \xff\xfe carriage\r end"


def value(node, name, code=0):
    return node.run("value", name, code=code).out


def wait_value(node, name, wanted):
    def there():
        result = node.run("value", name, code=None)
        return result.code == 0 and result.out == wanted
    wait_until(there, f"{name} on {node.name}")


def test_without_a_daemon(scene):
    node = scene.node("a")
    node.run("set", "k", "v")
    node.run("set", "odd", "-", stdin=ODD)
    node.run("set", "empty", "")
    assert [value(node, name) for name in ("k", "odd", "empty")] == [b"v", ODD, b""]
    assert node.run("value", "odd", "--json").json["value_hex"] == ODD.hex()
    shown = node.run("value", "k", "--json").json
    assert shown["value"] == "v" and shown["sha256"] == hashlib.sha256(b"v").hexdigest()
    node.run("value", "nothing", code=3)
    node.run("set", "k", code=2)
    node.run("set", "big", "-", stdin=bytes(59393), code=2)
    node.run("set", "big", "-", stdin=bytes(59392))
    assert value(node, "big") == bytes(59392)

    lines = node.run("ls", "--values").out
    other = scene.node("other")
    assert b"4 of 4 values set" in other.run("set", "--lines", "-", stdin=lines).err
    assert other.run("ls", "--values").out == lines and value(other, "odd") == ODD
    result = other.run("set", "--lines", "-", stdin=b"a\t1\nno tab\n\tno name\nb\t\\q\nc\t3", code=2)
    assert result.err.count(b"line ") == 3 and value(other, "c") == b"3"

    node.run("unset", "k", "empty")
    node.run("value", "k", code=3)
    node.run("undo", "k")
    assert value(node, "k") == b"v"
    assert Vault(node.vault, int(time.time())).values == \
        {b"k": b"v", b"odd": ODD, b"big": bytes(59392)}


def test_kinds_and_conditions(scene):
    node = scene.node("a").start()
    path = scene.file("f", content=b"of a file")
    key = node.store(path)[0]
    node.run("set", "v", "1")
    for args, code in ((("get", "v"), 3), (("rm", "v"), 3), (("stat", "v"), 3), (("value", "f"), 3),
                       (("restore", "v"), 3), (("set", "f", "x"), 1), (("unset", "f"), 1),
                       (("store", path, "--name", "v"), 1), (("undo", "f"), 1)):
        result = node.run(*args, code=code)
        assert b"means a" in result.err and result.err.count(b"\n") == 1, result
    node.run("set", "--if", "2", "v", "x", code=1)
    node.run("set", "--if-absent", "v", "x", code=1)
    node.run("set", "--if", "1", "v", "2")
    node.run("set", "--if-hash", hashlib.sha256(b"2").hexdigest(), "v", "3")
    node.run("unset", "--if", "2", "v", code=1)
    node.run("set", "--if", "a", "--if-hash", key, "v", "x", code=2)
    assert value(node, "v") == b"3"
    history = node.run("ls", "--history", "v").text.splitlines()
    assert [line.rsplit(" ", 1)[1] for line in history] == ['"3"', '"2"', '"1"']
    first = hashlib.sha256(b"1").hexdigest()
    assert history[2].startswith(first)
    node.run("undo", "v", "--to", first[:8])
    assert value(node, "v") == b"1"
    node.run("set", "--replace", "f", "x")
    assert value(node, "f") == b"x"
    node.run("undo", "f", code=1)
    node.run("restore", "f", "--key", key)
    assert node.get("f") == b"of a file"


def test_written_apart_and_merged(scene):
    a, b = cluster(scene, "ab")
    a.run("set", "k", "from a")
    wait_value(b, "k", b"from a")
    b.run("set", "--lines", "-", stdin=b"".join(b"n/%d\t%d\n" % (i, i) for i in range(300)))
    wait_value(a, "n/299", b"299")
    wait_in_sync([a, b])
    assert len(a.run("ls", "--values", "n/").text.splitlines()) == 300
    b.stop()
    a.run("set", "k", "earlier")
    a.run("set", "only", "on a")
    a.stop()
    b.run("set", "k", "later")
    b.run("unset", "n/7")
    a.start()
    b.start(peers=[a])
    wait_in_sync([a, b])
    for node in (a, b):
        assert value(node, "k") == b"later" and value(node, "only") == b"on a"
        node.run("value", "n/7", code=3)
    a.run("undo", "k")
    wait_value(b, "k", value(a, "k"))


class Watch:
    def __init__(self, node, *args):
        self.process = subprocess.Popen([node.scene.program, "--vault", node.vault, "watch", *args],
                                        env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        bufsize=0)

    def line(self):
        assert select.select([self.process.stdout], [], [], DEADLINE_S)[0], "waited for a line"
        return self.process.stdout.readline()

    def change(self):
        return json.loads(self.line())


def test_watch(scene):
    a, b = cluster(scene, "ab")
    w, text = Watch(a, "--json"), Watch(a, "-v", "conf/")
    assert w.change() == {"event": "watching"} and b"watching" in text.process.stderr.readline()
    b.run("set", "other", "1")
    first = w.change()
    assert (first["change"], first["name"], first["value"]) == ("set", "other", "1")
    b.run("set", "conf/x", "-", stdin=ODD)
    assert bytes.fromhex(w.change()["value_hex"]) == ODD
    assert text.line() == b"set\tconf/x\t" + \
        b"tab\\t newline\\n backslash\\\\ NUL\\x00 not UTF-8 \xff\xfe carriage\\r end\n"
    a.run("unset", "conf/x")
    assert w.change()["change"] == "unset" and text.line() == b"unset\tconf/x\n"
    key = a.store(scene.file("f", content=b"content"), "--name", "conf/f")[0]
    assert w.change()["key"] == key and text.line() == b"store\tconf/f\t" + key.encode() + b"\n"
    b.run("rm", "conf/f")
    assert w.change()["change"] == "rm" and text.line() == b"rm\tconf/f\t" + key.encode() + b"\n"

    w.process.send_signal(signal.SIGINT)
    assert w.process.wait(timeout=60) == 0
    text.process.stdout.close()  # it is noticed without a change
    assert text.process.wait(timeout=60) == 0
    b.stop()
    assert b.run("watch", code=5).err.count(b"\n") == 1


def test_watch_that_does_not_read(scene):
    a, = cluster(scene, "a")
    w = Watch(a, "--json")
    assert w.change() == {"event": "watching"}
    count = 40 if scene.sanitized else 100
    big = b"x" * 50000
    before = a.rss_peak_kib()
    a.run("set", "--lines", "-", stdin=b"".join(b"%d\t%s\n" % (i, big) for i in range(count)))
    a.run("set", "last", "1")  # nobody waited for the one that does not read
    seen = missed = 0
    while seen + missed < count + 1:
        line = w.change()
        seen += line["event"] == "change"
        missed += line["count"] if line["event"] == "missed" else 0
    assert missed > 0 and seen + missed == count + 1
    assert scene.sanitized or a.rss_peak_kib() - before < 65536
    w.process.send_signal(signal.SIGINT)
    assert w.process.wait(timeout=60) == 0
