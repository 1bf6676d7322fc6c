"""What was acknowledged, and so what must be there after a crash.

A register is a file (there: True, or not: False) or a name (the key it means, or None). Each belongs to
one client, which changes it one step after the other. A step is begun before the program is asked, and
acknowledged after it has answered; what lies between may have happened or not. Positions on that way
are numbers that only grow: seconds, or bytes of a disk's write log.
"""
import collections


class Step:
    """Changes of registers that one answer acknowledges."""

    def __init__(self, at):
        self.begun, self.acknowledged = at, None


class Oracle:
    def __init__(self, clock):
        self.clock = clock
        self.histories = {}  # ("file", key) or ("name", name) -> [(Step, value)]
        self.counts = collections.Counter()
        self.copies = {}  # key -> position at which another node was said to have it, too

    def begin(self, changes):
        """changes: {register: value}"""
        step = Step(self.clock())
        for register, value in changes.items():
            self.histories.setdefault(register, []).append((step, value))
        return step

    def acknowledge(self, step, what):
        step.acknowledged = self.clock()
        self.counts[what] += 1

    def copied(self, keys):
        self.copies.update(dict.fromkeys(keys, self.clock()))
        self.counts["copied"] += len(keys)

    def undo(self, step, registers):
        """The program said that nothing was done."""
        for register in registers:
            self.histories[register] = [(s, v) for s, v in self.histories[register] if s is not step]

    def value(self, register):
        history = self.histories.get(register)
        return history[-1][1] if history else nothing(register)

    def allowed(self, register, acknowledged, begun):
        """Values after a crash that came after one position, and before another."""
        values = {nothing(register)}
        for step, value in self.histories.get(register, []):
            if step.acknowledged is not None and step.acknowledged <= acknowledged:
                values = {value}
            elif step.begun <= begun:
                values.add(value)
        return values

    def findings(self, listing, acknowledged=float("inf"), begun=float("inf")):
        """What is wrong with a listing, a list of (key, name or None)."""
        is_there = observe(listing)
        for register in sorted(self.histories.keys() | is_there.keys(), key=str):
            value = is_there.get(register, nothing(register))
            allowed = self.allowed(register, acknowledged, begun)
            if value not in allowed:
                word = "LOST" if value == nothing(register) else "RESURRECTED"
                yield f"{word} {register[0]} {register[1]}: {value}, allowed {sorted(map(str, allowed))}"

    def findings_of_copy(self, listing, acknowledged=float("inf")):
        """What another node's listing lacks. It may not have heard yet of what was removed."""
        there = {key for key, _ in listing}
        for key, at in sorted(self.copies.items()):
            if at <= acknowledged and key not in there and \
                    all(value for _, value in self.histories["file", key]):
                yield f"LOST on the other node: file {key}"

    def settle(self, listing):
        """Takes what is there for what was acknowledged: the next crash must not change it."""
        is_there = observe(listing)
        for register in self.histories.keys() | is_there.keys():
            step = Step(0)
            step.acknowledged = 0
            self.histories[register] = [(step, is_there.get(register, nothing(register)))]


def nothing(register):
    return False if register[0] == "file" else None


def observe(listing):
    is_there = {}
    for key, name in listing:
        is_there["file", key] = True
        if name is not None:
            is_there["name", name] = key
    return is_there
