"""
Flips single bits in a vault at random, and judges what the program then says and gives.

A place that is read is a blob file, a page of vault.db that is in use, the keyring, the identity,
records.bak or small.bak: there every flip must be told. In the log one may cost the commits from
there on, never others; in the settings it may change a value. Nowhere may it bring a crash or a
wrong byte.
"""
import json
import os
import random
from collections import Counter

from damage import LOGGED, PAGE_LEN, Sample, flip, free_pages

# Of 100 places so many in each kind of file.
SHARES = {"blobs": 30, "vault.db": 30, "vault.db-wal": 15, "records.bak": 5, "small.bak": 5,
          "keyring": 6, "identity": 4, "peervault.conf": 5}


class Rot:
    def __init__(self, scene, seed):
        self.sample = Sample(scene)
        self.random = random.Random(seed)
        self.told = Counter()  # of the places of a kind, how many were
        self.places = Counter()

    def run(self, places):
        for kind, share in SHARES.items():
            judge = {"blobs": self.blobs, "vault.db": self.page, "vault.db-wal": self.log,
                     "records.bak": self.records, "small.bak": self.records,
                     "keyring": self.secret, "identity": self.secret,
                     "peervault.conf": self.settings}[kind]
            end = max(1, places * share // 100)
            while self.places[kind] < end:
                judge(kind, end - self.places[kind])
        return {kind: f"{self.told[kind]} of {self.places[kind]}" for kind in SHARES}

    def flip(self, path, kind):
        at = self.random.randrange(os.path.getsize(path))
        mask = 1 << self.random.randrange(8)
        flip(path, at, mask)
        self.places[kind] += 1
        return f"{os.path.basename(path)} byte {at} mask {mask}"

    def blobs(self, kind, most):
        """One place in each of some files: each is told, with the files that are affected."""
        vault = self.sample.copy()
        files = vault.blobs()
        chosen = self.random.sample(files, min(most, self.random.randint(1, len(files))))
        where = [self.flip(path, kind) for path in chosen]
        lines = [json.loads(line) for line in
                 vault.run("verify", "--deep", "--json", code=4).text.splitlines()]
        found = {o["blob"] for o in lines if o.get("event") == "problem"}
        assert found == {os.path.basename(path) for path in chosen}, (where, lines)
        affected = {o["names"][0]["name"] for o in lines if o.get("event") == "file"}
        result, came = vault.get(code=4)
        assert affected and came == set(vault.contents) - affected, (where, lines, result)
        self.told[kind] += len(chosen)

    def page(self, kind, _):
        vault = self.sample.copy()
        path = vault.path("vault.db")
        free = free_pages(path)
        where = self.flip(path, kind)
        in_use = int(where.split()[2]) // PAGE_LEN + 1 not in free
        result = vault.run("verify", "--deep")
        assert result.code == (4 if in_use else 0), (where, result)
        assert not in_use or b"doctor --rebuild" in result.err, (where, result)
        result, came = vault.get()
        assert result.code in (0, 4) if in_use else result.code == 0, (where, result)
        told = result.code == 4 or b"cannot be read" in result.err
        assert told or came == set(vault.contents), (where, result)
        self.told[kind] += in_use
        self.places[kind] -= not in_use  # a free page: another place

    def log(self, kind, _):
        vault = self.sample.copy(killed=True)
        where = self.flip(vault.path("vault.db-wal"), kind)
        result, came = vault.get()
        if result.code == 0:
            assert came >= set(vault.contents) - set(LOGGED), (where, result)
            assert vault.run("verify", "--deep").code == 0, where
        else:
            assert result.code == 4 and b"doctor --rebuild" in result.err, (where, result)
        self.told[kind] += result.code == 4

    def records(self, kind, _):
        vault = self.sample.copy()
        where = self.flip(vault.path(kind), kind)
        result = vault.run("verify", "--deep", code=4)
        assert b"backup of vault.db is damaged" in result.err, (where, result)
        self.told[kind] += 1

    def secret(self, kind, _):
        vault = self.sample.copy()
        where = self.flip(vault.path(kind), kind)
        result, came = vault.get(code=4)
        assert not came and kind.encode() in result.err, (where, result)
        self.told[kind] += 1

    def settings(self, kind, _):
        vault = self.sample.copy()
        where = self.flip(vault.path(kind), kind)
        result, came = vault.get()
        if result.code == 0:
            assert came == set(vault.contents), (where, result)
        else:
            assert result.code == 2 and b"peervault.conf, line" in result.err, (where, result)
        self.told[kind] += result.code == 2
