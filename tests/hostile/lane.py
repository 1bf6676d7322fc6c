"""A daemon under attack, an honest member at another address, and what must hold after each row.

The victim listens on all loopback addresses, the attackers come from 127.0.0.3 and the honest member
from 127.0.0.2: it fetches a blob again and again, and how long that takes is the figure of a row.
"""
import multiprocessing
import os
import re
import select
import threading
import time

import seal
from client import Client
from extract import sha256
from harness import pause, wait_until
from session import PING, PONG, Closed, Identity, Session, connect, now_ms

HONEST, ATTACKER = "127.0.0.2", "127.0.0.3"
CLOSE_S = 60      # for anything that should take five seconds at most
KEPT_S = 200      # beginnings of bodies are kept for a minute, and free memory for another
SLACK_KIB = 1024       # of resident memory, after close
ENOUGH = 100           # requests to speak of 99 of 100
PEAK_KIB = 32 << 10    # and meanwhile: the shares for bodies either way, and 12 MiB


def takes_all(blob_id):
    return True


class Served(threading.Thread):
    """Serves the other side of a session meanwhile. reason: of the GOODBYE that may end it."""

    def __init__(self, client, *reasons):
        super().__init__(daemon=True)
        self.client, self.reasons, self.stopping, self.failure = client, reasons, False, None

    def run(self):
        try:
            self.client.run_until(lambda: self.stopping, 10 * CLOSE_S)
        except Closed as end:
            self.failure = None if end.reason in self.reasons else end
        except Exception as error:
            self.failure = error

    def __enter__(self):
        self.start()
        return self.client

    def __exit__(self, *_):
        self.stopping = True
        self.join(CLOSE_S)
        assert self.failure is None, f"a peer that serves: {self.failure!r}"


class Honest(multiprocessing.Process):
    """A member that keeps what it is offered, and measures how fast it is served: a process of its own,
    so that it waits for the victim only. What it was made with may be read here."""

    def __init__(self, address, token, key, pace_s):
        super().__init__(daemon=True)
        self.pace_s, self.stopping = pace_s, multiprocessing.Event()
        self.times, self.failure = [], None  # (when, seconds)
        self.measures = multiprocessing.Queue()  # takes all, however late it is heard
        self.client = Client(address, token, key, source=HONEST, accepts=takes_all)
        content = os.urandom(30000)
        self.file = seal.seal_file(self.client.identity, self.client.key, b"honest", content,
                                   seal.hlc_of(now_ms()))
        self.client.publish(self.file)

    def run(self):
        blob_id = sha256(self.file.blobs[0][0])
        try:
            while not self.stopping.is_set():
                self.client.serve_for(self.pace_s)
                begin = time.monotonic()
                self.client.blobs.pop(blob_id)
                assert self.client.fetch(blob_id) is not None, "the honest member's blob is gone"
                self.measures.put((begin, time.monotonic() - begin))
        except BaseException as error:  # whatever it is, it is told at the end of the row
            self.measures.put(repr(error))

    def heard(self):
        """Takes in what it measured; the end of the list."""
        while not self.measures.empty():
            got = self.measures.get()
            if isinstance(got, str):
                self.failure = got
            else:
                self.times.append(got)
        return self.times[-1][0] if self.times else 0

    def served_again(self):
        """A request that began after this call was answered."""
        start = time.monotonic()
        wait_until(lambda: self.heard() > start or self.failure, "the honest member to be served", CLOSE_S)
        assert self.failure is None, f"the honest member: {self.failure}"

    def stop(self):
        self.stopping.set()
        wait_until(lambda: (self.heard(), not self.is_alive())[1], "the honest member to stop", CLOSE_S)

    def p99(self, spans):
        """How long 99 of 100 of its requests took that began in one of the spans, in words."""
        found = sorted(took for begin, took in self.times
                       if any(since <= begin < until for since, until in spans))
        if len(found) < ENOUGH:
            return None
        return f"{1000 * found[(len(found) * 99 - 1) // 100]:.1f} ms"


