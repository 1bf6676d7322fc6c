"""What a distribution and a service manager see of PeerVault."""
import glob
import json
import os
import re
import shlex
import shutil
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


def test_memory_of_the_unit(scene):
    node = scene.node("a").start()
    limit = node.status()["mem_limit_bytes"] + (128 << 20)
    assert unit("MemoryMax") == [f"{limit >> 20}M"], limit


def test_service_handshake(scene):
    for name, address in (("path", scene.path("notify")), ("abstract", f"@pv-test-{os.getpid()}")):
        manager = Manager(scene, address)
        node = scene.node(name)
        start_as_the_unit_does(node, manager)
        node.process.send_signal(signal.SIGTERM)
        assert manager.receive()["STOPPING"] == "1"
        assert node.process.wait(timeout=60) == 0, node.log()


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


def test_settings_and_their_origins(scene):
    vault = scene.path("v")
    secret, cluster_key = scene.token, scene.cluster_key
    conf = scene.file(os.path.join(vault, "peervault.conf"),
                      content=b"listen = 127.0.0.1:1\nreplicas = 5\ngc_grace = 1d\n")

    def origins(*flags, **env):
        env = scene.environment(**env)
        result = scene.run("--vault", vault, "config", "show", *flags, env=env)
        assert secret not in str(result) and cluster_key not in str(result), result
        rows = re.findall(r"^(\w+) += (\S*) +# (\S+)$", result.text, re.M)
        assert len(rows) == len(result.text.splitlines()), result
        return {key: (value, origin) for key, value, origin in rows}

    shown = origins("--listen", "127.0.0.1:3", PEERVAULT_LISTEN="127.0.0.1:2",
                    PEERVAULT_REPLICAS="4", PEERVAULT_AUTH_TOKEN=secret)
    assert shown["listen"] == ("127.0.0.1:3", "flag")
    assert shown["replicas"] == ("4", "environment")
    assert shown["gc_grace"] == ("1d", "peervault.conf")
    assert shown["mem_limit"] == ("64MiB", "default")
    assert shown["auth_token"] == ("********", "environment")
    assert shown["cluster_key"] == ("", "nowhere")

    os.remove(conf)
    given = {"PEERVAULT_AUTH_TOKEN": secret, "PEERVAULT_CLUSTER_KEY": cluster_key}
    scene.run("--vault", vault, "init", env=scene.environment(**given))
    shown = origins()
    assert shown["auth_token"] == shown["cluster_key"] == ("********", "keyring")
    assert origins(**given)["cluster_key"] == ("********", "environment")

    def check(code, said, *flags, **env):
        result = scene.run("--vault", vault, "config", "check", *flags, code=code,
                           env=scene.environment(**env))
        assert said in result.err.decode() and secret not in str(result), result

    check(0, "the settings are valid", **given)
    check(2, "--replicas", "--replicas")
    check(2, "replicas = \"65\"", "--replicas", "65")
    check(2, "", PEERVAULT_AUTH_TOKEN="another token than the keyring's")
    scene.file(conf, content=b"# a comment\n\nlisten_address = x\n")
    check(2, "peervault.conf, line 3: unknown key listen_address")


# ---- the unit of a user ----

SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$HOME/calls"
[ ! -e "$HOME/unreachable" ] || { echo 'Failed to connect to bus' >&2; exit 1; }
"""


def user_of_services(scene):
    """An environment with a systemctl that writes down what it is asked."""
    home, tools = scene.path("home"), scene.path("tools")
    os.mkdir(home)
    path = scene.file(os.path.join(tools, "systemctl"), content=SYSTEMCTL.encode())
    os.chmod(path, 0o755)
    return dict(scene.environment(), HOME=home, PATH=f"{tools}:{os.environ['PATH']}")


def calls(env):
    """Those since the last time that one asked."""
    path = os.path.join(env["HOME"], "calls")
    if not os.path.exists(path):
        return []
    lines = read(path).splitlines()
    os.remove(path)
    return lines


def test_service_of_a_user(scene):
    env = user_of_services(scene)
    vault = scene.path('v with "quotes", $HOME, 100% and \\')
    unit_path = os.path.join(env["HOME"], ".config/systemd/user/peervault.service")
    conf = scene.file(os.path.join(vault, "peervault.conf"), content=b"mem_limit = 256MiB\n")
    result = scene.run("--vault", vault, "install-service", env=env)
    assert f"unit   {unit_path}\nstate  running\n" == result.text, result
    assert calls(env) == ["--user daemon-reload", "--user enable --quiet peervault.service",
                          "--user restart peervault.service"]
    text = read(unit_path)
    assert "MemoryMax=384M\n" in text, text
    assert '--vault" "' in text and '\\"quotes\\", $$HOME, 100%% and \\\\" daemon\n' in text, text
    if shutil.which("systemd-analyze"):
        result = subprocess.run(["systemd-analyze", "--user", "--man=no", "verify", unit_path],
                                capture_output=True, text=True,
                                env=dict(env, XDG_RUNTIME_DIR=scene.dir))
        assert "peervault" not in result.stdout + result.stderr, result

    # Again, with other settings; then where no manager is reachable.
    os.remove(conf)
    open(os.path.join(env["HOME"], "unreachable"), "w").close()
    result = scene.run("--vault", vault, "install-service", "--json", env=env)
    assert result.json == {"unit": unit_path, "state": "written"}, result
    assert b"systemctl --user enable --now peervault" in result.err, result
    assert "MemoryMax=192M\n" in read(unit_path) and calls(env) == ["--user daemon-reload"]
    os.remove(os.path.join(env["HOME"], "unreachable"))

    wanted = os.path.join(os.path.dirname(unit_path), "default.target.wants/peervault.service")
    os.mkdir(os.path.dirname(wanted))
    os.symlink(unit_path, wanted)
    result = scene.run("--vault", vault, "uninstall-service", env=env)
    assert result.text.endswith("state  absent\n") and b"stays as it is" in result.err, result
    assert calls(env) == ["--user daemon-reload", "--user disable --now peervault.service",
                          "--user daemon-reload"]
    assert not os.path.exists(unit_path) and not os.path.lexists(wanted)
    scene.run("--vault", vault, "uninstall-service", env=env)
    assert calls(env) == []


def test_service_unit_of_somebody_else(scene):
    env = user_of_services(scene)
    unit_path = scene.file(scene.path("home/.config/systemd/user/peervault.service"),
                           content=b"[Service]\nExecStart=/bin/true\n")
    for command in ("install-service", "uninstall-service"):
        result = scene.run(command, env=env, code=6)
        assert b"left alone" in result.err, result
    assert read(unit_path) == "[Service]\nExecStart=/bin/true\n" and calls(env) == []
    scene.run("--vault", scene.path("line\nbreak"), "install-service", code=2,
              env=dict(env, XDG_CONFIG_HOME=scene.path("config")))
    bad = scene.path("bad")
    scene.file(os.path.join(bad, "peervault.conf"), content=b"nonsense = 1\n")
    scene.run("--vault", bad, "install-service", code=2,
              env=dict(env, XDG_CONFIG_HOME=scene.path("config")))
    assert not os.path.exists(scene.path("config"))
    scene.run("install-service", code=2, env=dict(env, HOME=""))


def test_service_unit_starts_a_daemon(scene):
    """Without a manager: by the unit's own ExecStart line, unquoted as systemd does."""
    env = dict(user_of_services(scene), PEERVAULT_LISTEN="127.0.0.1:0")
    scene.run("--vault", scene.path("v 1"), "install-service", env=env)
    line, = re.findall("^ExecStart=(.*)$", read(scene.path("home/.config/systemd/user/"
                                                           "peervault.service")), re.M)
    node, manager = scene.node("v 1"), Manager(scene, scene.path("notify"))
    with open(node.log_path, "ab") as log:
        node.process = subprocess.Popen(shlex.split(line), stdout=log, stderr=log,
                                        env=dict(env, NOTIFY_SOCKET=manager.address))
    assert manager.receive()["READY"] == "1"
    assert node.status()["daemon"] is True


# ---- what `make install` leaves ----

INSTALLED = """bin/peervault
lib/systemd/system/peervault.service
lib/sysusers.d/peervault.conf
share/bash-completion/completions/peervault
share/doc/peervault/LICENSE
share/fish/vendor_completions.d/peervault.fish
share/man/man1/peervault.1
share/man/man5/peervault.conf.5
share/man/man8/peervault-daemon.8
share/zsh/site-functions/_peervault""".split()


def make(*args):
    """In the tree itself: whatever is built already is not built again."""
    env = {k: v for k, v in os.environ.items() if k not in ("VARIANT", "MAKEFLAGS", "MAKELEVEL")}
    result = subprocess.run(["make", "--no-print-directory", *args], cwd=ROOT, env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(path, name), folder)
                  for path, _, names in os.walk(folder) for name in names)


