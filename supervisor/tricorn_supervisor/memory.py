"""What the system says of memory: how much a process has, and whom it has killed for want of it."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
COUNTER = "oom_kill"  # in both files, beside others


def resident(pid: int) -> int | None:
    """Octets of memory that a process has; None where it cannot be seen."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_SIZE
    except (OSError, IndexError):
        return None


class OomKills:
    """The kernel's count of processes that it killed, which it keeps for each cgroup.

    Create it before there is a child that can be killed.
    """

    def __init__(self, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> None:
        self._files = _files(cgroups, membership)
        self._seen = self._count()

    def take(self) -> bool | None:
        """Whether there is one that was not taken yet; None where the system does not count."""
        now = self._count()
        if now is None or self._seen is None:
            return None
        if now == self._seen:
            return False
        # One at a time: each is the death of one process, which is reaped by itself.
        self._seen = self._seen + 1 if now > self._seen else now
        return True

    def _count(self) -> int | None:
        for file in self._files:
            try:
                lines = [line.split() for line in file.read_text().splitlines()]
            except OSError:  # of another version, or of a part of the tree that is not mounted here
                continue
            for name, *values in lines:
                if name == COUNTER and values and values[0].isdecimal():
                    return int(values[0])
        return None


def _files(cgroups: Path, membership: Path) -> list[Path]:
    """Where the count may be: in our own group, or in the root that a container sees as its own."""
    files = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, entry = line.partition(":")
        controllers, _, path = entry.partition(":")
        if not controllers:
            files.append(cgroups / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(cgroups / "memory" / path.lstrip("/") / "memory.oom_control")
    return [*files, cgroups / "memory.events", cgroups / "memory" / "memory.oom_control"]
