#!/usr/bin/env python3
"""Cut points of the chunker, from a second, slow implementation.

Written from the description in storage/format.md ("Chunking"), sharing no code with
storage/chunker.c. Prints chunker.json; needs python3-cryptography and half a minute:

    tests/vectors/peervault/chunker.py > tests/vectors/peervault/chunker.json
"""

import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIN, NORMAL, MAX = 196608, 458752, 978944
M64 = (1 << 64) - 1
PERIODS = {"period 6400": 6400, "period 130003": 130003}


def hkdf_expand(prk, info, length):
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:length]


def chunker_key(cluster_key):
    prk = hmac.new(b"PV1/cluster", cluster_key, hashlib.sha256).digest()
    material = hkdf_expand(prk, b"PV1/chunker\0", 2064)
    gear = []
    flipped = 0
    for b in range(256):
        g = int.from_bytes(material[16 + 8 * b : 24 + 8 * b], "big")
        if ((-g) & M64) >> 54 == 0:
            g ^= 1 << 63
            flipped += 1
        gear.append(g)
    return material[:16], gear, flipped


def prf(key, window):
    mac = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(window)[-16:]
    return int.from_bytes(mac[:8], "little")


def chunk_lengths(cluster_key, data):
    key, gear, _ = chunker_key(cluster_key)
    lengths = []
    start = 0
    while start < len(data):
        lengths.append(next_length(key, gear, data, start))
        start += lengths[-1]
    return lengths


def next_length(key, gear, data, start):
    h = 0
    end = min(start + MAX, len(data))
    position = start + MIN - 64
    for byte in data[position:end]:
        h = ((h << 1) + gear[byte]) & M64
        position += 1
        if h >> 54:
            continue
        length = position - start
        if length < MIN:
            continue
        divisor = 1 << 10 if length < NORMAL else 1 << 6
        if prf(key, data[position - 64 : position]) % divisor == 0:
            return length
    return end - start


def stream(key, length):
    """The AES-256-CTR keystream that GCM uses for its message: zero nonce, counter from 2."""
    counter = bytes(15) + b"\x02"
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(length))


def make(form, key, length):
    if form == "random":
        return stream(key, length)
    if form in PERIODS:  # the first bytes of the stream, repeated
        return (stream(key, PERIODS[form]) * (length // PERIODS[form] + 1))[:length]
    if form == "two bits":  # text-like: four byte values
        return stream(key, length).translate(bytes(b & 3 for b in range(256)))
    assert form == "zeros"
    return bytes(length)


def key_with_flip_at_zero():
    """The first key of the form SHA-256(decimal number) whose gear table flips the entry of 0."""
    for n in range(100000):
        cluster_key = hashlib.sha256(str(n).encode()).digest()
        prk = hmac.new(b"PV1/cluster", cluster_key, hashlib.sha256).digest()
        first = hkdf_expand(prk, b"PV1/chunker\0", 24)[16:]
        if ((-int.from_bytes(first, "big")) & M64) >> 54 == 0:
            return cluster_key
    raise AssertionError


def case(cluster_key, form, stream_key, length):
    data = make(form, stream_key, length)
    print(form, length, file=sys.stderr)
    return {
        "cluster_key": cluster_key.hex(),
        "form": form,
        "stream_key": stream_key.hex(),
        "length": length,
        "sha256": hashlib.sha256(data).hexdigest(),
        "chunks": chunk_lengths(cluster_key, data),
    }


def write(tables, cases):
    """One line a table or case, so that a change shows as one."""
    parts = []
    for name, items in (("tables", tables), ("cases", cases)):
        lines = ",\n".join("  " + json.dumps(item) for item in items)
        parts.append('"%s": [\n%s\n ]' % (name, lines))
    print("{" + ",\n ".join(parts) + "}")


def main():
    plain = bytes(range(32))
    flip = key_with_flip_at_zero()
    stream_key = bytes(range(64, 96))
    tables = []
    for cluster_key in (plain, flip):
        key, gear, flipped = chunker_key(cluster_key)
        table = b"".join(g.to_bytes(8, "big") for g in gear)
        tables.append(
            {
                "cluster_key": cluster_key.hex(),
                "prf_key": key.hex(),
                "gear_sha256": hashlib.sha256(table).hexdigest(),
                "flipped": flipped,
            }
        )
    mib = 1 << 20
    cases = [
        case(plain, "random", stream_key, 64 * mib),
        case(plain, "period 6400", stream_key, 4 * mib),
        case(plain, "period 130003", stream_key, 16 * mib),
        case(plain, "two bits", stream_key, 16 * mib + 1),
        case(plain, "zeros", stream_key, 8 * mib),
        case(flip, "random", stream_key, 16 * mib),
        case(flip, "zeros", stream_key, 8 * mib),
    ]
    # Streams that end around the limits.
    for length in (1, MIN - 1, MIN, MIN + 1, MAX - 1, MAX, MAX + 1):
        cases.append(case(plain, "zeros", stream_key, length))
    cases.append(case(plain, "zeros", stream_key, 0))
    write(tables, cases)


if __name__ == "__main__":
    main()