class Lane:
    def __init__(self, scene, dose=1, **env):
        self.scene, self.dose = scene, dose
        self.token, self.key = scene.token, scene.cluster_key
        self.victim = scene.node("victim", **env).start(listen="0.0.0.0:0")
        self.port = self.victim.address.rsplit(":", 1)[1]
        self.address = f"127.0.0.1:{self.port}"
        path = scene.file("large", 8 << 20)  # what a first use brings into memory is there from now on
        self.victim.run("get", self.victim.store(path)[0])
        self.victim.run("verify", "--deep")
        self.honest = Honest(self.address, self.token, self.key, 0.2 if dose == 1 else 0.01)
        self.honest.start()
        scene.cleanups.append(self.honest.stop)
        self.identity, self.uses, self.opened = None, 0, []
        self.rows = []  # when one was played: (since, until)
        start = time.monotonic()
        while dose > 1 and len(self.honest.times) < 2 * ENOUGH:
            self.honest.served_again()
        self.peace = [(start, time.monotonic())]

    # ---- attackers ----

    def stranger(self, data=b""):
        """A connection that has said this much and shaken no hand."""
        s = connect(self.address, ATTACKER)
        self.opened.append(s)
        s.sendall(data)
        return s

    def attacker(self):
        """An identity for two connections: one that misbehaves too often is no longer let in, and a
        cluster has 64 members."""
        if self.identity is None or self.uses == 2:
            self.identity, self.uses = Identity(), 0
        self.uses += 1
        return self.identity

    def session(self, kind=Session, key="", identity=None, **options):
        """After the handshake, before the HELLOs unless the kind says them."""
        key = self.key if key == "" else key
        s = kind(self.address, self.token, key, identity or self.attacker(), ATTACKER, **options)
        self.opened.append(s.socket)
        return s

    def member(self, **options):
        """One that has been admitted: it has heard of itself."""
        c = self.session(Client, **options)
        c.run_until(lambda: any(c.identity.public in r.envelope for r in c.records.values()), CLOSE_S)
        return c

    def pour(self, session, data):
        """Sends much, and throws away what comes meanwhile, so that the two do not wait for each other:
        until all has been taken, or the other side has closed. Nothing can be read afterwards."""
        s = session.socket
        s.setblocking(False)
        while data:
            readable, writable, _ = select.select([s], [s], [], CLOSE_S)
            assert readable or writable, "the daemon takes nothing"
            try:
                if readable and not s.recv(1 << 16):
                    return
                if writable:
                    data = data[s.send(data[:1 << 18]):]
            except BlockingIOError:
                pass
            except ConnectionError:
                return

    def close_all(self):
        for s in self.opened:
            s.close()
        self.opened.clear()

    # ---- what the victim does ----

    def logged(self, words):
        wait_until(lambda: words in self.victim.log(), f"{words!r} in the log", CLOSE_S)

    def status(self):
        return self.victim.status()

    def get(self, key, code=0):
        return self.victim.run("get", key, code=code)

    # ---- before and after ----

    def look(self, others=0):
        """Once there are only so many peers besides the honest one."""
        wait_until(lambda: self.status()["connected"] == 1 + others, "the connections", CLOSE_S)
        s, pid = self.status(), self.victim.process.pid
        with open(f"/proc/{pid}/status") as f:
            rss, peak = (int(re.search(rf"{name}:\s+(\d+)", text).group(1))
                         for text in [f.read()] for name in ("VmRSS", "VmHWM"))
        stored = {k: s[k] for k in ("files", "names", "blobs", "blob_bytes", "pending", "bad_blobs",
                                    "quarantined", "unknown_files")}
        stored["records"] = s["records"] - s["members"]  # a keyed peer is admitted, which is no harm
        return dict(rss=rss, peak=peak, fds=len(os.listdir(f"/proc/{pid}/fd")), stored=stored)

    def forget_peak(self):
        with open(f"/proc/{self.victim.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def settled(self, before, changes):
        """What holds after every row, once the attackers are gone."""
        slack = SLACK_KIB * (2 if changes else 1)  # what is stored has pages in memory
        self.close_all()
        assert not self.victim.ended(), f"the daemon ended: {self.victim.log()[-3000:]}"
        self.scene.check_reports()
        now = {}

        def back():
            pause(0.5)  # to look is to ask the daemon
            now.update(self.look())
            return now["fds"] <= before["fds"] and \
                (changes or now["stored"] == before["stored"]) and \
                (self.scene.sanitized or now["rss"] <= before["rss"] + slack)
        try:
            wait_until(back, "the state before", KEPT_S)
        except AssertionError:
            raise AssertionError(f"not as before: {before} -> {now}") from None
        assert os.listdir(os.path.join(self.victim.vault, "tmp")) == []
        assert self.scene.sanitized or now["peak"] <= before["rss"] + PEAK_KIB, (before, now)
        self.honest.served_again()
        return now["rss"] - before["rss"], now["peak"] - before["rss"]


# ---- what is expected ----

def silence(s, what=""):
    """Closed without a word."""
    said = b""
    s.settimeout(CLOSE_S)
    try:
        while part := s.recv(65536):
            said += part
    except ConnectionError:
        pass
    assert said == b"", f"{what}: {said[:80]!r}"


def ends(session, reason, what=""):
    """The session ends with this GOODBYE, None for none."""
    session.socket.settimeout(CLOSE_S)
    found = session.until_closed()
    assert found == reason, f"{what}: GOODBYE {found}, expected {reason}"


def answers(session):
    """It is alive: PING is answered, and all before it was taken."""
    cookie = os.urandom(8)
    session.send(PING, cookie + bytes(8))
    session.socket.settimeout(CLOSE_S)
    while True:
        kind, body = session.receive()
        if kind == PONG and body[:8] == cookie:
            return
