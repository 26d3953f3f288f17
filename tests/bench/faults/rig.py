"""A server, the canary beside it, a fault: what came of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.support import canary_app
from tests.support.canary import STANDING, Canary, Death, Endpoint, Plan, Tally
from tests.support.certificates import Authority
from tests.support.process import Client, Server, serve, wait_for_death

APPLICATION = Path(canary_app.__file__)
BEFORE, AFTER = 400, 600
"""Answers that are waited for before a fault, and when it is over."""
LANES = 3
"""Sockets more that the master may have for each worker, when reloads overlap."""
OPTIONS = ("--quic-bind", "127.0.0.1:0", "--reload-settle", "0.2", "--respawn-backoff-max", "0.1")


@dataclass
class Result:
    """A line of the table."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    recovered: float | None = None
    """Seconds until as many workers as wanted were ready again, or until the end that is wanted."""
    wrong: list[str] = field(default_factory=list)
    """What should be otherwise; the fault has been survived if there is nothing."""
    note: str = ""
    descriptors: tuple[int, int] = (0, 0)
    """Of the master, before and after."""

    @property
    def answered(self) -> int:
        return sum(each.answered for each in self.tallies.values())

    @property
    def again(self) -> int:
        return sum(each.again for each in self.tallies.values())

    @property
    def cut(self) -> int:
        return sum(each.cut for each in self.tallies.values())

    @property
    def lost(self) -> int:
        return sum(each.lost for each in self.tallies.values())

    @property
    def worst(self) -> float:
        return max((each.worst for each in self.tallies.values()), default=0.0)


@dataclass
class Rig:
    """What a fault is done to."""

    directory: Path
    authority: Authority
    server: Server
    canary: Canary
    workers: int
    result: Result
    deaths: list[Death] = field(default_factory=list)
    until: float = float("inf")
    began: float = 0.0
    traced = False
    """The application is meant to fail."""

    @contextmanager
    def fault(self, *workers: int) -> Iterator[None]:
        """What happens within the `with` ends these workers."""
        self.began = time.monotonic()
        yield
        wait_for_death(*workers)
        self.deaths.append(Death(workers, self.began, time.monotonic()))

    @contextmanager
    def victim(self) -> Iterator[tuple[int, Client]]:
        """A worker, and a connection that it serves."""
        with self.server.connect(self.authority.client_context()) as client:
            yield int(client.fetch("/short").text.split()[0]), client

    def recover(self) -> None:
        """The fault is over now."""
        self.result.recovered = time.monotonic() - self.began

    def turn_away(self, delay: float = 0.0) -> None:
        """Who comes later than this from now may be refused: the server ends."""
        self.until = time.monotonic() + delay

    def expect(self, fact: object, said: str) -> None:
        if not fact:
            self.result.wrong.append(said)


@contextmanager
def rigged(
    directory: Path,
    workers: int,
    *options: str,
    environ: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    plans: Sequence[Plan] = STANDING,
    owner: int = -1,
    ends: bool = False,
) -> Iterator[Rig]:
    """Within the `with`, the canary asks. Then its tally is in the result, and the server has been
    stopped; where the fault `ends` it, that is not asked for. `owner` is whose the key is.
    """
    authority, result = Authority(), Result()
    files = authority.issue(directory, "localhost")
    os.chown(files.key, owner, -1)
    with serve(
        directory,
        *files.options,
        *OPTIONS,
        *options,
        application=APPLICATION,
        workers=workers,
        environ=environ,
        prefix=prefix,
        stdout=stdout,
    ) as server:
        canary = Canary([Endpoint(server.port, server.quic_port)], authority, plans)
        rig = Rig(directory, authority, server, canary, workers, result)
        before = len(server.children()), descriptors(server.pid)
        with canary:
            canary.go_on(BEFORE)
            canary.settled = time.monotonic()
            yield rig
            if not ends:
                canary.go_on(AFTER)
        result.tallies = canary.tally(rig.deaths, rig.until)
        result.wrong += canary.complaints(rig.deaths, rig.until)
        if not ends:
            after = len(server.children()), descriptors(server.pid)
            rig.expect(after[0] == before[0], f"{after[0]} processes instead of {before[0]}")
            # QUIC's lanes are kept for generations that overlap.
            most = before[1] + LANES * workers
            rig.expect(after[1] <= most, f"{after[1]} descriptors, first {before[1]}")
            result.descriptors = before[1], after[1]
            rig.expect(not zombies(server), "zombies")
            rig.expect(server.stop() == 0, "the exit status is not 0")
        rig.expect(rig.traced or "Traceback" not in server.log, "a traceback in the log")


def zombies(server: Server) -> list[int]:
    """Children of the master that have ended and were not reaped."""
    states = {
        pid: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        for pid in server.children()
    }
    return [pid for pid, state in states.items() if state == "Z"]


def memory(server: Server) -> float:
    """MiB of all its processes; what they share is counted once."""
    return sum(proportional(pid) for pid in (server.pid, *server.children())) / 1024


def proportional(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = [line for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1])


def resident(pid: int) -> float:
    """MiB of one process, with what it shares."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


Fault = Callable[[Path, int], Result]
"""Takes an empty directory and the number of workers."""
