"""A network of its own with many addresses on one machine: hosts that are not loopback to a daemon."""
import ctypes
import os
import socket
import subprocess
import threading

from harness import Skip

CLONE_NEWNET = 0x40000000


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=60)


class Network:
    """A namespace whose lo has the given addresses besides its own; daemons are started in it."""

    def __init__(self, scene, addresses):
        if os.geteuid() != 0:
            raise Skip("network namespaces are for root")
        self.scene, self.name = scene, f"pv-net-{os.getpid()}-{len(scene.cleanups)}"
        try:
            ip("netns", "add", self.name)
        except (OSError, subprocess.CalledProcessError):
            raise Skip("no network namespaces here") from None
        scene.cleanups.append(lambda: ip("netns", "delete", self.name))
        ip("-n", self.name, "link", "set", "lo", "up")
        for address in addresses:
            ip("-n", self.name, "address", "add", address, "dev", "lo")

    def start(self, node, **options):
        """Starts the daemon of the node in this network."""
        return node.start(first=f'set -- ip netns exec {self.name} "$@"', **options)

    def run(self, function, *args):
        """function(*args) by a thread in the network: sockets that it makes stay there."""
        result = []

        def work():
            with open(f"/run/netns/{self.name}") as f:
                assert ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) == 0
            try:
                result.append(function(*args))
            except BaseException as error:  # of the thread that asked
                result.append(error)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    def connect(self, address, source):
        """A TCP connection from that address of ours."""
        host, port = address.rsplit(":", 1)
        return self.run(socket.create_connection, (host.strip("[]"), int(port)), 60, (source, 0))
