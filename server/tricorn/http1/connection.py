"""RFC 9112: one stream at a time.

`receiving` is what comes from the peer; here is what goes to it, and how a connection ends. A
response leaves in one write where its first part is also its last.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager

from tricorn.connection import (
    DRAIN_GRACE,
    LINGER,
    LINGER_TIMEOUT,
    LOOK,
    ApplicationError,
    Broken,
    Context,
    Endpoints,
    Fields,
    Refused,
    Request,
)
from tricorn.fields import within_length
from tricorn.filecopy import copy_file
from tricorn.http1.guard import H2C
from tricorn.http1.head import Heads
from tricorn.http1.phase import BODY, BUSY, CLOSED, DISCARD, HEAD, TUNNEL
from tricorn.http1.receiving import HIGH_WATER, Receiving
from tricorn.http1.response import Framing, ResponseHeads
from tricorn.wire import Wire

JOINED = 16 * 1024
"""Octets up to which copying content behind its head is cheaper than a second buffer."""

log = logging.getLogger(__name__)


class Http1Connection(Receiving):
    """One HTTP/1.1 (or 1.0) client connection."""

    __slots__ = ("framing", "pending", "reading_since", "responses")

    def __init__(
        self,
        context: Context,
        wire: Wire,
        endpoints: Endpoints,
        heads: Heads,
        responses: ResponseHeads,
    ) -> None:
        super().__init__(context, wire, endpoints, heads)
        self.responses = responses
        self.pending: tuple[int, Fields] | None = None
        """A response head that waits for the first part of the content."""
        self.reading_since = context.now
        """When the peer of a tunnel has last read something, or had nothing to read."""
        self.framing: Framing | None = None
        """How the rest of a response is delimited whose head was sent."""

    def send_informational(self, id: int, status: int, headers: Fields) -> None:
        # RFC9110§15.2: not to an HTTP/1.0 client.
        if id in self.streams and self.framing is None and self.request.version == "1.1":
            self.wire.write(self.responses.informational(status, headers))
            if status == 100:
                self.invited = True
                self.body_since = self.context.now
                self._arm()

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
            data, framing.remaining = within_length(framing.remaining, data, end=end)
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
        wire = self.wire
        if len(data) <= JOINED:
            write = wire.write
            write(head + data)
        else:
            wire.writelines([head, data])
        self._finish()

    def _begin_response(
        self, pending: tuple[int, Fields], size: int | None
    ) -> tuple[bytes, Framing]:
        status, headers = pending
        # Who was not told to continue may leave the body out: nobody knows what comes next.
        persistent = self.persistent and self.invited and not self.context.draining
        head, framing = self.responses.begin(self.request, status, headers, size, persistent)
        self.persistent = framing.persistent
        self.invited = True
        self._arm()
        self.pending = None
        self.framing = framing
        return head, framing

    def _send_through(self, data: bytes, end: bool) -> None:
        self.wire.write(data)
        if end:
            self.parting = self.streams.pop(self.id)
            self._linger()  # what the peer has sent meanwhile must not destroy our last words

    def _switch(self, id: int, headers: Fields) -> None:
        """Answers 101: from here on the connection speaks the stream's protocol."""
        protocol = self.request.protocol
        if protocol is None:
            raise ApplicationError("101 for a request that asked for no upgrade")
        self.wire.write(self.responses.switching(protocol, headers))
        self.phase = TUNNEL
        self.wire.divert(self._take)
        self.deadline = self.context.now + LOOK
        self.unsent, self.reading_since = 0, self.context.now
        self.unread = 0
        held, self.held = self.held, b""
        if held:
            self._take(held)
        if self.unread <= HIGH_WATER:
            self._resume()

    def _leave(self, request: Request, data: bytes) -> None:
        settings = next(value for name, value in request.headers if name == b"http2-settings")
        self.wire.write(self.responses.switching(H2C, ()))
        self.phase = CLOSED
        connection = self.wire.switch("h2")
        try:
            connection.adopt(request, urlsafe_b64decode(settings + b"=="))
        except Broken as error:
            log.debug("client=%s %s", self.endpoints.client, error)
            self.wire.abort()
            return
        if data:
            connection.feed(data)

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

    def hang_up(self, id: int) -> None:
        if id == self.id and self.phase == DISCARD:
            self._see_off()

    def consumed(self, id: int, size: int) -> None:
        if id in self.streams:
            self.unread -= size
            # Half of the high-water mark, so that it does not flip with every part.
            if self.paused and not self.held and self.unread <= HIGH_WATER // 2:
                self._resume()

    def room(self, id: int) -> bool:
        return not (self.wire.full or self.wire.closing)

    async def writable(self, id: int) -> None:
        with self._stalling(id):
            await self.wire.drain()

    async def send_file(self, id: int, file: int, offset: int, count: int) -> None:
        if id not in self.streams:
            return
        self.send_data(id, b"")
        framing = self.framing
        if framing is None or framing.silent:
            return
        if framing.remaining is not None and framing.remaining >= count:
            with self._stalling(id):
                if await self.wire.sendfile(file, offset, count):
                    framing.remaining -= count
                    return
        await copy_file(self, id, file, offset, count)

    @contextmanager
    def _stalling(self, id: int) -> Iterator[None]:
        """While it lasts, the peer has write_timeout seconds to read something."""
        self._await_peer()
        self.stalled = True
        try:
            yield
        finally:
            self.stalled = False
            if id in self.streams:
                self._arm()

    def drain(self) -> None:
        self.persistent = False
        for stream in list(self.streams.values()):
            stream.drain()
            if self.phase == TUNNEL:
                self._watch_tunnel()
        if self.phase == HEAD and self.beginning is None:
            # A client that was just answered may be sending its next request at this moment;
            # it gets an answer, and is told that it is the last.
            idle_since = self.deadline - self.context.config.keep_alive
            self.deadline = (idle_since if self.id else self.context.now) + DRAIN_GRACE
            if self.deadline <= self.context.now:
                self._close()

    def _look_after_tunnel(self, now: float, unsent: int) -> None:
        if not unsent or unsent < self.unsent:
            self.reading_since = now
        self.unsent = unsent
        timeout = self.context.config.write_timeout
        if unsent and timeout and now - self.reading_since >= timeout:
            log.debug("client=%s does not read", self.endpoints.client)
            self._abort()
        else:
            self._watch_tunnel()

    def _watch_tunnel(self) -> None:
        """Lets the stream of another protocol look after its deadlines; it may end with that."""
        deadline = self.streams[self.id].watch(self.context.now)
        if self.streams:
            self.deadline = deadline

    # The end

    def late(self, now: float) -> None:
        unsent = self.wire.buffered()
        if self.phase == TUNNEL:
            self._look_after_tunnel(now, unsent)
        elif unsent and (unsent < self.unsent or not self.unsent):
            self._await_peer()  # it reads, if slowly; or has been given no time for it yet
        elif unsent or self.phase == CLOSED:
            log.debug("client=%s does not read", self.endpoints.client)
            self._abort()
        elif self.phase == DISCARD:
            self._see_off()
        elif self.phase == BODY and self.streams:
            self._refuse(Refused(408, "the body came too slowly"))
        elif self.phase == HEAD and self.beginning is not None:
            self._refuse(Refused(408, "the request head came too slowly"))
        elif self.streams:  # of another protocol
            self._watch_tunnel()
        else:
            self._close()

    def _finish(self) -> None:
        """The response is complete."""
        del self.streams[self.id]
        self.pending = self.framing = None
        if not self.persistent:
            self._close()
        elif self.phase == BUSY:
            self._next()
        else:
            # The rest of a body that nobody reads: a little is cheaper to take than to close.
            self.budget = LINGER
            self._resume()
            self.deadline = self.context.now + LINGER_TIMEOUT

    def _refuse(self, refusal: Refused, *, content: bool = True) -> None:
        """Answers what cannot be served, and ends the connection: its framing is not known."""
        if self.phase == BODY and not self.streams:
            # It was answered already: what is wrong is the rest of a body that nobody reads.
            self._abort()
            return
        log.debug(
            "client=%s status=%d refused: %s", self.endpoints.client, refusal.status, refusal.reason
        )
        stream = self.streams.pop(self.id, None)
        answered = self.framing is not None
        if stream:
            stream.feed_reset(answered=0 if answered else refusal.status)
        else:
            self.context.refused(self.endpoints, refusal.status, "1.1")
        self.pending = self.framing = None
        if answered:
            self._abort()
        else:
            self.wire.write(self.responses.error(refusal.status, content=content))
            self._linger()

    def _close(self) -> None:
        if self.body is not None or self.held or self.paused:
            self._linger()
        elif self.phase != CLOSED:
            self._see_off()

    def _see_off(self) -> None:
        """Closes; what is buffered still leaves."""
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
        self.unsent = self.wire.buffered()
        self.deadline = self.context.now + LINGER_TIMEOUT

    def _abort(self) -> None:
        self.phase = CLOSED
        self.wire.abort()
        super().eof()
