"""Rows about those who come by an invite, or pretend to, and about members who speak as guests do."""
import os
import struct
import time

from client import Client
from extract import hmac256
from harness import new_token, wait_until
from lane import ATTACKER, CLOSE_S, answers, ends, silence
from records import blind_member
from session import DIGEST, GET, IDLE, JOIN, LIMIT, M1, NOT_MEMBER, PROTOCOL, TOKEN, Handshake, \
    Identity, Invite, Session, frame_of, now_ms

REQUEST = b"\1\4eve!"
GRANT = b"\2\2" + bytes(8) + b"\0\5mine!\0\0"
DAY_S = 86400


def invite(lane, *words):
    return lane.victim.run("invite", *words, "--json").json


def guest(lane, code, identity=None):
    s = Session(lane.address, Invite(code), None, identity or Identity(), ATTACKER)
    lane.opened.append(s.socket)
    s.start()
    return s


def token_message(created_s, text=None):
    text = (text or new_token()).encode()
    return struct.pack(">QQH", created_s, min(created_s + DAY_S, 2**64 - 1), len(text)) + text


def tokens(lane):
    with open(os.path.join(lane.victim.vault, "keyring")) as f:
        return [line.split()[1:] for line in f if line.startswith("token ")]


def one_invite(lane):
    """An open one for all plays of a lane: a node has at most 32."""
    if not hasattr(lane, "code"):
        lane.code = invite(lane)["code"]
    return lane.code


def something_else(lane):
    """Messages of members, unknown ones, malformed requests, data: none is heard."""
    code = one_invite(lane)
    for kind, body in ((DIGEST, b"\1" + bytes(32)), (GET, struct.pack(">IH", 1, 1) + bytes(32)),
                       (TOKEN, token_message(now_ms() // 1000)), (99, b""), (JOIN, b""),
                       (JOIN, b"\1"), (JOIN, b"\1\5eve!"), (JOIN, REQUEST + b"\0"), (JOIN, GRANT),
                       (JOIN, b"\1\x41" + b"a" * 65), (JOIN, b"\1\4e\0e!"), (JOIN, b"\0\0"),
                       (JOIN, b"\3"), (JOIN, b"\4\0")):
        s = guest(lane, code)
        s.send(kind, body)
        ends(s, PROTOCOL, (kind, body))
    s = guest(lane, code)
    s.send_data(1, 0, b"x")
    ends(s, PROTOCOL, "data")


def codes_that_are_not_good(lane):
    """Another secret, another's use, a time that is over; a request more than once."""
    code = invite(lane)["code"]
    first = Identity()
    s = guest(lane, code, first)
    s.send(JOIN, REQUEST)
    kind, grant = s.receive()
    assert kind == JOIN and grant[:2] == b"\2\2" and bytes.fromhex(lane.key) not in grant
    s.send(JOIN, REQUEST)
    ends(s, PROTOCOL, "a second request")
    s = guest(lane, code)
    s.send(JOIN, REQUEST)
    ends(s, NOT_MEMBER, "used by another")
    lane.victim.run("peers", "block", first.node_id.hex())
    s = guest(lane, code, first)
    s.send(JOIN, REQUEST)
    ends(s, NOT_MEMBER, "used by one who is blocked now")
    lane.victim.run("peers", "forget", first.node_id.hex())

    short = invite(lane, "--ttl", "1s")
    wait_until(lambda: now_ms() > short["expires_ms"], "the invite to expire", CLOSE_S)
    s = guest(lane, short["code"])
    s.send(JOIN, REQUEST)
    ends(s, NOT_MEMBER, "expired")
    shake = Handshake(Identity(), Invite(code))
    shake.token.gate = hmac256(shake.token.gate, b"another secret")
    silence(lane.stranger(frame_of(shake.make_1())), "another secret")


def thief_of_a_code(lane):
    """Came first with a code that is to be confirmed: is not let in, whatever the operator types."""
    code = invite(lane, "--role", "keyed", "--confirm")["code"]
    thief = guest(lane, code)
    thief.send(JOIN, REQUEST)
    assert thief.receive() == (JOIN, b"\3")
    owner = guest(lane, code)
    owner.send(JOIN, REQUEST)
    number = Invite(code).number(owner.h)
    ends(owner, NOT_MEMBER, "used by the thief")
    lane.victim.run("invite", "confirm", number, code=3)
    for kind, body in ((GET, struct.pack(">IH", 1, 1) + bytes(32)), (JOIN, REQUEST)):
        thief.send(kind, body)
        ends(thief, PROTOCOL, "while it waits")
        thief = guest(lane, code, thief.identity)
        thief.send(JOIN, REQUEST)
        assert thief.receive() == (JOIN, b"\3")


def guessed_codes(lane):
    """A flood of first messages under secrets that no invite has."""
    one_invite(lane)
    shake = Handshake(Identity(), Invite(lane.code))
    whole = shake.make_1()
    before = len(lane.victim.log())
    for _ in range(20 * lane.dose):
        guesses = []
        for _ in range(50):
            shake.token.gate = os.urandom(32)
            guesses.append(lane.stranger(frame_of(shake.tagged(M1, b"", whole[:-32])[1])))
        for s in guesses:
            silence(s, "a guess")
            s.close()
            lane.opened.remove(s)
    assert len(lane.victim.log()) - before < 40000, "a few lines, then a count"
    guest(lane, lane.code)  # is heard all the same


def silent_guests(lane):
    """As many as there may be, and one more; the time of each is up in half a minute."""
    waiting = [guest(lane, one_invite(lane)) for _ in range(8)]
    ends(guest(lane, lane.code), LIMIT, "the ninth")
    answers(lane.member())
    for s in waiting:
        ends(s, IDLE, "nothing was asked")
    guest(lane, lane.code)


def members_as_guests(lane):
    """JOIN from members; tokens from one who may not make any, of other dates, and malformed ones."""
    for body in (REQUEST, GRANT):
        c = lane.member()
        c.send(JOIN, body)
        ends(c, PROTOCOL, "JOIN of a member")
    c = blind_member(lane)
    c.send(TOKEN, token_message(now_ms() // 1000))
    ends(c, PROTOCOL, "TOKEN of a blind member")
    if len(tokens(lane)) == 1:  # that was given by hand, and has no date
        lane.victim.run("token", "rotate", "--overlap", "1h")
    before = tokens(lane)
    dated = int(before[0][1])
    c = lane.member()
    for created in (0, dated - DAY_S, dated, int(time.time()) + 2 * DAY_S, 2**64 - 1):
        c.send(TOKEN, token_message(created))
    answers(c)
    good = token_message(dated + 1)
    for body in (b"", good[:-1], good + b"a", good[:16] + b"\0\0", good[:16] + b"\4\1" + b"a" * 1025,
                 token_message(dated + 1, "a\0b"), token_message(dated + 1, "pvt1-abc")):
        c = lane.member()
        c.send(TOKEN, body)
        ends(c, PROTOCOL, body[:40])
    assert tokens(lane) == before
