"""Five real daemons with three copies of everything: what moves when members come and go."""
import base64
import os
import sys

from harness import cluster, wait_in_sync, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "vectors", "peervault"))
import placement  # noqa: E402: which members keep a blob, from protocol.md alone

MIB = 1 << 20
COPIES = 3
FILES, SIZE = 12, 3 * MIB


def member_of(node):
    groups = node.status()["node"].upper().split("-")
    node_id = base64.b32decode("".join(g[:4] for g in groups) + "====")[:32]
    return placement.Member(node_id, 1, "", True)


def files_of(node):
    """The blobs that are files: id -> bytes."""
    return {os.path.basename(path): os.path.getsize(path) for path in node.blob_files()}


def share_of(node, nodes, blobs):
    """Bytes of the blobs whose owners the node is one of."""
    members, me = [member_of(n) for n in nodes], member_of(node)

    def owners(blob):
        order, count = placement.order(members, bytes.fromhex(blob), COPIES)
        return order[:count]
    return sum(size for blob, size in blobs.items() if me in owners(blob))


def received(nodes):
    return sum(p.get("in_bytes", 0) for n in nodes for p in n.status()["peers"])


def wait_placed(nodes):
    def placed():
        return all(s["undelivered"] == 0 and s["under_replicated"] == 0 and s["pending"] == 0
                   for s in (n.status() for n in nodes))
    wait_until(placed, "all blobs on the members that should have them")


def copies(blobs, nodes):
    kept = [files_of(n) for n in nodes]
    return [sum(blob in k for k in kept) for blob in blobs]


def add(scene, name, nodes, blobs, **options):
    """Another member comes: no more moves than its share."""
    kept, before = [files_of(n) for n in nodes], received(nodes)
    new = scene.node(name, **options).start(peers=nodes)
    wait_in_sync(nodes + [new])
    share = share_of(new, nodes + [new], blobs)
    wait_until(lambda: sum(files_of(new).values()) >= share, f"the share of {name}")
    kept_there, moved = sum(files_of(new).values()), received(nodes + [new]) - before
    assert 0 < share <= kept_there <= 1.05 * share, f"{share} of it, {kept_there} kept"
    assert moved <= 1.05 * share, f"{share} of it, {moved} moved"
    assert [files_of(n) for n in nodes] == kept, "nothing moves between the others"
    return nodes + [new]


def test_members_come_and_one_goes_for_ever(scene):
    options = {"PEERVAULT_REPLICAS": str(COPIES), "PEERVAULT_REPAIR_AFTER": "5s"}
    nodes = cluster(scene, "abc", **options)
    paths = [scene.file(f"f{i}", SIZE, seed=i) for i in range(FILES)]
    keys = nodes[0].store(*paths)
    wait_placed(nodes)
    blobs = files_of(nodes[0])
    assert sum(blobs.values()) > FILES * SIZE * 0.99
    nodes = add(scene, "d", nodes, blobs, **options)
    nodes = add(scene, "e", nodes, blobs, **options)
    wait_placed(nodes)

    where = nodes[4].run("where", "f0", "--json").json
    assert where["want"] == COPIES and len(where["members"]) == 5
    assert sum(m["belongs"] for m in where["members"]) >= COPIES * where["blobs"]
    me = next(m for m in where["members"] if m["state"] == "self")
    assert me["belongs"] == me["has"] == where["blobs"] - where["elsewhere_blobs"]
    nodes[4].run("verify")  # what belongs to others is not missed

    lost = nodes.pop(1)
    lost.kill()
    wait_until(lambda: min(copies(blobs, nodes)) >= COPIES, "three copies again")
    for key, path in zip(keys, paths):
        with open(path, "rb") as f:
            assert nodes[3].get(key) == f.read()


def test_drained_member_may_go(scene):
    options = {"PEERVAULT_REPLICAS": "1"}
    a, b, c = cluster(scene, "abc", **options)
    paths = [scene.file(f"f{i}", SIZE, seed=i) for i in range(4)]
    keys = b.store(*paths)
    wait_placed([a, b, c])
    a.run("peers", "drain", b.status()["node"])
    wait_until(lambda: b.status()["drained"] and not b.status()["placed"], "b to be empty of duties")
    assert any(p.get("draining") for p in a.status()["peers"])
    b.kill()
    a.run("peers", "forget", next(p["node"] for p in a.status()["peers"] if p.get("draining")))
    for key, path in zip(keys, paths):
        with open(path, "rb") as f:
            assert c.get(key) == f.read()
