"""RFC 9112: one stream at a time.

An ordinary head is taken apart by `head`, any other by h11 behind `guard`; bodies by `body`. What
is read from the peer belongs to one of the phases below. What follows a whole request waits until
that request is answered, unread if possible (RFC9112§9.3.2). A response leaves in one write where
its first part is also its last.
"""

from __future__ import annotations

import logging
from enum import IntEnum

from tricorn.connection import (
    FOREVER,
    ApplicationError,
    Connection,
    Context,
    Endpoints,
    Fields,
    Refused,
    Request,
    Stream,
    Wire,
)
from tricorn.http1.body import Body, ChunkedBody, SizedBody
from tricorn.http1.guard import first_octet, guarded
from tricorn.http1.head import Heads
from tricorn.http1.response import TOO_LONG, Framing, ResponseHeads

HIGH_WATER = 64 * 1024
"""Octets of content that wait for the application before reading pauses."""
JOINED = 16 * 1024
"""Octets up to which copying content behind its head is cheaper than a second buffer."""
LINGER = 256 * 1024
"""Octets that a peer may send after our last answer, which it would not get if we just closed."""
LINGER_TIMEOUT = 5.0  # nginx lingering_timeout 5 s
BODY_GRACE = 10.0
"""Seconds before a minimum rate is asked of a body."""
DRAIN_GRACE = 1.0
"""Seconds after an answer in which a draining server still expects the next request."""

log = logging.getLogger(__name__)


class Phase(IntEnum):
    """What the next octet from the peer is."""

    HEAD = 0  # of a request head
    BODY = 1  # of a request's body
    BUSY = 2  # of a later request, while one is being answered
    TUNNEL = 3  # of another protocol
    DISCARD = 4  # of no interest: our direction has ended, and we wait for the peer's end
    CLOSED = 5  # of no interest: what is buffered still leaves


# Compared on every request: plain names and plain integers.
HEAD, BODY, BUSY, TUNNEL, DISCARD, CLOSED = (int(phase) for phase in Phase)

NO_REQUEST = Request("1.1", "", b"", b"", "", b"", b"", ())
"""What a connection is about before its first request."""


