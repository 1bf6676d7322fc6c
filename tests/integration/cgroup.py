"""Control groups of version 2 or 1, whichever this machine has, and programs begun inside one."""
import os

from harness import Skip, wait_until


class Group:
    def __init__(self, scene, controller, version_1, version_2):
        """version_1, version_2: what is written, (file, value) each, the first of which must stick."""
        with open("/proc/self/cgroup") as f:
            own = {name: path for _, names, path in (line.strip().split(":", 2) for line in f)
                   for name in names.split(",")}
        self.is_1 = controller in own
        base = f"/sys/fs/cgroup/{controller}{own[controller]}" if self.is_1 else \
            "/sys/fs/cgroup" + own.get("", "")
        self.path = os.path.join(base, f"pv-test-{os.getpid()}")
        try:
            os.mkdir(self.path)
            scene.cleanups.append(self.remove)
            for name, value in version_1 if self.is_1 else version_2:
                with open(os.path.join(self.path, name), "r+") as f:
                    f.write(str(value))
                assert self.read(name).strip() == str(value)
        except OSError as error:
            raise Skip(f"no {controller} group can be made here: {error}") from None

    def read(self, name):
        with open(os.path.join(self.path, name)) as f:
            return f.read()

    def remove(self):
        wait_until(lambda: self.read("cgroup.procs") == "", "the group to be empty")
        os.rmdir(self.path)

    def enter(self):
        """For a process that is being started: the preexec of a command."""
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))

    def start(self, node, **kw):
        """Starts the node inside, from its first instruction on."""
        return node.start(first=f"echo $$ >{self.path}/cgroup.procs", **kw)


class MemoryGroup(Group):
    def __init__(self, scene, limit):
        super().__init__(scene, "memory", [("memory.limit_in_bytes", limit)], [("memory.max", limit)])

    def killed(self):
        events = self.read("memory.oom_control" if self.is_1 else "memory.events")
        return int(dict(line.split() for line in events.splitlines())["oom_kill"])
