"""What `status` tells of a running node, once and again and again."""
import json
import os
import subprocess

from harness import cluster, wait_has_blobs, wait_until

MIB = 1 << 20


def test_status_tells_of_traffic_and_copies(scene):
    a, b = cluster(scene, "ab")
    # Not the pseudo-random file, whose parts are alike and are sent once.
    a.run("store", scene.file("f", content=os.urandom(3 * MIB)), "--copies", "2")
    s, t = a.status(), b.status()
    assert s["under_replicated"] == 0 and s["healthy"] is True and s["problems"] == []
    to_b, to_a = s["peers"][0], t["peers"][0]
    assert to_b["node"] == t["node"] and to_b["dialled"] is False and to_a["dialled"] is True
    assert to_b["out_bytes"] > 3 * MIB > to_b["in_bytes"] > 0
    assert to_a["in_bytes"] > 3 * MIB > to_a["out_bytes"] > 0
    assert to_b["out_rate"] > to_b["in_rate"] > 0
    b.stop()
    wait_until(lambda: a.status()["connected"] == 0, "the loss of the peer to be noticed")
    a.run("store", scene.file("g", MIB, seed=2), "--no-wait")
    assert a.status()["under_replicated"] > 0
    b.start(peers=[a])
    wait_has_blobs([a, b])
    wait_until(lambda: a.status()["under_replicated"] == 0, "a second copy of everything")


def test_status_for_people(scene):
    a, b = cluster(scene, "ab")
    text = a.run("status").text
    for word in ("node ", "vault ", "daemon ", "listen ", "members ", "blobs ", "NODE", "inbound"):
        assert word in text, f"no {word!r} in {text}"
    assert "outbound" in b.run("status").text
    assert "outbound" in b.run("peers").text
    assert a.run("status", "-q").out == b""


def test_status_again_and_again(scene):
    a, = cluster(scene, "a")
    watch = subprocess.Popen([scene.program, "--vault", a.vault, "status", "--watch", "--json"],
                             env=a.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first, second = (json.loads(watch.stdout.readline()) for _ in range(2))
    assert second["uptime_s"] > first["uptime_s"] and second["pid"] == first["pid"]
    a.stop()
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 5 and err.count(b"\n") == 1, err


def test_a_vault_that_cannot_be_written_is_unhealthy(scene):
    a, = cluster(scene, "a")
    a.run("status", "-q")
    os.rename(os.path.join(a.vault, "tmp"), os.path.join(a.vault, "away"))
    result = a.run("status", "-q", code=1)
    assert "the vault cannot be written" in result.err.decode()
    os.rename(os.path.join(a.vault, "away"), os.path.join(a.vault, "tmp"))
    a.run("status", "-q")
