"""Rows about who connects how often, from addresses that are not loopback. For root."""
import os
import socket
import time

from client import Client
from harness import wait_until
from lane import CLOSE_S, answers
from netns import Network
from session import Handshake, Identity, Token, frame_of

DAEMON, HONEST, ONE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
MANY = [f"198.51.{i // 250}.{i % 250 + 1}" for i in range(600)]


def in_a_network(lane, addresses, play):
    """play(network, node, address) with a daemon of its own. A member whose address is configured is
    served afterwards, and shakes hands once more in the middle of it."""
    network = Network(lane.scene, [f"{a}/32" for a in (DAEMON, HONEST, ONE, *addresses)])
    node = lane.scene.node(f"netted{len(lane.scene.nodes)}")
    network.start(node, listen=f"{DAEMON}:0", peers=[f"{HONEST}:1"])
    honest = network.run(Client, node.address, lane.token, lane.key, None, HONEST)
    lane.opened.append(honest.socket)
    honest.run_until(lambda: honest.agreed, CLOSE_S)
    fds = len(os.listdir(f"/proc/{node.process.pid}/fd"))
    kept = play(network, node, (DAEMON, int(node.address.rsplit(":", 1)[1])))
    answers(honest)
    newcomer = network.run(Client, node.address, lane.token, lane.key, honest.identity, HONEST)
    answers(newcomer)
    for s in (*kept, honest.socket, newcomer.socket):
        s.close()
    wait_until(lambda: len(os.listdir(f"/proc/{node.process.pid}/fd")) <= fds - 1,
               "descriptors to be closed", CLOSE_S)
    node.stop()


def opened(address, source):
    """A connection that is not waited for."""
    s = socket.socket()
    s.setblocking(False)
    s.bind((source, 0))
    s.connect_ex(address)
    return s


def cpu_s(node):
    with open(f"/proc/{node.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def handshakes_of_one_host(lane):
    """A thousand first messages under the token."""
    m1 = [frame_of(Handshake(Identity(), Token(lane.token)).make_1()) for _ in range(1000)]

    def play(network, node, address):
        answered, begin, cpu = [], time.monotonic(), cpu_s(node)

        def work():
            for message in m1:
                s = socket.create_connection(address, CLOSE_S, (ONE, 0))
                with s:
                    try:
                        s.sendall(message)
                        answered.append(len(s.recv(400)) > 0)
                    except ConnectionError:
                        pass
        network.run(work)
        took = time.monotonic() - begin
        assert sum(answered) <= 20 + 5 * (took + 1), (sum(answered), took)
        lane.figure = f"{cpu_s(node) - cpu:.2f} s of processor in {took:.2f} s"
        return []
    in_a_network(lane, [], play)


def connections_of_many(lane):
    """Thousands from one address, and one from each of 600, all at once and silent."""
    def play(network, node, address):
        def work():
            kept = []
            for i in range(1000 * lane.dose):
                kept.append(opened(address, ONE))
                if len(kept) > 300:  # this process has only so many descriptors
                    kept.pop(0).close()
            return kept + [opened(address, source) for source in MANY]
        kept = network.run(work)
        open_now = len(os.listdir(f"/proc/{node.process.pid}/fd"))
        assert open_now < 512 + 100, open_now
        return kept
    in_a_network(lane, MANY, play)
