"""What a listening port says to those who should not be there: nothing, and one line in the log."""
import os
import socket
import threading

from harness import wait_in_sync, wait_until
from session import M1, Token, connect, envelope, frame_of, now_ms


def first_message(token, clock_ms):
    """With random bytes for Noise: gate and clock are checked before them."""
    message = envelope(M1, clock_ms) + os.urandom(48)
    return frame_of(message + Token(token).tag(M1, b"", message))


def answer_to(address, message):
    """Everything the listener says until it closes."""
    s = connect(address)
    said = b""
    try:
        s.sendall(message)
        while True:
            part = s.recv(4096)
            if not part:
                break
            said += part
    except ConnectionResetError:
        pass
    finally:
        s.close()
    return said


def logged(node, text):
    wait_until(lambda: text in node.log(), f"{text!r} in the log of {node.name}")


def test_wrong_token_is_named_on_both_sides(scene):
    a = scene.node("a").start()
    b = scene.node("b", token="quite another passphrase").start(peers=[a])
    logged(a, "wrong token")
    logged(b, "wrong token")
    assert a.status()["members"] == 1 and b.status()["connected"] == 0
    assert "token" in b.run("peers").text


def test_wrong_cluster_key_is_named_on_both_sides(scene):
    a = scene.node("a").start()
    b = scene.node("b", cluster_key=os.urandom(32).hex()).start(peers=[a])
    logged(a, "other cluster key")
    logged(b, "other cluster key")
    assert a.status()["members"] == 1


def test_http_and_random_bytes_get_silence(scene):
    a = scene.node("a").start()
    assert answer_to(a.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    logged(a, "HTTP")
    before = a.log().count("handshake refused")
    assert answer_to(a.address, b"\x16\x03\x01\x02\x00" + os.urandom(512)) == b""
    assert answer_to(a.address, b"\xff" * 300) == b""
    wait_until(lambda: a.log().count("handshake refused") >= before + 2, "refusals in the log")
    assert a.status()["healthy"] is True


def test_wrong_gate_gets_silence(scene):
    a = scene.node("a").start()
    assert answer_to(a.address, first_message("not the token at all", now_ms())) == b""
    logged(a, "wrong token")


def test_clock_ten_minutes_off_is_told(scene):
    token = "a passphrase"
    a = scene.node("a", token=token).start()
    for off_s in (-600, 600):
        said = answer_to(a.address, first_message(token, now_ms() + off_s * 1000))
        # One frame of 48 bytes that only a holder of the token can make: it carries our clock.
        assert said[:5] == bytes([1, 0, 0, 0, 48]) and len(said) == 53, said
        assert said[5:9] == b"PVH1" and said[9] == 4
        theirs = int.from_bytes(said[13:21], "big")
        assert abs(theirs - now_ms()) < 60000
    logged(a, "clock differs")


def test_replayed_first_message_is_refused(scene):
    a = scene.node("a").start()
    recorded = []
    listener = socket.create_server(("127.0.0.1", 0))
    scene.cleanups.append(listener.close)

    def proxy():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = connect(a.address)

            def pump(source, target, keep):
                try:
                    while data := source.recv(65536):
                        if keep and not recorded:
                            recorded.append(data)
                        target.sendall(data)
                except OSError:
                    pass
                for s in (source, target):
                    try:
                        s.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            threading.Thread(target=pump, args=(client, upstream, True), daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client, False), daemon=True).start()

    threading.Thread(target=proxy, daemon=True).start()
    b = scene.node("b").start(peers=["127.0.0.1:%d" % listener.getsockname()[1]])
    wait_in_sync([a, b])
    assert answer_to(a.address, recorded[0][:101]) == b""
    logged(a, "replayed")


def test_silent_client_is_closed_at_the_deadline(scene):
    a = scene.node("a").start()
    s = connect(a.address)
    s.sendall(b"\x01\x00")
    assert s.recv(1) == b""
    s.close()
    logged(a, "handshake refused")


def test_dialling_ourselves_is_noticed(scene):
    a = scene.node("a").start()
    address = a.address
    a.stop()
    a.start(listen=address, peers=[address])
    logged(a, "ourselves")
    assert a.status()["members"] == 1
