"""asyncio.Protocol ↔ Wire: one client connection over TCP, TLS or a unix socket.

The transport calls the connection's `feed` itself, and the connection the transport's `write`: on
the way of a request nothing stands between them. Deadlines are looked at once a second, for all
connections together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tricorn.connection import Context, Endpoints, Gone
from tricorn.net import tls
from tricorn.waiters import Waiters
from tricorn.wire import Wire, WireConnection

if TYPE_CHECKING:
    from tricorn.net.proxy import Announced

WRITE_HIGH_WATER = 64 * 1024
"""Octets buffered towards a peer above which its streams wait."""
FILE_PART = 1024 * 1024
"""Octets that the kernel sends of a file before other connections have their turn."""

LONGEST_TURN = 3.0
"""Seconds between two sweeps from which on we were late ourselves."""

log = logging.getLogger(__name__)

Speak = Callable[[Context, Wire, Endpoints], WireConnection]
Versions = Mapping[str, Speak]
"""What makes the connection of each version, by its name in ALPN (RFC7301§6), and "h2c"."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client that knows that we speak HTTP/2 begins with (RFC9113§3.4)."""
TELLING = 3
"""Octets of it that no request of HTTP/1.1 begins with: no method is called PRI."""


def ignore(data: bytes) -> None:
    """Writes to a lost connection go here."""


