"""What comes from the peer on HTTP/1.1: heads, bodies, and what has to wait.

An ordinary head is taken apart by `head`, any other by h11 behind `guard`; bodies by `body`. Each
octet belongs to one phase (`phase`). What follows a whole request waits until that request is
answered, unread if possible (RFC9112§9.3.2).
"""

from __future__ import annotations

import logging
from abc import abstractmethod

from tricorn.connection import (
    BODY_GRACE,
    FOREVER,
    LOOK,
    Context,
    Endpoints,
    Refused,
    Request,
    Stream,
)
from tricorn.http1.body import Body, ChunkedBody, SizedBody
from tricorn.http1.guard import H2C, Beginning, guarded
from tricorn.http1.head import REMEMBERED_HEAD, Heads
from tricorn.http1.phase import BODY, BUSY, CLOSED, DISCARD, HEAD, TUNNEL
from tricorn.wire import Wire, WireConnection

HIGH_WATER = 64 * 1024
"""Octets of content that wait for the application before reading pauses."""

log = logging.getLogger(__name__)


NO_REQUEST = Request("1.1", "", b"", b"", "", b"", b"", ())
"""What a connection is about before its first request."""


class Receiving(WireConnection):
    """The reading half of an HTTP/1.1 connection."""

    __slots__ = (
        "beginning",
        "body",
        "body_since",
        "budget",
        "empty_lines",
        "ended",
        "heads",
        "held",
        "id",
        "invited",
        "known",
        "last",
        "parting",
        "paused",
        "persistent",
        "phase",
        "reading",
        "request",
        "short",
        "stalled",
        "unread",
        "unsent",
    )

    def __init__(self, context: Context, wire: Wire, endpoints: Endpoints, heads: Heads) -> None:
        super().__init__(context, wire, endpoints)
        self.heads = heads
        self.known = heads.whole.young.get
        self.short = min(REMEMBERED_HEAD, heads.limits.head)
        """Octets up to which what arrives may be one known head: it is not hashed in vain."""
        self.phase = HEAD
        self.held = b""
        """Octets for later: what follows the request in progress."""
        self.reading = False
        """In `_read`: a response that ends meanwhile does not read on by itself."""
        self.paused = False
        self.ended = False
        """The peer has ended its direction."""
        self.id = 0
        self.request = NO_REQUEST
        self.persistent = True
        self.beginning: Beginning | None = None
        """What has arrived of a head that is not whole yet."""
        self.empty_lines = 0
        self.body: Body | None = None
        self.invited = True
        """The client need not wait for 100 (Continue)."""
        self.body_since = 0.0
        self.parting: Stream | None = None
        """A tunnel that has ended our direction, and hears how the peer ends its own."""
        self.unread = 0
        """Octets of content that the application has not taken."""
        self.budget = 0
        """Octets that may still be discarded."""
        self.stalled = False
        """The application waits for the peer to read."""
        self.unsent = 0
        """Octets that waited for the peer when the deadline was set."""
        config = context.config
        self.last = config.keep_alive_max_requests if config.keep_alive else 1
        """The number of the request after which the connection closes; 0 for none."""
        self.deadline = context.now + config.request_header_timeout

    def feed(self, data: bytes) -> None:
        phase = self.phase
        if phase == HEAD:
            if self.beginning is not None:
                self._collect(self.beginning, data)
                return
            request = None
            size = len(data)
            if size <= self.short:
                known = self.known
                request = known(data)
                if request is None and data.find(b"\r\n\r\n") == size - 4:
                    request = self.heads.parse(data)
            if request is None or request.length:
                self._read(data)
            else:
                self._begin(request)
        elif phase == BODY:
            self._read(data)
        elif phase == BUSY:
            self._hold(data)
        elif phase == DISCARD:
            self._waste(data)

    def _read(self, data: bytes) -> None:
        """Takes as many requests from `data` as can be answered now, and holds the rest."""
        self.reading = True
        try:
            while data:
                if self.phase == HEAD:
                    data = self._read_head(data)
                elif self.phase == BODY:
                    data = self._read_body(data)
                elif self.phase == BUSY:
                    self._hold(data)
                    break
                elif self.phase == TUNNEL:
                    self._take(data)
                    break
                else:
                    break
        except Refused as refusal:
            method = self.request.method.encode()
            if self.phase == HEAD:
                method = data.lstrip(b"\r\n").partition(b" ")[0]
            self._refuse(refusal, content=method != b"HEAD")
        finally:
            self.reading = False
        if self.ended and self.phase == HEAD and not self.streams:
            self._close()

    def _hold(self, data: bytes) -> None:
        # RFC9112§9.3.2: a pipelined request is served when its turn comes; nothing more is read.
        self.held += data
        self._pause()

    def _read_head(self, data: bytes) -> bytes:
        """Begins a request if its head is whole; returns what follows."""
        if data[0] == 0x0D:
            data = self._skip_empty_lines(data)
            if not data:
                self.beginning = None
                return b""
        limits = self.heads.limits
        end = data.find(b"\r\n\r\n")
        if end < 0:
            # The time for a head runs from its first octet (of the first one: from the connection),
            # and more octets do not prolong it.
            if self.id and self.beginning is None:
                self.deadline = self.context.now + self.context.config.request_header_timeout
            self.beginning = Beginning(data, limits)
            return b""
        if end > limits.head:
            raise Refused(431, f"the request head is longer than {limits.head} octets")
        head = data[: end + 4]
        request = self.known(head) or self.heads.parse(head)
        if request is None:
            upgrades = [*self.context.streams, *[H2C] * self.context.config.h2c_upgrade]
            request = guarded(data[:end], limits, upgrades)
        self.beginning = None
        self.empty_lines = 0
        data = data[end + 4 :]
        if request.protocol == H2C:
            self._leave(request, data)
            return b""
        if request.length == 0:
            self._begin(request)
            if request.protocol is not None and self.phase == BUSY:
                self.deadline = self.context.now + LOOK
            return data
        return self._begin_with_body(request, data)

    def _collect(self, beginning: Beginning, data: bytes) -> None:
        """More of an incomplete head."""
        try:
            whole = beginning.add(data)
        except Refused as refusal:
            self._refuse(refusal, content=not beginning.data.startswith(b"HEAD "))
        else:
            if whole:
                self._read(bytes(beginning.data))

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """RFC9112§2.2: a server should ignore at least one empty line before a request line."""
        while data.startswith(b"\r\n"):
            self.empty_lines += 1
            if self.empty_lines > 2:
                raise Refused(400, "empty lines instead of a request")
            data = data[2:]
        return data

    def _begin(self, request: Request) -> Stream:
        """Opens the stream of a request, and starts it unless a body follows."""
        self.id = id = self.id + 1
        self.request = request
        self.persistent = request.persistent and id != self.last
        self.deadline = FOREVER
        stream = self.open(id, request)
        if self.ended:
            stream.feed_reset(listening=True)
        if request.length == 0:
            self.phase = BUSY
            self.start(stream)
        return stream

    def _begin_with_body(self, request: Request, data: bytes) -> bytes:
        stream = self._begin(request)
        size = request.length
        if size is not None and len(data) >= size:
            # All of it is here already: the application need not wait for any of it.
            self.phase = BUSY
            self.unread = size
            stream.feed_data(data if len(data) == size else data[:size])
            stream.feed_end()
            self.start(stream)
            return data[size:]
        limits = self.heads.limits
        self.invited = not request.expects
        self.body = ChunkedBody(limits) if request.length is None else SizedBody(request.length)
        self.body_since = self.context.now
        self.unread = 0
        self.phase = BODY
        if data:
            # Before the application starts: it is not called for a body that is wrong at once,
            # and need not wait for one that is here already.
            data = self._read_body(data)
        if self.phase == BODY:
            self._arm()
        self.start(stream)
        return data

    def _read_body(self, data: bytes) -> bytes:
        """Feeds the body from `data`; returns what follows it."""
        body = self.body
        assert body is not None, "the phase is BODY only while there is one"
        stream = self.streams.get(self.id)
        self.invited = True
        data = body.feed(data, self._take if stream else self._waste)
        if self.phase != BODY:
            return b""  # it went on for longer than we care to discard
        if body.ended:
            self.body = None
            self.phase = BUSY
            self._arm()
            if stream:
                stream.feed_end(body.trailers)
            else:
                self._next()
        elif stream and not self.paused:
            self._arm()
        return data

    def _take(self, data: bytes) -> None:
        if stream := self.streams.get(self.id):
            self.unread += len(data)
            if self.unread > HIGH_WATER:
                self._pause()
            stream.feed_data(data)
        elif self.phase == DISCARD:  # of a tunnel that has ended
            self._waste(data)
            if self.parting is not None and self.phase == DISCARD:
                self.parting.feed_data(data)

    def _waste(self, data: bytes) -> None:
        self.budget -= len(data)
        if self.budget < 0:
            self._abort()

    def eof(self, *, listening: bool = False) -> None:
        self.ended = True
        if not listening:
            self.phase = CLOSED
            self.parting = None
            super().eof()
        elif self.phase == TUNNEL:
            if stream := self.streams.get(self.id):
                stream.feed_end()
        elif self.streams:
            # The answer is still owed (RFC9112§9.6); an application that listens is told.
            super().eof(listening=True)
        else:
            self._close()

    @property
    def idle(self) -> bool:
        waits = self.phase == HEAD and self.beginning is None and self.id > 0
        return waits and not self.wire.buffered()

    def _next(self) -> None:
        """Ready for the next request, which may be here already."""
        if self.wire.full:
            # Who does not read its answers may not make us collect more of them.
            self._pause()
            self._await_peer()
            return
        if not self.persistent:
            self._close()
            return
        self.phase = HEAD
        self.empty_lines = 0
        self.unsent = 0
        self.deadline = self.context.now + self.context.config.keep_alive
        if self.paused:
            self._resume()
        if self.held:
            data, self.held = self.held, b""
            self._read(data)
        elif self.ended and not self.reading:
            self._close()

    def relieve(self) -> None:
        if self.phase == BUSY and not self.streams:
            self._next()

    def _arm(self) -> None:
        """Sets the deadline of what is to come from the peer: the next part of a body."""
        if self.stalled:
            return  # it has to read first
        self.deadline = self.context.now + LOOK if self.phase == TUNNEL else FOREVER
        if self.phase == BODY and self.body and self.invited and not self.paused:
            config = self.context.config
            if config.read_timeout:
                self.deadline = self.context.now + config.read_timeout
            if config.read_rate_min:
                earned = self.body.received / config.read_rate_min
                self.deadline = min(self.deadline, self.body_since + BODY_GRACE + earned)

    def _await_peer(self) -> None:
        """Sets the deadline for a peer that has to read before we can go on."""
        self.unsent = self.wire.buffered()
        self.deadline = self.context.now + (self.context.config.write_timeout or FOREVER)

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            self.wire.pause_reading()
            if self.phase == BODY:
                self.body_since -= self.context.now  # the clock of the peer stops
                self._arm()

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self.wire.resume_reading()
            if self.phase == BODY:
                self.body_since += self.context.now
                if self.streams:
                    self._arm()

    @abstractmethod
    def _refuse(self, refusal: Refused, *, content: bool = True) -> None:
        """Answers what cannot be served, and ends the connection: its framing is not known."""

    @abstractmethod
    def _leave(self, request: Request, data: bytes) -> None:
        """HTTP/2 goes on from here, with the answer to `request`; `data` has arrived already."""

    @abstractmethod
    def _close(self) -> None:
        """Ends the connection when everything has been answered."""

    @abstractmethod
    def _abort(self) -> None:
        """Ends the connection at once."""