class Http1Connection(Connection):
    """One HTTP/1.1 (or 1.0) client connection."""

    __slots__ = (
        "body",
        "body_since",
        "budget",
        "collecting",
        "empty_lines",
        "ended",
        "framing",
        "heads",
        "held",
        "id",
        "most_requests",
        "paused",
        "pending",
        "persistent",
        "phase",
        "reading",
        "request",
        "responses",
        "unread",
        "unsent",
    )

    def __init__(
        self,
        context: Context,
        wire: Wire,
        endpoints: Endpoints,
        heads: Heads,
        responses: ResponseHeads,
    ) -> None:
        super().__init__(context, wire, endpoints)
        self.heads = heads
        self.responses = responses
        self.phase = HEAD
        self.held = b""
        """Octets for later: an incomplete head, or what follows the request in progress."""
        self.reading = False
        """In `_read`: a response that ends meanwhile does not read on by itself."""
        self.paused = False
        self.ended = False
        """The peer has ended its direction."""
        self.id = 0
        self.request = NO_REQUEST
        self.persistent = True
        self.collecting = False
        """A head has begun to arrive."""
        self.empty_lines = 0
        self.body: Body | None = None
        self.body_since = 0.0
        self.unread = 0
        """Octets of content that the application has not taken."""
        self.budget = 0
        """Octets that may still be discarded."""
        self.pending: tuple[int, Fields] | None = None
        """A response head that waits for the first part of the content."""
        self.framing: Framing | None = None
        """How the rest of a response is delimited whose head was sent."""
        self.unsent = 0
        """Octets that waited for the peer when the deadline was set."""
        config = context.config
        self.most_requests = (config.keep_alive_max_requests or FOREVER) if config.keep_alive else 0
        self.deadline = context.now + config.request_header_timeout

    # From the peer

    def feed(self, data: bytes) -> None:
        phase = self.phase
        if phase == HEAD and not self.held:
            request = self.heads.whole.young.get(data)
            if request is None:
                self._read(data)
            else:
                self._begin(request)
        elif phase <= BODY:
            if self.held:
                data = self.held + data
                self.held = b""
            self._read(data)
        elif phase == BUSY:
            self._hold(data)
        elif phase == TUNNEL:
            self._take(data)
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
            self._refuse(refusal)
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
        limits = self.heads.limits
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._judge_beginning(data)
            self.held = data
            return b""
        request = self.heads.parse(data, end) if end <= limits.head else None
        if request is None:
            if end > limits.head:
                raise Refused(431, f"the request head is longer than {limits.head} octets")
            request = guarded(data[:end], limits, self.context.streams)
        self.collecting = False
        self.empty_lines = 0
        end += 4
        data = data[end:] if end < len(data) else b""
        if request.length == 0:
            self._begin(request)
            return data
        return self._begin_with_body(request, data)

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """RFC9112§2.2: a server should ignore at least one empty line before a request line."""
        while data.startswith(b"\r\n"):
            self.empty_lines += 1
            if self.empty_lines > 2:
                raise Refused(400, "empty lines instead of a request")
            data = data[2:]
        return data

    def _judge_beginning(self, data: bytes) -> None:
        """Refuses a head whose beginning shows that it cannot become a good one."""
        limits = self.heads.limits
        if not self.collecting:
            # The time for a head runs from its first octet (of the first one: from the
            # connection), and more octets do not prolong it.
            self.collecting = True
            if self.id:
                self.deadline = self.context.now + self.context.config.request_header_timeout
        if data not in (b"", b"\r"):
            first_octet(data)
        if len(data) > limits.head:
            raise Refused(431, f"the request head is longer than {limits.head} octets")
        if len(data) > limits.line and data.find(b"\r\n") < 0:
            raise Refused(414, f"the request line is longer than {limits.line} octets")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise Refused(400, "a line ends without CR")  # RFC9112§2.2

    def _begin(self, request: Request) -> Stream:
        """Opens the stream of a request, and starts it unless a body follows."""
        self.id = id = self.id + 1
        self.request = request
        # The refusal of an upgrade is the last answer too: the client may have begun to speak the
        # other protocol.
        self.persistent = request.persistent and id < self.most_requests and not request.protocol
        self.deadline = FOREVER
        stream = self.open(id, request)
        if request.length == 0:
            self.phase = BUSY
            if self.ended:
                stream.feed_reset(listening=True)
            self.start(stream)
        return stream

    def _begin_with_body(self, request: Request, data: bytes) -> bytes:
        stream = self._begin(request)
        limits = self.heads.limits
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
            if self.ended:
                stream.feed_reset(listening=True)
        self.start(stream)
        return data

    def _read_body(self, data: bytes) -> bytes:
        """Feeds the body from `data`; returns what follows it."""
        body = self.body
        assert body is not None, "the phase is BODY only while there is one"
        stream = self.streams.get(self.id)
        data = body.feed(data, self._take if stream else self._waste)
        if self.phase != BODY:
            return b""  # it went on for longer than we care to discard
        if body.ended:
            self.body = None
            self.phase = BUSY
            self.deadline = FOREVER
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

    def _waste(self, data: bytes) -> None:
        self.budget -= len(data)
        if self.budget < 0:
            self._abort()

    def eof(self, *, listening: bool = False) -> None:
        self.ended = True
        if not listening:
            self.phase = CLOSED
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
        return self.phase == HEAD and not self.collecting and self.id > 0

    def late(self, now: float) -> None:
        unsent = self.wire.buffered()
        if unsent and self.phase != CLOSED and unsent < self.unsent:
            self._await_peer()
        elif unsent or self.phase >= TUNNEL:
            log.debug("client=%s does not read", self.endpoints.client)
            self._abort()
        elif self.phase == BODY and self.streams:
            self._refuse(Refused(408, "the body came too slowly"))
        elif self.phase == HEAD and self.collecting:
            self._refuse(Refused(408, "the request head came too slowly"))
        else:
            self._close()

    # To the peer

    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        # RFC9110§15.2: not to an HTTP/1.0 client.
        if id in self.streams and self.framing is None and self.request.version == "1.1":
            self.wire.write(self.responses.informational(status, headers))

    def send_headers(self, id: int, status: int, headers: Fields, *, end: bool = False) -> None:
        if id not in self.streams:
            return
        if status == 101:
            self._switch(id, headers)
            return
        self.pending = (status, headers)
        if end:
            self.send_data(id, b"", end=True)

    def send_data(self, id: int, data: bytes, *, end: bool = False) -> None:
        if id not in self.streams:
            return
        framing = self.framing
        head = tail = b""
        if framing is None:
            if self.pending is None:
                self._send_through(data, end)
                return
            head, framing = self._begin_response(self.pending, len(data) if end else None)
        if framing.remaining is not None:
            data = self._bounded(framing, framing.remaining, data, end)
        elif framing.silent:
            data = b""
        elif framing.chunked:
            if data:
                head += b"%x\r\n" % len(data)
                tail = b"\r\n"
            if end:
                tail += b"0\r\n\r\n"
        if len(data) <= JOINED:
            self.wire.write(head + data + tail)
        else:
            self.wire.writelines([head, data, tail])
        if end:
            self._finish()

    def respond(self, id: int, status: int, headers: Fields, data: bytes) -> None:
        if id not in self.streams:
            return
        # An answer that ends before its request does is the last one (RFC9112§9.6).
        persistent = self.persistent and self.body is None and not self.context.draining
        head, data, self.persistent = self.responses.whole(
            self.request, status, headers, data, persistent
        )
        if len(data) <= JOINED:
            self.wire.write(head + data)
        else:
            self.wire.writelines([head, data])
        self._finish()

    def _begin_response(
        self, pending: tuple[int, Fields], size: int | None
    ) -> tuple[bytes, Framing]:
        status, headers = pending
        persistent = self.persistent and not self.context.draining
        head, framing = self.responses.begin(self.request, status, headers, size, persistent)
        self.persistent = framing.persistent
        self.pending = None
        self.framing = framing
        return head, framing

    def _bounded(self, framing: Framing, remaining: int, data: bytes, end: bool) -> bytes:
        """Holds the application to the Content-Length that it declared (RFC9110§8.6)."""
        left = remaining - len(data)
        if left < 0:
            log.error(TOO_LONG)
            data = data[:left]
            left = 0
        framing.remaining = left
        if end and left:
            raise ApplicationError(f"{left} octets of the declared Content-Length are missing")
        return data

    def _send_through(self, data: bytes, end: bool) -> None:
        self.wire.write(data)
        if end:
            self.streams.clear()
            self._close()

    def _switch(self, id: int, headers: Fields) -> None:
        """Answers 101: from here on the connection speaks the stream's protocol."""
        protocol = self.request.protocol
        if protocol is None:
            raise ApplicationError("101 for a request that asked for no upgrade")
        self.wire.write(self.responses.switching(protocol, headers))
        self.phase = TUNNEL
        self.unread = 0
        held, self.held = self.held, b""
        if held:
            self._take(held)
        if self.unread <= HIGH_WATER:
            self._resume()

    def send_trailers(self, id: int, headers: Fields) -> None:
        if id not in self.streams:
            return
        if self.framing is None:
            self.send_data(id, b"")
        if self.framing is not None and self.framing.chunked:
            accepted = self.request.accepts_trailers  # RFC9110§6.5.1
            section = self.responses.section(headers) if accepted else b"\r\n"
            self.wire.write(b"0\r\n" + section)
            self._finish()
        else:
            self.send_data(id, b"", end=True)

    def send_reset(self, id: int, reason: str) -> None:
        if id in self.streams:
            log.debug("client=%s response given up: %s", self.endpoints.client, reason)
            self._abort()

    def consumed(self, id: int, size: int) -> None:
        if id in self.streams:
            self.unread -= size
            # Half of the high-water mark, so that it does not flip with every part.
            if self.paused and not self.held and self.unread <= HIGH_WATER // 2:
                self._resume()

    def room(self, id: int) -> bool:
        return not self.wire.full

    async def writable(self, id: int) -> None:
        self._await_peer()
        await self.wire.drain()
        if id in self.streams:
            self._arm()

    async def send_file(self, id: int, file: int, offset: int, count: int) -> None:
        if id not in self.streams:
            return
        self.send_data(id, b"")
        framing = self.framing
        if framing is None or framing.silent:
            return
        if framing.remaining is None or framing.remaining < count:
            await self.copy_file(id, file, offset, count)
            return
        self._await_peer()
        if await self.wire.sendfile(file, offset, count):
            framing.remaining -= count
            self._arm()
        else:
            await self.copy_file(id, file, offset, count)

    def drain(self) -> None:
        self.persistent = False
        if self.phase == HEAD and not self.collecting:
            # A client that was just answered may be sending its next request at this moment;
            # it gets an answer, and is told that it is the last.
            idle_since = self.deadline - (self.context.config.keep_alive)
            self.deadline = (idle_since if self.id else self.context.now) + DRAIN_GRACE
            if self.deadline <= self.context.now:
                self._close()

    # Between two requests, and the end

    def _finish(self) -> None:
        """The response is complete."""
        del self.streams[self.id]
        if self.framing is not None:
            self.framing = None
        if not self.persistent:
            self._close()
        elif self.phase == BUSY:
            self._next()
        else:
            # The rest of a body that nobody reads: a little is cheaper to take than to close.
            self.budget = LINGER
            self._resume()
            self.deadline = self.context.now + LINGER_TIMEOUT

    def _next(self) -> None:
        """Ready for the next request, which may be here already."""
        self.phase = HEAD
        if self.wire.full:
            self._await_peer()
        else:
            self.deadline = self.context.now + self.context.config.keep_alive
        if self.held:
            data, self.held = self.held, b""
            self._resume()
            self._read(data)

    def _arm(self) -> None:
        """Sets the deadline of what is to come from the peer: the next part of a body."""
        self.deadline = FOREVER
        if self.phase == BODY and self.body is not None and not self.paused:
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
                self.deadline = FOREVER

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self.wire.resume_reading()
            if self.phase == BODY:
                self.body_since += self.context.now
                if self.streams:
                    self._arm()

    def _refuse(self, refusal: Refused) -> None:
        """Answers what cannot be served, and ends the connection: its framing is not known."""
        log.info(
            "client=%s status=%d refused: %s", self.endpoints.client, refusal.status, refusal.reason
        )
        stream = self.streams.pop(self.id, None)
        answered = self.framing is not None
        if stream:
            stream.feed_reset()
        else:
            self.context.refused(self.endpoints, refusal.status)
        self.pending = self.framing = None
        if answered:
            self._abort()
        else:
            self.wire.write(self.responses.error(refusal.status))
            self._linger()

    def _close(self) -> None:
        if self.body is not None or self.held or self.paused:
            self._linger()
        elif self.phase != CLOSED:
            self.phase = CLOSED
            self._await_peer()
            self.wire.close()

    def _linger(self) -> None:
        """Ends our direction and reads on: closing on unread data would reset the connection.

        RFC9112§9.6: a reset may destroy an answer that the client has not read yet.
        """
        self.phase = DISCARD
        self.held = b""
        self.body = None
        self.budget = LINGER
        self._resume()
        if self.ended:
            self.phase = CLOSED
            self.wire.close()
        else:
            self.wire.shutdown()
        self.deadline = self.context.now + LINGER_TIMEOUT

    def _abort(self) -> None:
        self.phase = CLOSED
        self.wire.abort()
        super().eof()
