"""Peers that a test plays itself."""
from session import DIGEST, Session


def session(scene, node, **options):
    """A keyed peer after the HELLOs."""
    peer = Session(node.address, scene.token, scene.cluster_key, **options)
    scene.cleanups.append(peer.socket.close)
    peer.start()
    return peer


def member(scene, node):
    """It has been admitted: it has heard the daemon's digest."""
    peer = session(scene, node)
    while peer.receive()[0] != DIGEST:
        pass
    return peer
