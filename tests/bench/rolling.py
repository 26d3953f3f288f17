"""`python -m tests.bench.rolling`: rolling restarts as Kubernetes does them, beside the canary.

A new pod is ready, the old one gets TERM at once, and clients of every protocol go on opening
connections to it until they hear, a while later, that it is no endpoint any more. It ends with 1 if
a request is lost; with a --drain-delay that is shorter than that while, some are.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.faults.rig import APPLICATION, OPTIONS
from tests.process.probes import HEALTH, admin_port, probe, wait_for_probe
from tests.support.canary import STANDING, Canary, Endpoint
from tests.support.certificates import Authority
from tests.support.process import Server, serve

REMOVAL = 0.7
"""Seconds until the last client has heard that a pod is no endpoint any more."""
SPARE = 0.5
GRACE = ("--graceful-timeout", "10")


@dataclass
class Pod:
    """A server, and what is known of it."""

    server: Server
    endpoint: Endpoint
    health: int


def roll(directory: Path, restarts: int, workers: int, delay: float) -> Canary:
    """What the canary has seen of so many restarts."""
    authority = Authority()
    authority.issue(directory, "localhost")
    with ExitStack() as stack:
        old = stack.enter_context(pod(directory, 0, workers, delay))
        canary = Canary([old.endpoint], authority)
        with canary:
            for number in range(1, restarts + 1):
                new = stack.enter_context(pod(directory, number, workers, delay))
                wait_for_probe(new.health, "/readyz", 200)
                canary.endpoints.append(new.endpoint)
                old.server.signal(signal.SIGTERM)
                told = time.monotonic()
                if delay > REMOVAL:
                    wait_for_probe(old.health, "/readyz", 503)
                    assert probe(old.health, "/livez")[0] == 200, "it is killed while it drains"
                time.sleep(max(0.0, told + REMOVAL - time.monotonic()))
                canary.endpoints.remove(old.endpoint)
                assert old.server.wait() == 0
                canary.go_on(4 * len(STANDING))
                old = new
    return canary


@contextmanager
def pod(directory: Path, number: int, workers: int, delay: float) -> Iterator[Pod]:
    place = directory / str(number)
    place.mkdir()
    pair = ("--certfile", str(directory / "localhost.pem"), "--keyfile")
    with serve(
        place,
        *(*pair, str(directory / "localhost.key"), *OPTIONS, *HEALTH, *GRACE),
        *("--drain-delay", str(delay)),
        application=APPLICATION,
        workers=workers,
    ) as server:
        yield Pod(server, Endpoint(server.port, server.quic_port), admin_port(server))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rolling", description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drain-delay", type=float, default=REMOVAL + SPARE)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        canary = roll(Path(folder), wanted.restarts, wanted.workers, wanted.drain_delay)
    tallies = canary.tally()
    print(f"{wanted.restarts} restarts, known {REMOVAL} s late, a delay of {wanted.drain_delay} s")
    for protocol, tally in tallies.items():
        print(f"  {protocol}: {tally}")
        for reason, count in tally.reasons.most_common(5):
            print(f"      {count} x {reason}")
    print(*canary.complaints(), sep="\n")
    sys.exit(any(each.lost for each in tallies.values()))


if __name__ == "__main__":
    main()
