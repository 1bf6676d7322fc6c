"""What the chapter "Operate" of README.md promises: backups, restores, reloads."""
import os
import shutil
import signal

from harness import wait_has_blobs, wait_in_sync, wait_until

MIB = 1 << 20
SECRETS = "keyring", "identity"  # the files of a vault that peers cannot give back


# ---- a cluster as it is set up by hand ----

def import_secrets(node, source):
    """key export there, key import here; nothing comes from the environment."""
    secrets = node.scene.file(f"secrets of {source.name}", content=source.run("key", "export").out)
    node.run("key", "import", "@" + secrets)
    os.remove(secrets)


def cluster_by_hand(scene, names="abc"):
    nodes = []
    for name in names:
        node = scene.node(name)
        node.env = scene.environment()  # no secrets: they are in the keyring
        if nodes:
            import_secrets(node, nodes[0])
        else:
            node.run("init")
        nodes.append(node.start(peers=list(nodes)))
    wait_in_sync(nodes)
    return nodes


def store(scene, node, stage):
    """Files of all sizes; {key: content}."""
    sizes = (7, 70000, 3 * MIB)
    paths = [scene.file(f"{stage} {size}", size, seed=f"{stage} {size}") for size in sizes]
    return dict(zip(node.store(*paths), map(read, paths)))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def has_all_by_itself(node, others, wanted):
    """Everything is on node, and nobody else is left to ask."""
    wait_in_sync([node, *others])
    wait_has_blobs([node, *others])
    for other in others:
        other.stop()
    for key, content in wanted.items():
        assert node.get(key) == content
    assert len(node.run("ls").text.splitlines()) == len(wanted)
    assert node.status()["healthy"] is True


# ---- the recovery sheet ----

def sheet_of(node):
    text = node.run("key", "export", "--sheet").text
    assert all(len(line) <= 80 for line in text.splitlines())
    return text


def test_the_paper_alone_brings_everything_back(scene):
    a, b = cluster_by_hand(scene, "ab")
    wanted = store(scene, a, "precious")
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    sheet = sheet_of(b)
    b.stop()
    shutil.rmtree(b.vault)
    ids = [line.strip() for line in sheet.splitlines()]
    assert a.run("id").text.strip() in ids, "it names the other node"
    assert f"at {a.address}" in ids

    bare = scene.node("bare")  # follows the sheet, word by word
    bare.env = scene.environment()
    typed = scene.file("sheet", content=sheet.encode())
    steps = [line.strip() for line in sheet.splitlines() if line.startswith("       ")]
    assert steps[0] == "umask 077" and steps[1] == "peervault key import @sheet"
    assert steps[2] == f"peervault daemon --listen 0.0.0.0:3000 --peer {a.address}"
    bare.run(*steps[1].split()[1:], cwd=os.path.dirname(typed))
    bare.start(peers=[a.address])
    has_all_by_itself(bare, [a], wanted)


def test_the_sheet_of_a_lone_vault(scene):
    node = scene.node("a", token="correct horse battery staple, and it's quoted")
    node.run("init")
    node.env = scene.environment()
    sheet = sheet_of(node)
    assert "--peer HOST:3000" in sheet and "no address is known here" in sheet
    back = scene.node("b")
    back.env = scene.environment()
    back.run("key", "import", "-", stdin=sheet.replace("\n", "\r\n").encode())
    assert back.run("key", "export").out == node.run("key", "export").out
    back.vault += " 2"
    wrong = sheet.replace("horse", "hoarse").encode()
    assert b"a digit of the key" in back.run("key", "import", "-", stdin=wrong, code=2).err
    with open(os.path.join(node.vault, "peervault.conf"), "w") as f:
        f.write("peers = one.example:3000, two.example:3001\n")
    sheet = sheet_of(node)
    assert "\n  one.example:3000\n  two.example:3001\n" in sheet
    assert "--peer one.example:3000\n" in sheet
    node.run("--json", "key", "export", "--sheet", code=2)


# ---- restoring ----

def test_restore_from_secrets_and_peers(scene):
    a, b, c = cluster_by_hand(scene)
    wanted = store(scene, c, "before")
    wait_in_sync([a, b, c])
    wait_has_blobs([a, b, c])
    old_id = c.run("id").text
    c.kill()
    shutil.rmtree(c.vault)
    import_secrets(c, b)
    c.start(peers=[a, b])
    a.run("peers", "forget", old_id.strip())  # else a share of the blobs stays its own
    has_all_by_itself(c, [a, b], wanted)
    assert c.run("id").text != old_id


def test_restore_from_keyring_and_identity(scene):
    a, b, c = cluster_by_hand(scene)
    wanted = store(scene, c, "before")
    wait_in_sync([a, b, c])
    wait_has_blobs([a, b, c])
    old_id = c.run("id").text
    backup = scene.path("backup")
    os.mkdir(backup)
    for name in SECRETS:
        shutil.copy2(os.path.join(c.vault, name), backup)
    c.kill()
    shutil.rmtree(c.vault)
    wanted.update(store(scene, a, "since"))
    os.mkdir(c.vault, 0o700)
    for name in SECRETS:
        shutil.copy2(os.path.join(backup, name), c.vault)
    c.start(peers=[a, b])
    assert c.run("id").text == old_id
    has_all_by_itself(c, [a, b], wanted)
    assert c.status()["members"] == 3  # nobody else has joined


