"""MemoryWire: a transport of two byte strings that behaves as asyncio's and uvloop's do.

A segment is delivered in a loop turn of its own, nothing is delivered while reading is paused, the
peer's end comes after what it sent, and `full` has asyncio's two water marks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from tricorn.connection import Connection, Context, Endpoints, Gone
from tricorn.net.tcp import Versions
from tricorn.waiters import Waiters

HIGH_WATER = 64 * 1024
LOW_WATER = HIGH_WATER // 4
SEGMENT = 256 * 1024
"""Octets that asyncio and uvloop read at once."""


class MemoryWire:
    """One client connection as its `Connection` sees it, and as the client at its other end does.

    The client reads everything at once unless `window` says how many octets more it takes.
    """

    def __init__(
        self,
        context: Context,
        versions: Versions,
        endpoints: Endpoints,
        *,
        half_closable: bool = True,
    ) -> None:
        self.context = context
        self.loop = context.loop
        self.versions = versions
        self.endpoints = endpoints
        self.half_closable = half_closable
        self.connection: Connection | None = None
        self.sent = bytearray()
        """What the client has read."""
        self.waiting = bytearray()
        """What the client has not read yet."""
        self.most = 0
        """Octets that ever waited at once."""
        self.window: float = float("inf")
        self.full = False
        self.paused = False
        self.shut = False
        self.closing = False
        self.reset = False
        self.lost = False
        self.write: Callable[[bytes], object] = self._write
        self._segments: deque[bytes] = deque()
        self.ended = False
        self._end_told = False
        self._scheduled = False
        self._drains = Waiters()

    # The client's end

    def arrive(self, segments: Iterable[bytes]) -> None:
        """The client sends; each segment is read in a turn of its own."""
        if self.ended:
            raise AssertionError("the client has ended its direction already")
        for data in segments:
            for at in range(0, len(data), SEGMENT):
                self._segments.append(bytes(data[at : at + SEGMENT]))
        self._schedule()

    def end(self) -> None:
        """The client sends no more."""
        self.ended = True
        self._schedule()

    def lose(self) -> None:
        """The client is gone, without a word."""
        self.loop.call_soon(self._lose)

    def read(self, window: float = float("inf")) -> None:
        """The client takes `window` octets more."""
        self.window = window
        self.loop.call_soon(self._flush)

    @property
    def unread(self) -> int:
        """Octets that the client has sent and the server has left in the kernel."""
        return sum(map(len, self._segments))

    def _schedule(self) -> None:
        if not self._scheduled and not self.paused and not (self.closing or self.lost):
            self._scheduled = True
            self.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self.paused or self.closing or self.lost or self.connection is None:
            return
        if self._segments:
            self.feed(self._segments.popleft())
            self._schedule()
        elif self.ended and not self._end_told:
            self._end_told = True
            self.connection.eof(listening=self.half_closable)
            if not self.half_closable:
                self.loop.call_soon(self._lose)

    def _lose(self) -> None:
        if self.lost or self.connection is None:
            return
        self.lost = self.closing = True
        self.full = False
        connection, self.connection = self.connection, None
        connection.context.connections.discard(connection)
        connection.eof()
        self._drains.wake(Gone("the client has gone"))

    def _flush(self) -> None:
        taken = int(min(self.window, len(self.waiting)))
        self.window -= taken
        self.sent += self.waiting[:taken]
        del self.waiting[:taken]
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) > HIGH_WATER:
            self.full = True
        elif self.full and len(self.waiting) <= LOW_WATER:
            self.full = False
            self._drains.wake()
            if self.connection is not None:
                self.loop.call_soon(self.connection.relieve)
        if self.closing and not self.waiting:
            self.loop.call_soon(self._lose)

    # Called by the connection

    def divert(self, feed: Callable[[bytes], None]) -> None:
        self.feed = feed

    def switch(self, version: str) -> Connection:
        if self.connection is not None:
            self.context.connections.discard(self.connection)
        self.connection = self.versions[version](self.context, self, self.endpoints)
        self.context.connections.add(self.connection)
        self.divert(self.connection.feed)
        return self.connection

    def _write(self, data: bytes) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"{data!r} is not bytes")
        if not (self.shut or self.closing or self.lost):
            self.waiting += data
            self._flush()

    def writelines(self, parts: Sequence[bytes | memoryview]) -> None:
        self.write(b"".join(parts))

    def buffered(self) -> int:
        return 0 if self.lost else len(self.waiting)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._flush()

    def abort(self) -> None:
        self.closing = self.reset = True
        self.waiting.clear()
        self.loop.call_soon(self._lose)

    def shutdown(self) -> None:
        self.shut = self.shut or self.half_closable

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._schedule()

    async def drain(self) -> None:
        while self.full or (self.closing and not self.lost):
            await self._drains.wait(self.loop)
        if self.lost:
            raise Gone("the client has gone")

    async def sendfile(self, file: int, offset: int, count: int) -> bool:
        if not self.half_closable:
            return False  # as over TLS
        while count:
            part = os.pread(file, min(count, HIGH_WATER), offset)
            if not part:
                raise OSError("the file is too short")
            self.write(part)
            await self.drain()
            offset += len(part)
            count -= len(part)
        return True
