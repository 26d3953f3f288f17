"""The accept loop: a few connections at a time, never more than can be held, and a fair share.

All workers accept from the same sockets, so that a worker that dies or hangs loses and delays
nobody. uvloop's own loop accepts until the queue is empty, and without descriptors it accepts and
closes; this one leaves the clients in the queue instead, where a sibling or a later moment finds
them. How many connections the siblings hold is read from the scoreboard.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING

from tricorn.capacity import Capacity
from tricorn.config import Config
from tricorn.connection import Context
from tricorn.net.tcp import TcpWire, Versions
from tricorn_supervisor.scoreboard import Row, Scoreboard

if TYPE_CHECKING:
    from tricorn.net.proxy import Announced
    from tricorn.net.trust import Trusted

BURST = 16
"""Connections that are accepted at one wake-up; the rest is for the siblings."""
HANDSHAKES = 256
"""TLS handshakes at once; each costs the loop milliseconds."""
RESERVE = 64
"""Descriptors left for the application, for logs and for files being sent."""
MOST_CONNECTIONS = 10_000
RESUME = 0.9
"""The part of the limit below which accepting goes on."""
UNFAIR = 8
"""Connections above an equal share, and an eighth of it, from which a worker sits out a turn."""
SIT_OUT = 0.005
"""Seconds of such a turn: long enough for a sibling, too short for a client to notice."""
RETRY = 0.5
"""Seconds until accepting is tried again when the system has no descriptors or memory."""
LOG_INTERVAL = 10.0
SHUTDOWN_TIMEOUT = 3.0
"""Seconds that a TLS client has to answer our close (RFC8446§6.1)."""

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

log = logging.getLogger(__name__)


def connection_limit(wanted: int) -> int:
    """How many connections this process can hold: `wanted`, or what its descriptors allow.

    Raises the soft limit of descriptors to the hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as error:
            log.warning("descriptors stay limited to %d: %s", soft, error)
    room = MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, soft - RESERVE)
    return min(wanted or MOST_CONNECTIONS, room)


