"""`python -m tests.bench.idle_websockets`: what open WebSockets cost, and how a reload ends them.

Opens many on one worker, measures the worker's own memory, sends HUP to the master, and counts the
close codes that the clients see.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import os
import resource
import signal
from pathlib import Path

from tests.bench.figures import memory, started
from tests.bench.wsload import HANDSHAKE

AT_ONCE = 100
PATIENCE = 60.0


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE % base64.b64encode(os.urandom(16)))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return reader, writer


async def code_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | str:
    """The code with which the server closes; it is answered as RFC6455§5.5.1 says."""
    try:
        while True:
            first, size = await reader.readexactly(2)
            payload = await reader.readexactly(size)
            if first == 0x88:
                writer.write(bytes((0x88, 0x80 | size)) + bytes(4) + payload)
                await reader.read()
                return int.from_bytes(payload[:2], "big")
            if first == 0x89:
                writer.write(bytes((0x8A, 0x80 | size)) + bytes(4) + payload)
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        writer.close()


def worker_of(master: int) -> str:
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]


async def run(count: int) -> None:
    with started("--limit-connections", str(count + 100)) as (master, _, port):
        worker = worker_of(master)
        clients = [await connect(port) for _ in range(AT_ONCE)]
        before = memory(worker)
        while len(clients) < count:
            clients += await asyncio.gather(*[connect(port) for _ in range(AT_ONCE)])
        grown = (memory(worker) - before) / (count - AT_ONCE)
        print(f"an idle WebSocket: {grown:.2f} KiB, of {count}")
        os.kill(master, signal.SIGHUP)
        codes = await asyncio.wait_for(
            asyncio.gather(*[code_of(*client) for client in clients]), PATIENCE
        )
        print(f"close codes at a reload: {dict(collections.Counter(codes))}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle_websockets")
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(run(arguments.count))


if __name__ == "__main__":
    main()
