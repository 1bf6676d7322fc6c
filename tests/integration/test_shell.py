"""The shell: scripts, and a conversation at a terminal."""
import os
import pty
import select
import signal
import time

from harness import DEADLINE_S


def test_script(scene):
    node = scene.node("a")
    script = b"""
set a 'one two'      # a comment
set b "x\\"y" --json
no-such-command
value a
value nothing
daemon
set 'not closed
set c \\ d
ls --values
"""
    result = node.run("shell", stdin=script)
    assert result.out.endswith(b"}\none twoa\tone two\nb\tx\"y\nc\t d\n"), result
    assert b'"name":"b"' in result.out, result
    said = [line for line in result.err.splitlines() if b"made the vault" not in line]
    assert len(said) == 4 and b"no such command" in said[0] and b"not found" in said[1] and \
        b"not in a shell" in said[2] and b"has no end" in said[3], result
    node.run("shell", stdin=b"value nothing", code=3)
    node.run("shell", stdin=b"value nothing\nversion", code=0)
    node.run("shell", stdin=b"exit 9\nset a x", code=9)
    assert node.run("--json", "shell", stdin=b"value a").json["value"] == "one two"


def test_script_over_one_connection(scene):
    node = scene.node("a").start()
    lines = b"".join(b"set n/%d %d\n" % (i, i) for i in range(200))
    node.run("shell", stdin=lines + b"value n/199\n")
    assert len(node.run("ls", "--values").text.splitlines()) == 200


class Terminal:
    def __init__(self, node):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(node.scene.program, ["peervault", "--vault", node.vault, "shell"],
                      {**node.env, "TERM": "xterm"})
        self.seen = b""

    def wait_for(self, text):
        end = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            assert time.monotonic() < end and select.select([self.fd], [], [], DEADLINE_S)[0], self.seen
            self.seen += os.read(self.fd, 4096)
        self.seen = self.seen.split(text, 1)[1]

    def type(self, keys, answer):
        os.write(self.fd, keys)
        self.wait_for(answer)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_completion(scene):
    node = scene.node("a").start()
    node.run("set", "conf/a long name", "found")
    t = Terminal(node)
    try:
        t.wait_for(b"peervault> ")
        t.type(b"val\tconf/\t\n", b"found")  # Tab makes it: value conf/a\ long\ name
        t.wait_for(b"peervault> ")
    finally:
        t.close()