class TcpWire(asyncio.Protocol):
    """The transport of one client connection, as its `Connection` sees it."""

    __slots__ = (
        "_announced",
        "_closed",
        "_connection",
        "_context",
        "_file_left",
        "_held",
        "_secure",
        "_transport",
        "_version",
        "_versions",
        "_waiting",
        "data_received",
        "full",
        "write",
    )

    _transport: asyncio.Transport
    data_received: Callable[[bytes], None]  # type: ignore[assignment]  # a method there

    def __init__(
        self,
        context: Context,
        versions: Versions,
        closed: Callable[[], None],
        *,
        secure: bool,
        announced: Announced | None = None,
    ) -> None:
        self._context = context
        self._versions = versions
        self._version = ""
        """What is spoken."""
        self._closed = closed
        self._secure = secure
        self._announced = announced
        self._connection: WireConnection | None = None
        self._waiting = Waiters()
        self._held = b""
        """The first octets, as long as they may become either version."""
        self._file_left = 0
        self.full = False
        self.write: Callable[[bytes], object] = ignore
        self.data_received = ignore

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        self.write = transport.write
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        encrypted: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        agreed = encrypted.selected_alpn_protocol() if encrypted else None
        self.switch(agreed or "http/1.1")
        if encrypted is None and "h2c" in self._versions:
            self.divert(self._sniff)

    def _sniff(self, data: bytes) -> None:
        """The first octets of a client that may know that HTTP/2 is spoken here."""
        data = self._held + data
        if len(data) < TELLING and PREFACE.startswith(data):
            self._held = data
            return
        self._held = b""
        connection = self._connection
        if data.startswith(PREFACE[:TELLING]):
            connection = self.switch("h2c")
        if connection is not None:
            self.divert(connection.feed)
            connection.feed(data)

    def eof_received(self) -> bool:
        if self._connection is not None:
            self._connection.eof(listening=not self._secure)
        # TLS cannot be half closed by an asyncio transport: there the end is the end.
        return not self._secure

    def connection_lost(self, error: Exception | None) -> None:
        self.write = ignore
        self.full = False
        if self._connection is not None:
            self._context.connections.discard(self._connection)
            self._context.stats.versions[self._version].closed += 1
            self._connection.eof()
            self._connection = None
        self._closed()
        self._waiting.wake(Gone("the client has gone"))

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._waiting.wake()
        if self._connection is not None:
            self._connection.relieve()

    @property
    def used(self) -> bool:
        """Whether it was ever connected, so that its end is told by `closed`."""
        return self.data_received is not ignore

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    # Called by the connection

    def divert(self, feed: Callable[[bytes], None]) -> None:
        self.data_received = feed
        # A loop looks `data_received` up when it is given the protocol; let it look again.
        self._transport.set_protocol(self)

    def switch(self, version: str) -> WireConnection:
        connections = self._context.connections
        tallies = self._context.stats.versions
        endpoints = self._endpoints()
        if self._connection is not None:
            connections.discard(self._connection)
            endpoints = self._connection.endpoints
            tallies[self._version].closed += 1
        self._version = version
        tallies[version].opened += 1
        self._connection = connection = self._versions[version](self._context, self, endpoints)
        connections.add(connection)
        self.divert(connection.feed)
        return connection

    def writelines(self, parts: Sequence[bytes | memoryview]) -> None:
        if self._secure:
            self.write(b"".join(parts))  # or each part would become a record of its own
        elif self.write is not ignore:
            self._transport.writelines(parts)

    def buffered(self) -> int:
        if self._connection is None:
            return 0
        return self._transport.get_write_buffer_size() + self._file_left

    def close(self) -> None:
        self.write = ignore
        self._transport.close()

    def abort(self) -> None:
        self.write = ignore
        with contextlib.suppress(OSError, AttributeError):  # it may be lost already
            # Without it a response delimited by the end of the connection would seem complete.
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def shutdown(self) -> None:
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.write = ignore

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    async def drain(self) -> None:
        # A transport whose write has failed takes everything and sends nothing: wait for its end.
        while self.full or (self._connection is not None and self._transport.is_closing()):
            await self._waiting.wait(self._context.loop)
        if self._connection is None:
            raise Gone("the client has gone")

    async def sendfile(self, file: int, offset: int, count: int) -> bool:
        if self._secure:
            return False  # the kernel cannot encrypt for us
        self._file_left = count
        self._transport.set_write_buffer_limits(high=0)
        try:
            if self._transport.get_write_buffer_size():
                self.full = True
                await self.drain()
            await self._send_settled(file, offset, count)
        finally:
            self._file_left = 0
            if self._connection is not None:
                self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        return True

    async def _send_settled(self, file: int, offset: int, count: int) -> None:
        """os.sendfile, now that the transport has nothing more to write."""
        # A descriptor of our own: a loop does not let us watch one that belongs to a transport.
        out = os.dup(self._socket().fileno())
        try:
            while count:
                try:
                    sent = os.sendfile(out, file, offset, min(count, FILE_PART))
                except BlockingIOError:
                    await self._writable(out)
                    continue
                except ConnectionError:
                    raise Gone("the client has gone") from None
                if not sent:
                    raise OSError(f"the file ended {count} octets early")
                offset += sent
                count -= sent
                self._file_left = count
                await asyncio.sleep(0)  # a fast reader would have the loop to itself
        finally:
            os.close(out)

    async def _writable(self, out: int) -> None:
        loop = self._context.loop
        loop.add_writer(out, self._waiting.wake)
        try:
            if self._connection is None:
                raise Gone("the client has gone")
            await self._waiting.wait(loop)
        finally:
            loop.remove_writer(out)

    def _socket(self) -> socket.socket:
        sock: socket.socket = self._transport.get_extra_info("socket")
        return sock

    def _endpoints(self) -> Endpoints:
        info = self._transport.get_extra_info
        encrypted: ssl.SSLObject | None = info("ssl_object")
        endpoints = Endpoints(
            _host_port(info("peername")),
            _host_port(info("sockname")) or _path(info("sockname")),
            "https" if encrypted else "http",
        )
        if self._announced is not None:
            announce(endpoints, self._announced)
        if encrypted:
            endpoints.extensions["tls"] = tls.describe(encrypted)
        return endpoints


def announce(endpoints: Endpoints, said: Announced) -> None:
    """Puts whom a load balancer speaks for in its own place."""
    if said.server is not None:
        endpoints.client, endpoints.server = said.client, said.server
    if said.secure:
        endpoints.scheme = "https"
    if said.tlvs:
        endpoints.extensions["tricorn.proxy"] = {"tlvs": said.tlvs}


def _host_port(name: Any) -> tuple[str, int] | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _path(name: Any) -> tuple[str, None] | None:
    """ASGI: the server of a unix socket is its path, without a port."""
    return (os.fsdecode(name), None) if name else None


def sweep(context: Context, now: float) -> None:
    """Closes, or answers, whatever is past its deadline. Called once a second.

    The time is read here only; a deadline set between two sweeps is up to a second early.
    """
    pause = now - context.now
    context.now = now
    if pause > LONGEST_TURN:
        # The loop stood still, and what arrived meanwhile has not been read: nobody is late yet.
        for connection in context.connections:
            connection.deadline += pause
    late = [connection for connection in context.connections if connection.deadline <= now]
    for connection in late:
        try:
            connection.late(now)
        except Exception:
            log.exception("client=%s could not be closed in order", connection.endpoints.client)
            connection.abort()
