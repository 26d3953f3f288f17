"""`python -m tests.bench.soak`: HTTP/3 for as long as it is let run, with all that happens to it.

Twelve clients change their port once a second; they ask for short, large and slow answers and send
a MiB at a time, while the server reloads once a minute. A line every half a minute says what the
server holds. It ends with 1 if a request failed, or if memory, descriptors or processes have grown
from the second quarter of the time to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.faults.rig import descriptors, memory
from tests.process.quic_load import APPLICATION, Roamer, Tally
from tests.support.certificates import Authority
from tests.support.process import Server, serve

UPLOAD = bytes(1024 * 1024)
ASKED = [
    *[("/slow", 1_000_000, None)] * 4,
    *[("/size", 10, None)] * 4,
    *[("/big", 2_000_000, None)] * 2,
    *[("/size", 10, UPLOAD)] * 2,
]
PAUSE = 0.02
"""Seconds between an answer and the next request, for each 100 kB more: nobody is to starve."""
EVERY = 30.0
"""Seconds between two lines."""
RELOAD = 60.0
GROWTH = 1.1
"""What is more than this many times what it was has grown."""


@dataclass(frozen=True)
class Sample:
    """What the server has at one time."""

    memory: float
    """MiB of all its processes; what they share is counted once."""
    descriptors: int
    processes: int


def sample(server: Server) -> Sample:
    """Taken while no reload is under way, unless the machine is very slow."""
    pids = [server.pid, *server.children()]
    return Sample(memory(server), sum(descriptors(pid) for pid in pids), len(pids))


async def disturb(server: Server, until: float, tally: Tally) -> list[Sample]:
    """Reloads it, and looks at it half a period after each."""
    samples, began = [], time.monotonic()
    reload_at, look_at = began + RELOAD, began + EVERY
    while (now := time.monotonic()) < until:
        if now >= reload_at:
            server.signal(signal.SIGHUP)
            reload_at += RELOAD
            look_at = now + EVERY
        if now >= look_at:
            samples.append(sample(server))
            show(now - began, samples[-1], tally)
            look_at += EVERY
        await asyncio.sleep(0.5)
    return samples


def show(elapsed: float, now: Sample, tally: Tally) -> None:
    print(
        f"{elapsed:7.0f} s {now.memory:7.1f} MiB {now.descriptors:4} descriptors"
        f" {now.processes} processes  {tally.answered} answered, {tally.again} asked again,"
        f" {tally.moves} moves, {tally.connections} connections, {sum(tally.failures.values())}"
        " failed",
        flush=True,
    )


def pause_for(octets: int) -> float:
    return PAUSE * (1 + octets // 100_000)


async def run(server: Server, port: int, seconds: float) -> tuple[Tally, list[Sample]]:
    tally, until = Tally(), time.monotonic() + seconds
    roamers = [
        Roamer(port, tally, path, size, body, pause=pause_for(size + len(body or b"")))
        for path, size, body in ASKED
    ]
    disturbing = asyncio.ensure_future(disturb(server, until, tally))
    await asyncio.gather(*(each.run(until) for each in roamers))
    return tally, await disturbing


def flat(samples: list[Sample]) -> bool:
    """Compares the second quarter with the last one."""
    quarter = len(samples) // 4
    if not quarter:
        raise SystemExit("too short to say whether anything grows")
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    good = True
    for name in ("memory", "descriptors", "processes"):
        before, after = (
            statistics.median(getattr(each, name) for each in part) for part in (early, late)
        )
        print(f"{name}: {before:.1f}, then {after:.1f}")
        good = good and after <= before * GROWTH
    return good


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--steering", default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = Authority().issue(Path(folder), "localhost")
        options = ("--quic-bind", "127.0.0.1:0", "--quic-steering", arguments.steering)
        with serve(
            Path(folder),
            *files.options,
            *options,
            application=APPLICATION,
            workers=arguments.workers,
        ) as server:
            tally, samples = asyncio.run(run(server, server.quic_port, arguments.minutes * 60))
            status = server.stop()
    print(tally)
    sys.exit(not flat(samples) or bool(tally.failures) or bool(status))


if __name__ == "__main__":
    main()
