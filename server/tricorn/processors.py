"""How many processors this process may use: what `-w auto` means in a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def processors(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The processors that affinity allows, or fewer if the CPU quota is less; at least 1.

    A quota of 1.5 processors counts as 2: two workers can use it, one cannot.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, quota(cgroups, membership))))


def quota(cgroups: Path, membership: Path) -> float:
    """The tightest CPU quota of this process's control groups, in processors; inf without one."""
    tightest = math.inf
    for folder in _folders(cgroups, membership):
        for read in (_second_version, _first_version):
            tightest = min(tightest, read(folder))
    return tightest


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """Where quotas may be: the group of this process, and all above it."""
    folders = [cgroups, cgroups / "cpu"]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, _, entry = line.partition(":")
        controllers, _, path = entry.partition(":")
        root = cgroups / "cpu" if "cpu" in controllers.split(",") else cgroups
        group = Path(path.lstrip("/"))
        folders.extend(root / each for each in (group, *group.parents))
    return folders


def _second_version(folder: Path) -> float:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
        return math.inf if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # none there, or none that can be read
        return math.inf


def _first_version(folder: Path) -> float:
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        return limit / int((folder / "cpu.cfs_period_us").read_text()) if limit > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
