"""What a distribution and a service manager see of PeerVault."""
import os
import re
import signal
import socket
import subprocess

from harness import Skip, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# ---- the service manager's side ----

class Manager:
    """Listens as systemd does at NOTIFY_SOCKET."""

    def __init__(self, scene, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(60)
        self.address = address
        scene.cleanups.append(self.socket.close)

    def receive(self):
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)


def unit(section_and_key):
    """All values of a key in the system unit."""
    with open(os.path.join(ROOT, "packaging", "peervault.service")) as f:
        return re.findall(rf"^{section_and_key}=(.*)$", f.read(), re.M)


def start_as_the_unit_does(node, manager):
    """ExecStart of the unit, with its words, for the program under test and a vault of ours."""
    command = unit("ExecStart")[0].split()
    assert command[0] == "/usr/bin/peervault" and command[-1] == "daemon", command
    assert unit("Environment") == ["PEERVAULT_VAULT=/var/lib/peervault"]
    node.env.update(NOTIFY_SOCKET=manager.address, PEERVAULT_VAULT=node.vault,
                    PEERVAULT_LISTEN="127.0.0.1:0")
    with open(node.log_path, "ab") as log:
        node.process = subprocess.Popen([node.scene.program, *command[1:]], env=node.env,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ready = manager.receive()
    assert ready["READY"] == "1", ready
    node.address = node.status()["listen"]  # what is ready answers at once
    assert node.address in ready["STATUS"], ready


def test_service_handshake(scene):
    for name, address in (("path", scene.path("notify")), ("abstract", f"@pv-test-{os.getpid()}")):
        manager = Manager(scene, address)
        node = scene.node(name)
        start_as_the_unit_does(node, manager)
        node.process.send_signal(signal.SIGTERM)
        assert manager.receive()["STOPPING"] == "1"
        node.stop()


def test_service_manager_that_is_gone(scene):
    node = scene.node("a", NOTIFY_SOCKET=scene.path("nobody")).start()
    assert "the service manager was not told" in node.log()


def reload(node, manager):
    """systemctl reload."""
    start = len(node.log())
    node.process.send_signal(signal.SIGHUP)
    first, last = manager.receive(), manager.receive()
    assert first["RELOADING"] == "1" and int(first["MONOTONIC_USEC"]) > 0, first
    assert last == {"READY": "1"}, last
    return node.log()[start:]


def test_reload(scene):
    other = scene.node("other").start()
    node, manager = scene.node("a"), Manager(scene, scene.path("notify"))
    start_as_the_unit_does(node, manager)
    assert node.run("peers", "--json").out == b""

    settings = os.path.join(node.vault, "peervault.conf")
    scene.file(settings, content=f"peers = {other.address}\ngc_grace = 1d\n".encode())
    log = reload(node, manager)
    assert "settings reloaded" in log and "waits for a restart\" key=gc_grace" in log, log
    assert "key=role" not in log and "key=listen" not in log, log
    wait_until(lambda: node.status()["in_sync"] == 1, "the new peer")

    scene.file(settings, content=b"log_level = error\n")
    assert reload(node, manager) == ""  # not even that it reloaded
    assert node.status()["in_sync"] == 1  # peers are only added

    scene.file(settings, content=b"listen = 127.0.0.1:0\nlisten_adress = x\n")
    log = reload(node, manager)
    assert "settings not reloaded" in log, log
    assert "peervault.conf, line 2: unknown key listen_adress" in log, log
    assert node.status()["in_sync"] == 1
