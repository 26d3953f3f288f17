"""`python -m tests.bench.scrapes`: what metrics cost a worker, by its own processor time.

Three ratios of processor time per request: scraped a hundred times a second against not scraped,
with metrics against without, and, as a measure of the noise, without against without.
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.figures import started
from tests.bench.servers import free_port

PERIOD = 0.01
"""Seconds between two scrapes."""


@contextmanager
def scraping(port: int, counts: list[int]) -> Iterator[None]:
    """Meanwhile /metrics is asked for, a hundred times a second."""
    ending = threading.Event()

    def scrape() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port)
        due = time.monotonic()
        while not ending.wait(max(0.0, due - time.monotonic())):
            due += PERIOD
            client.request("GET", "/metrics")
            assert client.getresponse().read()
            counts[0] += 1
        client.close()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def worker_of(master: int) -> str:
    for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"server: worker"):
            return pid
    raise RuntimeError("there is no worker")


def microseconds(worker: str, port: int, seconds: int) -> float:
    """Of processor time for each request, under load."""
    cpu = Path(f"/proc/{worker}/schedstat")
    before = int(cpu.read_text().split()[0])
    command = ["wrk", "-t1", "-c16", f"-d{seconds}", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered = re.search(r"(\d+) requests in", output)
    assert answered, output
    return (int(cpu.read_text().split()[0]) - before) / int(answered[1]) / 1000


def run(rounds: int, seconds: int) -> None:
    admin, scrapes = free_port(), [0]
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        master, _, plain = stack.enter_context(started())
        off = worker_of(master), plain
        master, _, watched = stack.enter_context(started("--health-bind", f"127.0.0.1:{admin}"))
        on = worker_of(master), watched
        for each in (off, on):
            microseconds(*each, seconds)
        for _ in range(rounds):
            found.setdefault("without", []).append(microseconds(*off, seconds))
            found.setdefault("with", []).append(microseconds(*on, seconds))
            with scraping(admin, scrapes):
                found.setdefault("scraped", []).append(microseconds(*on, seconds))
            found.setdefault("again", []).append(microseconds(*off, seconds))
    for name, values in found.items():
        print(f"{name:8} {statistics.median(values):6.2f} µs a request, of {rounds} rounds")
    for one, other in (("scraped", "with"), ("with", "without"), ("again", "without")):
        ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
        print(f"{one} / {other}: {statistics.median(ratios):.3f}")
    print(f"scrapes a second: {scrapes[0] / rounds / seconds:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scrapes")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=2)
    arguments = parser.parse_args()
    run(arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
