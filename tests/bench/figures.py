"""`python -m tests.bench.figures`: what an idle connection costs, and how fast a start is."""

from __future__ import annotations

import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.servers import HERE, free_port

CONNECTIONS = 4000
WARM_UP = 100
STARTS = 7
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def main() -> None:
    starts = []
    for _ in range(STARTS):
        with started() as (_, seconds, _port):
            starts.append(seconds)
    print(f"cold start to the first answer: {statistics.median(starts):.3f} s, of {STARTS} starts")
    print(f"an idle keep-alive connection: {idle_connection():.2f} KiB, of {CONNECTIONS}")


@contextmanager
def started(*options: str) -> Iterator[tuple[int, float, int]]:
    """A server with one worker: its process id, the seconds to its first answer, its port."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("server")), "-b", f"127.0.0.1:{port}", *options]
    command.append("app:app")
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=HERE, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                ask(port).close()
                break
            except OSError:
                time.sleep(0.001)
        yield process.pid, time.perf_counter() - begun, port
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int) -> socket.socket:
    """A connection that has been answered once."""
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(REQUEST)
    client.recv(1024)
    return client


def idle_connection() -> float:
    """KiB of a worker's own memory for each connection that is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CONNECTIONS * 2)), hard))
    with started() as (master, _, port):
        worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
        clients = [ask(port) for _ in range(WARM_UP)]
        before = memory(worker)
        clients += [ask(port) for _ in range(CONNECTIONS)]
        after = memory(worker)
        for client in clients:
            client.close()
    return (after - before) / CONNECTIONS


def memory(pid: str) -> int:
    """KiB that belong to this process alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"Private_\w+:\s+(\d+)", text))


if __name__ == "__main__":
    main()
