"""Transfers over a connection that is cut again and again: every byte is sent about once."""
import os
import socket
import struct
import threading

from harness import sha256_of, wait_has_blobs, wait_in_sync

MIB = 1 << 20
STREAM_LOSS = 128 << 10  # what a reset may cost each stream that is open
STREAMS = 8  # that are open at least: 8 MiB of bodies are asked for at a time, each below 1 MiB
BUFFER = 32 << 10  # what the proxy holds of either side, so that little is lost with it


class CuttingProxy:
    """Forwards to an address, and resets both sides after every `period` bytes of one direction,
    `cuts` times. Small buffers: a reset loses what is in them."""

    def __init__(self, scene, target, period, cuts, towards_dialler):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.period, self.cuts_left, self.cuts = period, cuts, 0
        self.towards_dialler, self.sent = towards_dialler, 0
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        scene.cleanups.append(self.listener.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                dialler, _ = self.listener.accept()
            except OSError:
                return
            target = socket.socket()
            target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            try:
                target.connect(self.target)
            except OSError:
                dialler.close()
                continue
            left = [self.period]
            for ends in ((dialler, target), (target, dialler)):
                counts = (ends[1] is dialler) == self.towards_dialler
                threading.Thread(target=self.forward, args=(*ends, counts, left), daemon=True).start()

    def forward(self, source, to, counts, left):
        try:
            while data := source.recv(BUFFER):
                to.sendall(data)
                with self.lock:
                    if not counts:
                        continue
                    self.sent += len(data)
                    left[0] -= len(data)
                    if left[0] <= 0 and self.cuts_left > 0:
                        self.cuts_left -= 1
                        self.cuts += 1
                        break
        except OSError:
            pass
        for s in (source, to):
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


def transfer(scene, by_dialler):
    """All of a file goes from one node to the other over connections that last for 3 MiB each; they
    see each other through the proxy only."""
    a = scene.node("a", PEERVAULT_ADVERTISE="none").start()
    b = scene.node("b", PEERVAULT_ADVERTISE="none")
    proxy = CuttingProxy(scene, a.address, 3 * MIB, 3, towards_dialler=not by_dialler)
    big = scene.file("big", 13 * MIB)
    if by_dialler:
        b.run("store", big)
    else:
        a.store(big)
    stored = sum(os.path.getsize(f) for f in (b if by_dialler else a).blob_files())
    b.start(peers=[proxy.address])
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    needed = stored + stored // 100 + 128 * 1024  # frames, handshakes, records
    assert proxy.cuts == 3, proxy.cuts
    assert proxy.sent <= needed + proxy.cuts * STREAMS * STREAM_LOSS, (proxy.sent, needed)
    out = scene.path("out")
    (a if by_dialler else b).run("get", "big", "-o", out)
    assert sha256_of(out) == sha256_of(big)


def test_bodies_go_on_where_they_were_cut(scene):
    """Towards the node that dials: a new member gets what there is."""
    transfer(scene, by_dialler=False)


def test_bodies_of_the_dialler_go_on_where_they_were_cut(scene):
    transfer(scene, by_dialler=True)