def installed(scene, prefix="/usr/local"):
    if scene.variant != "release":
        raise Skip("make install takes the release build, tested there")
    make("install", f"DESTDIR={scene.path('root')}", f"PREFIX={prefix}")
    return scene.path("root") + prefix


def commands(scene):
    lines = scene.run("help", "--json").text.splitlines()
    return [json.loads(line) for line in lines]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def checked(*command, **kw):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    assert result.returncode == 0 and not result.stderr, f"{command}: {result}"
    return result.stdout


def test_make_install_and_uninstall(scene):
    prefix = installed(scene, "/opt/pv")
    assert files_below(prefix) == INSTALLED
    assert files_below(scene.path("root")) == [f"opt/pv/{f}" for f in INSTALLED]
    for name in INSTALLED:
        mode = os.stat(os.path.join(prefix, name)).st_mode & 0o777
        assert mode == (0o755 if name == "bin/peervault" else 0o644), (name, oct(mode))
    out = checked(f"{prefix}/bin/peervault", "version")
    assert out == scene.run("version").text
    assert "ExecStart=/opt/pv/bin/peervault daemon" in read(
        f"{prefix}/lib/systemd/system/peervault.service")
    make("uninstall", f"DESTDIR={scene.path('root')}", "PREFIX=/opt/pv")
    assert files_below(scene.path("root")) == []


def test_manual_pages(scene):
    prefix = installed(scene)
    if not shutil.which("mandoc"):
        raise Skip("mandoc is not installed")
    pages = {}
    for path in glob.glob(f"{prefix}/share/man/man?/*"):
        checked("mandoc", "-Tlint", "-Wwarning", path)
        text = checked("mandoc", "-Tascii", "-Owidth=100", path)
        pages[os.path.basename(path)] = re.sub(".\x08", "", text)
        if shutil.which("man"):  # groff's opinion
            checked("man", "--warnings", "-E", "UTF-8", "-l", path, env=scene.environment())
    assert len(pages) == 3, pages.keys()
    one = pages["peervault.1"]
    for command in commands(scene):
        assert re.search(rf"^ +peervault \[options\] {command['name']}\b", one, re.M), command
        for option in command["options"]:
            assert f"--{option['name']}" in one, option
    five = pages["peervault.conf.5"]
    for line in scene.run("config", "show", "--json").text.splitlines():
        key = json.loads(line)["key"]
        assert re.search(rf"^ +{key}\b", five, re.M) or key in SECRETS, key


SECRETS = ("auth_token", "cluster_key")


# ---- completions ----

