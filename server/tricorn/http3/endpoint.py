"""Datagrams in and out: which connection they belong to, what strangers get, when it is sent.

Up to 64 datagrams are read in one turn of the loop; connections that have something to send do so
once, after the tasks that were woken have run, in as few system calls as the kernel allows.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol

from aioquic._buffer import Buffer
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from tricorn.capacity import Capacity
from tricorn.connection import Context, Endpoints
from tricorn.http3.connection import Http3Connection
from tricorn.http3.link import QuicLink
from tricorn.http3.shared import Shared
from tricorn.http3.transport import Terms, Transport

BATCH = 64
"""Datagrams that are read in one turn, and the most that the kernel sends in one call."""
LARGEST_DATAGRAM = 4096
SMALLEST_INITIAL = 1200
"""RFC9000§14.1."""
SHORTEST_ORIGINAL = 8
"""Octets of the ID that a client makes up (RFC9000§7.2)."""
MOST_OCTETS = 65_000
"""Of one call with UDP_SEGMENT."""
HALF_OPEN = 100
"""Handshakes that are open before clients have to prove their address (HAProxy)."""
MOST_RESETS, MOST_NEGOTIATIONS = 200, 100
"""Answers to strangers in one second."""
SMALLEST_RESET, LARGEST_RESET = 21, 42
"""RFC9000§10.3: no smaller packet looks like one, a larger one gains nothing."""
BACKLOG = 1024
"""Datagrams that wait for the kernel; what does not fit is lost, as on any network."""

Socket = socket.socket
Address = tuple[Any, ...]
"""Host and port first; two that differ are two ways of the network (RFC9000§9)."""
Datagram = tuple[bytes, Address]


class Port(Protocol):
    """A UDP socket as the supervisor hands it down."""

    @property
    def socket(self) -> Socket: ...

    def fileno(self) -> int:
        """Readable when `receive_from` has something."""
        ...

    def receive_from(self, size: int) -> tuple[bytes, Any]: ...

    def send(self, datagrams: Sequence[bytes], address: Any) -> None:
        """Sends datagrams of one size, but for the last one, in one call."""
        ...

    def local(self, address: Any) -> tuple[str, int]:
        """Our end of the way to a peer."""
        ...


class Endpoint:
    """All QUIC connections of one worker."""

    def __init__(
        self,
        context: Context,
        shared: Shared,
        terms: Terms,
        ports: Sequence[Port],
        resettable: Callable[[bytes], bool],
        capacity: Capacity,
    ) -> None:
        self.context = context
        self.shared = shared
        self.terms = terms
        self.ports = ports
        self._id_size = terms.configuration.connection_id_length
        self.resettable = resettable
        """Whether a connection ID of ours that leads nowhere is this worker's to reset."""
        self.capacity = capacity
        """Shared with the connections over TCP."""
        self.tally = context.stats.versions["h3"]
        self.links: dict[bytes, QuicLink] = {}
        """By connection ID."""
        self.half_open: set[QuicLink] = set()
        self.held = 0
        """Connections."""
        self.emptied = asyncio.Event()
        """No connection is left of those that a worker that drains had."""
        self.clock: Callable[[], float] = monotonic
        self._dirty: list[QuicLink] = []
        self._backlogs: dict[int, deque[Datagram]] = {}
        """By the socket that has no room."""
        self._segmenting = hasattr(socket, "SO_REUSEPORT") and os.uname().sysname == "Linux"
        self._second = 0.0
        self._resets = self._negotiations = 0

    def open(self) -> None:
        for port in self.ports:
            self.context.loop.add_reader(port.fileno(), self._readable, port)

    # In

    def _readable(self, port: Port) -> None:
        now = self.clock()
        for _ in range(BATCH):
            try:
                data, address = port.receive_from(LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # what the network says of an earlier datagram of ours
            self.take(port, data, address, now)

    def take(self, port: Port, data: bytes, address: Address, now: float) -> None:
        """One datagram."""
        if len(data) < self._id_size + 2:
            return
        id = data[6 : 6 + data[5]] if data[0] & 0x80 else data[1 : 1 + self._id_size]
        link = self.links.get(id)
        if link is not None:
            link.port = port
            link.feed(data, address, now)
        elif not data[0] & 0x80:
            self._reset(port, data, address, id)
        elif len(data) >= SMALLEST_INITIAL and SHORTEST_ORIGINAL <= len(id) <= 20:
            self._take_initial(port, data, address, now)

    def _take_initial(self, port: Port, data: bytes, address: Address, now: float) -> None:
        """The first datagram of a connection, or of none."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._id_size)
        except ValueError:
            return
        versions = self.terms.configuration.supported_versions
        if header.version not in versions:
            # RFC9000§6.1; RFC9000§17.2.1: never in answer to one.
            if header.version and self._may_negotiate():
                answer = encode_quic_version_negotiation(
                    source_cid=header.destination_cid,
                    destination_cid=header.source_cid,
                    supported_versions=versions,
                )
                self.send(port, [(answer, address)])
            return
        if header.packet_type != QuicPacketType.INITIAL or self.context.draining:
            return
        config = self.context.config
        # Who is not heard tries again, as who waits in the queue of a listener does.
        if self.capacity.room <= 0 or len(self.half_open) >= config.quic_max_handshakes:
            return
        asked = header.destination_cid
        original, retried = asked, None
        wary = config.quic_retry == "auto" and len(self.half_open) >= HALF_OPEN
        if header.token:
            found = self.terms.keys.open_retry_token(header.token, address[:2], asked)
            if found is not None:
                original, retried = found, asked
        if retried is None and (config.quic_retry == "on" or wary):
            id = self.terms.issue()
            answer = encode_quic_retry(
                version=header.version,
                source_cid=id,
                destination_cid=header.source_cid,
                original_destination_cid=asked,
                retry_token=self.terms.keys.retry_token(address[:2], asked, id),
            )
            self.context.stats.quic_retries += 1
            self.send(port, [(answer, address)])
            return
        link = self._connect(port, address, original, retried)
        self.links[asked] = link
        link.ids.add(asked)
        link.feed(data, address, now)

    def _connect(
        self, port: Port, address: Address, original: bytes, retried: bytes | None
    ) -> QuicLink:
        link = QuicLink(self, port, address)

        def issued(id: bytes) -> None:
            self.links[id] = link
            link.ids.add(id)

        link.transport = Transport(self.terms, issued, original=original, retried=retried)
        ends = Endpoints(_plain(address), _plain(port.local(address)), "https")
        link.connection = Http3Connection(self.context, link, ends, self.shared, link.transport)
        self.context.connections.add(link.connection)
        self.half_open.add(link)
        self.held += 1
        self.tally.opened += 1
        return link

    def established(self, link: QuicLink) -> None:
        self.half_open.discard(link)
        # Not before: with addresses that are not theirs, strangers could take all of the room.
        self.capacity.take()
        self.context.stats.accepted += 1
        self.context.stats.quic_handshakes += 1

    def retire(self, link: QuicLink, id: bytes) -> None:
        link.ids.discard(id)
        self.links.pop(id, None)

    def remove(self, link: QuicLink) -> None:
        """The connection has ended."""
        if link.connection not in self.context.connections:
            return
        for id in link.ids:
            self.links.pop(id, None)
        self.context.connections.discard(link.connection)
        self.held -= 1
        self.tally.closed += 1
        if link in self.half_open:
            self.half_open.discard(link)
            self.context.stats.quic_failures += 1
        else:
            self.capacity.release()
        if self.context.draining and not self.held:
            self.emptied.set()

    # Strangers

    def _reset(self, port: Port, data: bytes, address: Address, id: bytes) -> None:
        """RFC9000§10.3: tells a client that its connection has died with an earlier worker."""
        # RFC9000§10.3.3: each is smaller than what it answers, or two servers would go on for ever.
        # Small packets have an answer too: a client may have nothing but a PING to send again.
        size = min(len(data) - 1, LARGEST_RESET)
        if size < SMALLEST_RESET or not self.resettable(id) or not self._may_reset():
            return
        self.context.stats.quic_resets += 1
        noise = bytearray(os.urandom(size - 16))
        noise[0] = noise[0] & 0x3F | 0x40
        self.send(port, [(bytes(noise) + self.terms.keys.reset_token(id), address)])

    def _may_reset(self) -> bool:
        self._look_at_clock()
        self._resets += 1
        return self._resets <= MOST_RESETS

    def _may_negotiate(self) -> bool:
        self._look_at_clock()
        self._negotiations += 1
        return self._negotiations <= MOST_NEGOTIATIONS

    def _look_at_clock(self) -> None:
        if self.context.now != self._second:  # it is set once a second
            self._second = self.context.now
            self._resets = self._negotiations = 0

    # Out

    def plan(self, link: QuicLink) -> None:
        if not self._dirty:
            self.context.loop.call_soon(self._flush)
        self._dirty.append(link)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        now = self.clock()
        for link in dirty:
            self.send(link.port, link.flush(now))

    def send(self, port: Port, datagrams: Sequence[Datagram]) -> None:
        """Sends datagrams, those of one size and one address in one call."""
        if (backlog := self._backlogs.get(port.socket.fileno())) is not None:
            backlog.extend(datagrams[: BACKLOG - len(backlog)])
            return
        at, count = 0, len(datagrams)
        while at < count:
            end = self._run(datagrams, at) if self._segmenting else at + 1
            try:
                run = datagrams[at:end]
                port.send([data for data, _ in run], run[0][1])
            except BlockingIOError:
                self._wait(port, datagrams[at:])
                return
            except OSError:
                if end - at > 1:
                    self._segmenting = False  # the device cannot; it is not asked again
                    continue
                # An address that cannot be reached, or a datagram too large for its way: lost.
            at = end

    def _run(self, datagrams: Sequence[Datagram], at: int) -> int:
        """Where the datagrams end that can leave in one call with the one at `at`."""
        first, address = datagrams[at]
        size = total = len(first)
        end = at + 1
        while end < len(datagrams) and end - at < BATCH:
            data, to = datagrams[end]
            total += len(data)
            if to != address or len(data) > size or total > MOST_OCTETS:
                break
            end += 1
            if len(data) < size:
                break  # only the last one may be smaller
        return end

    def _wait(self, port: Port, datagrams: Sequence[Datagram]) -> None:
        number = port.socket.fileno()
        self._backlogs[number] = deque(datagrams, BACKLOG)
        self.context.loop.add_writer(port.socket, self._writable, port)

    def _writable(self, port: Port) -> None:
        waiting = self._backlogs.pop(port.socket.fileno())
        self.context.loop.remove_writer(port.socket)
        self.send(port, list(waiting))


def _plain(address: Address) -> tuple[str, int]:
    """Host and port, as ASGI has them."""
    return address[0].removeprefix("::ffff:"), address[1]
