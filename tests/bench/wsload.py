"""`python -m tests.bench.wsload`: echoes over many WebSockets, one message in flight on each.

Frames are made once and compared by their length only: a client that does more would be what is
measured. Prints how many messages came back, in how many seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import time
from typing import cast

import uvloop

MASK = b"\x12\x34\x56\x78"
"""Every message has the same one."""
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


def frame(size: int, mask: bytes) -> bytes:
    """A binary message; unmasked for what comes back."""
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((0x82, bit | size))
    elif size < 1 << 16:
        head = bytes((0x82, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x82, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + b"x" * size


class Client(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, size: int) -> None:
        self.message = frame(size, MASK)
        self.expected = len(frame(size, b""))
        self.received = 0
        self.count = 0
        self.opened = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(HANDSHAKE % base64.b64encode(os.urandom(16)))

    def data_received(self, data: bytes) -> None:
        if not self.opened:
            assert data.startswith(b"HTTP/1.1 101") and data.endswith(b"\r\n\r\n"), data
            self.opened = True
            self.transport.write(self.message)
            return
        self.received += len(data)
        if self.received >= self.expected:
            self.received -= self.expected
            self.count += 1
            self.transport.write(self.message)

    def connection_lost(self, error: Exception | None) -> None:
        assert error is None, error


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.wsload")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(arguments.connections):
        client = Client(arguments.size)
        await loop.create_connection(lambda each=client: each, "127.0.0.1", arguments.port)
        clients.append(client)
    begun = time.perf_counter()
    before = sum(client.count for client in clients)
    await asyncio.sleep(arguments.seconds)
    count = sum(client.count for client in clients) - before
    print(count, time.perf_counter() - begun)
    for client in clients:
        client.transport.abort()


if __name__ == "__main__":
    uvloop.run(main())
