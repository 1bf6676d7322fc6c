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
    """A namespace whose lo has the given addresses besides its own; programs run in it by program()."""

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

    def program(self):
        """The program, in this network."""
        path = self.scene.path(f"in-{self.name}")
        if not os.path.exists(path):
            text = f"#!/bin/sh\nexec ip netns exec {self.name} {self.scene.program} \"$@\"\n"
            self.scene.file(path, content=text.encode())
            os.chmod(path, 0o755)
        return path

    def start(self, node, **options):
        """Starts the daemon of the node in this network."""
        whole, self.scene.program = self.scene.program, self.program()
        try:
            return node.start(**options)
        finally:
            self.scene.program = whole

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
