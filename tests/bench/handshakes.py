"""`python -m tests.bench.handshakes`: a thousand QUIC handshakes in a row on four workers, each
followed by a reconnect that resumes its session on whatever worker answers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.process.test_quic import http3
from tests.support.certificates import Authority
from tests.support.qh3client import Ended, visit


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.handshakes", description=__doc__)
    parser.add_argument("--handshakes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    size = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory, authority = Path(folder), Authority()
        files = authority.issue(directory, "localhost")
        with http3(files, directory, workers=size.workers) as server:
            trusted = authority.write(directory)
            good = asyncio.run(connect_again(server.quic_port, trusted, size.handshakes))
            status = server.stop()
    sys.exit(not good or status)


async def connect_again(port: int, authority: str, handshakes: int) -> bool:
    """One connection after the other; whether all were served, and 95 % of them resumed."""
    served = resumed = elsewhere = 0
    spent = 0.0
    failures: Counter[str] = Counter()
    workers: Counter[bytes] = Counter()
    for _ in range(handshakes):
        tickets: list[Any] = []
        first = b""
        for again in (False, True):
            began = time.perf_counter()
            try:
                async with visit(port, authority, tickets=tickets) as visitor:
                    spent += time.perf_counter() - began
                    worker = bytes((await visitor.fetch("/pid")).body)
            except (Ended, ConnectionError, TimeoutError) as error:
                failures[repr(error)] += 1
                continue
            served += 1
            workers[worker] += 1
            if again and visitor.resumed:
                resumed += 1
                elsewhere += worker != first
            first = worker
    print(
        f"{served} of {2 * handshakes} handshakes completed and served, {resumed} of "
        f"{handshakes} resumed, {elsewhere} of them on another worker than the first; "
        f"{spent / max(1, served) * 1000:.1f} ms each",
        f"by worker: {', '.join(str(count) for count in sorted(workers.values()))}",
        *(f"{count} x {error}" for error, count in failures.items()),
        sep="\n  ",
        flush=True,
    )
    return served == 2 * handshakes and resumed >= 0.95 * handshakes


if __name__ == "__main__":
    main()