def test_restore_from_yesterday(scene):
    a, b, c = cluster_by_hand(scene)
    wanted = store(scene, c, "before")
    removed = c.store(scene.file("removed", 100000, seed="removed"))[0]
    wait_in_sync([a, b, c])
    wait_has_blobs([a, b, c])
    c.stop()
    shutil.copytree(c.vault, scene.path("yesterday"))
    c.start(peers=[a, b])
    wait_in_sync([a, b, c])
    wanted.update(store(scene, a, "since there"))
    wanted.update(store(scene, c, "since here"))
    c.run("rm", removed)
    wait_in_sync([a, b, c])
    wait_has_blobs([a, b, c])
    blobs = c.status()["blobs"]
    c.stop()
    shutil.rmtree(c.vault)
    shutil.copytree(scene.path("yesterday"), c.vault)
    c.start(peers=[a, b])
    wait_in_sync([a, b, c])
    wait_has_blobs([a, b, c])
    assert c.status()["blobs"] == blobs  # nothing is lost
    c.run("get", removed, code=3)  # nor does what was removed come back
    has_all_by_itself(c, [a, b], wanted)


def test_restore_after_damage(scene):
    a, b = cluster_by_hand(scene, "ab")
    wanted = store(scene, a, "before")
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    b.stop()
    with open(os.path.join(b.vault, "vault.db"), "r+b") as f:
        for page in range(1, os.path.getsize(f.name) // 4096):
            f.seek(page * 4096 + 100)
            f.write(b"damaged")
    result = b.run("ls", code=4)
    assert b"vault.db is damaged: `peervault doctor --rebuild`" in result.err, result
    os.rename(b.vault, scene.path("damaged"))
    os.mkdir(b.vault, 0o700)
    for name in SECRETS:
        shutil.copy2(os.path.join(scene.path("damaged"), name), b.vault)
    b.start(peers=[a])
    has_all_by_itself(b, [a], wanted)


def test_moved_vault(scene):
    a, b = cluster_by_hand(scene, "ab")
    wanted = store(scene, b, "before")
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    old_id = b.run("id").text
    b.stop()
    os.rename(b.vault, scene.path("elsewhere"))
    b.vault = scene.path("elsewhere")
    b.start(peers=[a])
    assert b.run("id").text == old_id and b.status()["members"] == 2
    has_all_by_itself(b, [a], wanted)


# ---- settings of a running daemon ----

def reload(node, words):
    """SIGHUP; the new lines of the log, once words are among them."""
    start = len(node.log())
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: words in node.log()[start:], f"{words!r} in the log")
    return node.log()[start:]


def test_reload_of_log_level_and_peers(scene):
    a, = cluster_by_hand(scene, "a")
    b = scene.node("b")
    b.env = scene.environment()
    import_secrets(b, a)
    b.start()
    wanted = store(scene, a, "before")
    conf = os.path.join(b.vault, "peervault.conf")
    scene.file(conf, content=f"log_level = warn\npeers = {a.address}\n".encode())
    before = b.log()
    b.process.send_signal(signal.SIGHUP)
    wait_in_sync([a, b])
    wait_has_blobs([a, b])
    assert " info " not in b.log()[len(before):]  # not even of the reload
    scene.file(conf, content=b"log_level = info\n")
    reload(b, "settings reloaded")

    scene.file(conf, content=b"log_level = error\nmem_limit = 128MiB\nreplicas = many\n")
    log = reload(b, "settings not reloaded")
    assert "peervault.conf, line 3: " in log, log
    scene.file(conf, content=b"log_level = warn\nmem_limit = 128MiB\n")
    log = reload(b, "waits for a restart")
    assert "key=mem_limit" in log, log
    has_all_by_itself(b, [a], wanted)  # the peer that is not named any more stayed


def test_config_check_and_show(scene):
    a, = cluster_by_hand(scene, "a")
    secrets = [line.split("=", 1)[1] for line in a.run("key", "export").text.splitlines()]
    conf = scene.file(os.path.join(a.vault, "peervault.conf"),
                      content=b"# ours\nreplicas = 2\nlisten_adress = 0.0.0.0:3000\n")
    for command in (["config", "check"], ["config", "show"]):
        result = a.run(*command, code=2)
        assert b"peervault.conf, line 3: unknown key listen_adress" in result.err, result
    scene.file(conf, content=b"replicas = 2\n")
    a.run("config", "check")
    shown = a.run("config", "show", "--listen", "0.0.0.0:3000",
                  env=scene.environment(PEERVAULT_LOG_LEVEL="warn")).text
    rows = {line.split()[0]: line.split()[2::2] for line in shown.splitlines()}
    for key, value, origin in (("replicas", "2", "peervault.conf"), ("log_level", "warn", "environment"),
                               ("listen", "0.0.0.0:3000", "flag"), ("disk_limit", "0", "default"),
                               ("auth_token", "********", "keyring"),
                               ("cluster_key", "********", "keyring")):
        assert rows[key] == [value, origin], shown
    assert len(secrets) == 2 and not [s for s in secrets if s in shown], shown


def test_long_lists_are_shown_as_the_file_takes_them(scene):
    a, = cluster_by_hand(scene, "a")
    far = [f"{'x' * 40}-{i}.example:3000" for i in range(8)]

    def shown(**env):
        lines = a.run("config", "show", env=scene.environment(**env)).text.splitlines()
        return [line.split(" #")[0].rstrip() for line in lines if ".example:" in line]

    lines = shown(PEERVAULT_PEERS=",".join(far), PEERVAULT_ADVERTISE=",".join(far))
    assert len(lines) == 16, lines
    scene.file(os.path.join(a.vault, "peervault.conf"), content="\n".join(lines).encode())
    assert shown() == lines