COMPLETE = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_peervault
printf '%s\n' "${COMPREPLY[@]}"
"""


def test_completion_of_bash(scene):
    script = f"{installed(scene)}/share/bash-completion/completions/peervault"
    folder = scene.path("cwd")
    for name in ("photo.jpg", "two words.txt"):
        scene.file(os.path.join(folder, name), content=b"x")
    os.mkdir(os.path.join(folder, "sub"))

    def complete(*words):
        out = checked("bash", "-uc", COMPLETE, "bash", script, "peervault", *words, cwd=folder,
                      env=scene.environment())
        return sorted(out.split("\n")[:-1]) if out != "\n" else []

    everything = commands(scene)
    firsts = sorted({c["name"].split()[0] for c in everything})
    assert complete("") == firsts
    assert complete("--vault", "x", "-q", "") == firsts and complete("--vault", "=", "x", "") == firsts
    assert complete("sta") == ["stat", "status"]
    assert complete("key", "") == ["export", "import", "list", "rotate"] and complete("help", "") == firsts
    for command in everything:
        expected = {f"--{option['name']}" for option in command["options"]} | {"--vault", "--json"}
        assert expected <= set(complete(*command["name"].split(), "--")), command
    assert complete("store", "") == ["photo.jpg", "sub", "two words.txt"]
    assert complete("--vault", "") == ["sub"] and complete("--vault", "=") == ["sub"]
    assert complete("daemon", "--role", "") == ["blind", "keyed"]
    assert complete("daemon", "--listen", "127.0.0.1", ":", "3000", "--rep") == ["--replicas"]
    assert complete("daemon", "--listen", "") == [] and complete("ls", "") == []
    assert complete("get", "x", "-o", "ph") == ["photo.jpg"]


# In place of zsh's own functions: $1 is the script, the rest what has been typed behind `peervault`.
ZSH = """
script=$1 typed=("${@[2,-1]}")
_arguments() {
    if [[ $1 = -C ]]; then state=rest words=($typed) CURRENT=$#typed; else print -rl -- "$@"; fi
}
_describe() { print -rl -- "${(P@)4}" }
source $script
"""


def test_completions_of_zsh_and_fish(scene):
    prefix = installed(scene)
    zsh = f"{prefix}/share/zsh/site-functions/_peervault"
    fish = f"{prefix}/share/fish/vendor_completions.d/peervault.fish"
    for command in commands(scene):
        words = command["name"].split()
        assert f"'{words[-1]}:" in read(zsh) and f"    '{command['name']}')" in read(zsh), command
        assert f" -a {words[-1]} -d " in read(fish), command
        for option in command["options"]:
            assert f"--{option['name']}" in read(zsh) and f" -l {option['name']} " in read(fish)
    for shell, script in (("zsh", zsh), ("fish", fish)):
        if not shutil.which(shell):
            raise Skip(f"{shell} is not installed: its completion was not run")
        checked(shell, "-n", script)
    for typed, offered in ((["invite", "--"], "--role"), (["peers", "block", "--"], "--reason"),
                           (["key", ""], "export:"), (["ls", "--"], "--history")):
        out = checked("zsh", "-fc", ZSH, "zsh", zsh, *typed, env=scene.environment())
        assert offered in out, (typed, out)
    ask = f"source {fish}; complete -C 'peervault key ' | string split -f1 \\t | sort"
    assert checked("fish", "-c", ask, env=scene.environment()) == "export\nimport\nlist\nrotate\n"


# ---- the Debian package ----

PACKAGED = """etc/default/peervault
lib/systemd/system/peervault.service
usr/bin/peervault
usr/lib/sysusers.d/peervault.conf
usr/share/bash-completion/completions/peervault
usr/share/doc/peervault/changelog.gz
usr/share/doc/peervault/copyright
usr/share/fish/vendor_completions.d/peervault.fish
usr/share/man/man1/peervault.1.gz
usr/share/man/man5/peervault.conf.5.gz
usr/share/man/man8/peervault-daemon.8.gz
usr/share/zsh/vendor-completions/_peervault""".split()


def test_debian_package(scene):
    if scene.variant != "release":
        raise Skip("make deb takes the release build, tested there")
    if not shutil.which("dpkg-shlibdeps"):
        raise Skip("dpkg-dev is not installed")
    make("deb")
    package, = glob.glob(os.path.join(ROOT, "build", "deb", "*.deb"))
    version = scene.run("version").text.split()[1]
    assert checked("dpkg-deb", "-f", package, "Package", "Version") == \
        f"Package: peervault\nVersion: {version}\n"
    depends = checked("dpkg-deb", "-f", package, "Depends")
    assert "libuv1" in depends and "libssl3" in depends and "adduser" in depends, depends
    for line in checked("dpkg-deb", "-c", package).splitlines():
        assert line.split()[1] == "root/root", line

    root = scene.path("deb")
    checked("dpkg-deb", "-R", package, root)
    control = os.path.join(root, "DEBIAN")
    assert sorted(os.listdir(control)) == ["conffiles", "control", "md5sums", "postinst", "postrm",
                                           "prerm"]
    assert read(f"{control}/conffiles") == "/etc/default/peervault\n"
    checked("md5sum", "--quiet", "-c", "DEBIAN/md5sums", cwd=root)
    assert checked(f"{root}/usr/bin/peervault", "version").split()[1] == version
    assert read(f"{root}/lib/systemd/system/peervault.service") == \
        read(os.path.join(ROOT, "packaging", "peervault.service"))
    shutil.rmtree(control)
    assert files_below(root) == PACKAGED
    if shutil.which("lintian"):
        checked("lintian", "--allow-root", "--fail-on", "error,warning", package)


def test_purge_keeps_a_vault(scene):
    """The scripts name the folder they spare; here they run with another one in its place."""
    node = scene.node("a").start()
    key, = node.store(scene.file("kept", content=b"kept"))
    node.stop()
    script = read(os.path.join(ROOT, "packaging", "deb", "postrm"))
    script = script.replace("/var/lib/peervault", node.vault)
    script = script.replace("/etc/systemd/system", scene.path("nowhere"))
    script = script.replace("/run/systemd/system", scene.path("nowhere"))
    for action in ("remove", "purge", "upgrade", "abort-install"):
        out = checked("sh", "-c", script, "postrm", action)
        assert (f"the vault {node.vault} stays" in out) == (action == "purge"), out
    assert node.run("get", key).out == b"kept"
    empty = scene.path("empty")
    os.mkdir(empty)
    assert checked("sh", "-c", script.replace(node.vault, empty), "postrm", "purge") == ""
    assert not os.path.exists(empty)