class Acceptor:
    """Accepts for one worker on all of its listeners."""

    def __init__(
        self,
        context: Context,
        versions: Versions,
        listeners: Sequence[tuple[socket.socket, bool]],
        encryption: ssl.SSLContext | None,
        board: Scoreboard,
        row: Row,
    ) -> None:
        """`listeners` are sockets, each with whether it is for TLS."""
        self.context = context
        self._announcing = _announcing(context.config)
        """Who begins with a header of the PROXY protocol."""
        limit = connection_limit(context.config.limit_connections)
        self.capacity = Capacity(limit, row, self._relieve)
        """For all connections of the worker."""
        self.held = 0
        """Connections over TCP, those in a TLS handshake included."""
        self._versions = versions
        self._listeners = listeners
        self._encryption = encryption
        self._board = board
        self.emptied = asyncio.Event()
        """Closed, and the last connection has ended."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._handshaking: dict[asyncio.Task[None], None] = {}
        """Those of them in a TLS handshake, the oldest first."""
        self._accepting = False
        self._closed = False
        self._logged = float("-inf")
        self._retry: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Starts, or goes on, accepting."""
        self._retry = None
        if self._accepting or self._closed:
            return
        self._accepting = True
        for listener, secure in self._listeners:
            self.context.loop.add_reader(listener.fileno(), partial(self._ready, listener, secure))

    def pause(self, seconds: float | None = None) -> None:
        """Leaves new clients in the queue, for `seconds` or until a connection closes."""
        if self._accepting:
            self._accepting = False
            for listener, _ in self._listeners:
                self.context.loop.remove_reader(listener.fileno())
        if seconds is not None and self._retry is None and not self._closed:
            self._retry = self.context.loop.call_later(seconds, self.open)

    def close(self) -> None:
        """Accepts no more; the sockets are the siblings' too, so they are only let go of."""
        self._closed = True
        self.pause()
        if self._retry is not None:
            self._retry.cancel()
        for listener, _ in self._listeners:
            listener.close()

    def _ready(self, listener: socket.socket, secure: bool) -> None:
        for _ in range(self._turn()):
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._complain("clients wait: accept failed: %s", error.strerror)
                    self.pause(RETRY)
                    return
                continue  # accept(2): an error of the connection that was next in the queue
            self._take(sock, secure)

    def _turn(self) -> int:
        """How many connections to accept now; pauses where that is none."""
        room, held = self.capacity.room, self.capacity.held
        if room <= 0:
            self._complain("clients wait: this worker holds %d connections", held)
            self.pause()
            return 0
        total, workers = self._board.connections()
        if workers > 1 and held > UNFAIR + total * 9 // (workers * 8):
            self.pause(SIT_OUT)
            return 1  # should the siblings be too busy to take it
        return min(room, BURST)

    def _take(self, sock: socket.socket, secure: bool) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            # Without it the second of two small writes waits for the client's delayed ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held += 1
        self.capacity.take()
        self.context.stats.accepted += 1
        loop = self.context.loop
        task = loop.create_task(self._connect(sock, secure))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        if secure:
            if len(self._handshaking) >= HANDSHAKES:
                # Who connects and says nothing may not keep others out.
                self._complain("%d TLS handshakes at once: the oldest is ended", HANDSHAKES)
                next(iter(self._handshaking)).cancel()
            self._handshaking[task] = None
            task.add_done_callback(self._handshaken)

    async def _connect(self, sock: socket.socket, secure: bool) -> None:
        wire: TcpWire | None = None
        try:
            announced = await self._announcement(sock)
            wire = made = TcpWire(
                self.context, self._versions, self._release, secure=secure, announced=announced
            )
            if secure:
                await self.context.loop.connect_accepted_socket(
                    lambda: made,
                    sock,
                    ssl=self._encryption,
                    ssl_handshake_timeout=self.context.config.ssl_handshake_timeout,
                    ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                )
                self.context.stats.tls_handshakes += 1
            else:
                await self.context.loop.connect_accepted_socket(lambda: made, sock)
        except OSError as error:  # ssl.SSLError is one
            log.debug("client=%s connection failed: %s", _name(sock), error)
        finally:
            if wire is None or not wire.used:
                self.context.stats.tls_failures += secure and wire is not None
                sock.close()
                self._release()

    async def _announcement(self, sock: socket.socket) -> Announced | None:
        """The header of the PROXY protocol, of those who have to begin with one."""
        if self._announcing is None:
            return None
        from tricorn.net import proxy

        host = _host(sock)
        if not self._announcing.has(host):
            return None
        try:
            return await proxy.receive(sock, self.context.config.proxy_protocol, self.context.loop)
        except proxy.ProxyError as error:
            self._complain("a connection of %s is closed for its PROXY header: %s", host, error)
            raise

    def _release(self) -> None:
        """A connection has ended."""
        self.held -= 1
        if self._closed and not self.held:
            self.emptied.set()
        self.capacity.release()

    def _handshaken(self, task: asyncio.Task[None]) -> None:
        self._handshaking.pop(task, None)

    def _relieve(self) -> None:
        capacity = self.capacity
        if not self._accepting and self._retry is None and capacity.held <= capacity.limit * RESUME:
            self.open()

    def shed(self) -> None:
        """Closes what has been idle longest when the limit is near: new clients come first."""
        excess = self.capacity.held - int(self.capacity.limit * RESUME)
        if excess <= 0:
            return
        idle = [each for each in self.context.connections if each.idle]
        for connection in nsmallest(excess, idle, key=lambda each: each.deadline):
            connection.late(self.context.now)

    def _complain(self, message: str, *details: object) -> None:
        now = self.context.loop.time()
        if now >= self._logged + LOG_INTERVAL:
            self._logged = now
            log.warning(message, *details)


def _announcing(config: Config) -> Trusted | None:
    if config.proxy_protocol == "off":
        return None
    from tricorn.net.trust import Trusted  # few servers need it, or ipaddress

    return Trusted(config.proxy_allow_from)


def _host(sock: socket.socket) -> str | None:
    """The address of the other end; None if that is a unix socket's."""
    name = sock.getpeername()
    return name[0] if isinstance(name, tuple) else None


def _name(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return "?"
