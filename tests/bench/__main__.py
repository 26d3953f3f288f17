"""`python -m tests.bench h1 h1-browser …`: ours and the peers in turn, and the ratios.

One core for the server and one for the client. The figure to compare is processor time per
request of the server's process tree, round by round: it bears a noisy machine, requests per second
do not. Needs wrk, h2load and taskset, and the packages of tests/bench/requirements.txt;
the cases of HTTP/3 need an h2load that was built with it, which H2LOAD_H3 may name.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import CASES, Case
from tests.bench.loads import LOADS
from tests.bench.servers import SERVERS, Server, processor_seconds, running
from tests.support.certificates import Authority

OURS = "tricorn"
WARM_UP = 1
ATTEMPTS = 3


@dataclass(frozen=True)
class Figure:
    """One server in one round of one case."""

    requests_per_second: float
    microseconds: float
    """Of processor time, per request."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--servers", default=",".join(SERVERS))
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(unknown)}")
    print(f"Python {sys.version.split()[0]}, {arguments.rounds} rounds of {arguments.seconds} s")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.cases or CASES:
            case = CASES[name]
            known = [SERVERS[each] for each in arguments.servers.split(",")]
            servers = [server for server in known if case.version in server.commands]
            compare(case, servers, arguments.rounds, arguments.seconds, Path(folder))


def compare(case: Case, servers: list[Server], rounds: int, seconds: int, folder: Path) -> None:
    """Prints the table of one case."""
    streams = f" of {case.streams} streams" if case.streams else ""
    print(f"\n{case.name} ({case.connections} connections{streams})")
    figures: dict[str, list[Figure]] = {server.name: [] for server in servers}
    for number in range(rounds):
        # In another order each round, so that a machine that slows down is nobody's luck.
        for server in servers[number % len(servers) :] + servers[: number % len(servers)]:
            figures[server.name].append(measured(case, server, seconds, folder))
    ours = figures.get(OURS, [])
    for name, rows in figures.items():
        microseconds = statistics.median(row.microseconds for row in rows)
        speed = statistics.median(row.requests_per_second for row in rows)
        line = f"  {name:<10} {speed:>9,.0f} requests/s {microseconds:>8.2f} µs CPU/request"
        if ours and name != OURS:
            ratios = [a.microseconds / b.microseconds for a, b in zip(ours, rows, strict=True)]
            each = " ".join(f"{ratio:.2f}" for ratio in ratios)
            line += f"   ours/theirs {statistics.median(ratios):.2f} ({each})"
        print(line, flush=True)


def measured(case: Case, server: Server, seconds: int, folder: Path) -> Figure:
    """Tries again, a little, where a server does not answer; says so."""
    for _ in range(ATTEMPTS - 1):
        try:
            return measure(case, server, seconds, folder)
        except RuntimeError as error:
            print(f"  {server.name}: {error.args[0].splitlines()[0]}")
    return measure(case, server, seconds, folder)


def measure(case: Case, server: Server, seconds: int, folder: Path) -> Figure:
    files = Authority().issue(folder, "localhost") if case.tls else None
    with running(server, case.version, files) as (pid, port):
        load = LOADS[case.version](case, port, folder)
        load(WARM_UP)
        before = processor_seconds(pid)
        count, elapsed = load(seconds)
        spent = processor_seconds(pid) - before
    return Figure(count / elapsed, spent / count * 1e6)


if __name__ == "__main__":
    main()
