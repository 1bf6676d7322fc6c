"""Single bits that flip at rest: told, repaired from a peer that has a copy, never given back."""
import os
import random

from damage import blob_files, flip
from harness import cluster, wait_has_blobs, wait_in_sync
from rot import Rot

PLACES = 100


def test_every_flip_is_told(scene):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"rot: seed {seed}", flush=True)
    Rot(scene, seed).run(PLACES // 3 if scene.sanitized else PLACES)


def test_a_peer_repairs_all_of_it(scene):
    a, b = cluster(scene, "ab")
    source = scene.file("f", 5000000)
    key, = a.store(source, "--copies", "2")
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    a.stop()
    rotten = [*blob_files(a.vault), os.path.join(a.vault, "records.bak")]
    for path in rotten:
        flip(path, random.SystemRandom().randrange(os.path.getsize(path)))
    a.start(peers=[b])
    wait_in_sync([a, b])
    end = a.run("verify", "--deep", "--repair")
    assert end.err.count(b": repaired") == len(rotten), end
    assert a.run("verify", "--deep").text.endswith("no damage\n")
    b.stop()
    with open(source, "rb") as f:
        assert a.get(key) == f.read()
