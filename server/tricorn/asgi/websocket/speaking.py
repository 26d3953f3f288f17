"""What is said over the tunnel of a WebSocket: messages, pings, and the closing handshake.

What the application does not take holds back its client: from MOST_MESSAGES on nothing more is
read, and the connection gives no credit.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from random import random
from time import monotonic

from wsproto.events import CloseConnection, Ping

from tricorn.asgi.websocket.codes import ABNORMAL, INTERNAL_ERROR, NO_STATUS, NORMAL, Failed
from tricorn.asgi.websocket.farewell import Farewell
from tricorn.asgi.websocket.inbound import Inbound, Received
from tricorn.asgi.websocket.outbound import PING, PONG, Deflated, close_frame, frame
from tricorn.connection import FOREVER, LOOK, Connection, Field, Request, Stream

CONNECTING, DENYING, OPEN, CLOSING, CLOSED = range(5)

MOST_MESSAGES = 16
MOST_QUEUED = 1024 * 1024
"""Messages, and octets of memory, that wait for the application before reading stops."""

MOST_SKIPPED = 64 * 1024
"""Octets that have come already when we end, in which the client's close is looked for."""

log = logging.getLogger(__name__)


class Speaking(Stream):
    """A WebSocket as far as RFC 6455 describes it."""

    __slots__ = (
        "code",
        "deadline",
        "deflated",
        "farewell",
        "full",
        "heard",
        "held",
        "inbound",
        "messages",
        "opened",
        "pinged",
        "queued",
        "reason",
        "sent",
        "state",
        "status",
        "waiting",
    )

    def __init__(self, connection: Connection, id: int, request: Request) -> None:
        super().__init__(connection, id, request)
        self.state = CONNECTING
        self.status = 0
        self.sent = 0
        """Octets of frames."""
        self.inbound = Inbound(self.context.config.websocket_max_message_size, None)
        self.deflated: Deflated | None = None
        self.messages: deque[str | bytes] = deque()
        """What the application has not received yet."""
        self.queued = 0
        """Octets that it takes: an octet of text may become four, by a single character."""
        self.full = False
        """Nothing more is read until the application has taken something."""
        self.held = 0
        """Octets that have come meanwhile, for which the client is given no credit."""
        self.code = ABNORMAL
        """Why it ended (RFC6455§7.4)."""
        self.farewell: Farewell | None = None
        """What the client says after that."""
        self.reason = ""
        self.waiting: list[asyncio.Future[None]] = []
        self.opened = monotonic()
        self.heard = self.context.now
        self.pinged = False
        self.deadline = FOREVER
        """When it has to be accepted, closed by the client, or left by us."""

    # From the peer

    def feed_data(self, data: bytes) -> None:
        self.heard = self.context.now
        if self.state == OPEN and not self.full:
            try:
                message = self.inbound.message_of(data)
            except Failed as failure:
                self._fail(failure)
                return
            if message is not None:
                self.connection.consumed(self.id, len(data))
                self._queue(message)
                return
        self.held += len(data)
        if self.state in (CONNECTING, OPEN, CLOSING):
            self.inbound.feed(data)
            if self.state != CONNECTING:
                self._read()
        elif self.farewell is not None and self.farewell.closes(data):
            self.connection.hang_up(self.id)

    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        if self.state in (OPEN, CLOSING):
            self._end(ABNORMAL, "", aborted=True)

    def feed_reset(self, *, listening: bool = False, answered: int = 0) -> None:
        if self.state >= CLOSED or (listening and self.state == DENYING):
            return  # the rest of a response of HTTP is still owed
        self.status = answered or self.status
        if not listening:
            self._over(ABNORMAL, "", aborted=not answered)
        elif self.state >= OPEN:
            self._end(ABNORMAL, "", aborted=True)
        else:
            self._over(ABNORMAL, "", aborted=True)
            self.connection.send_reset(self.id, "the client has ended a tunnel that is not open")

    def _read(self) -> None:
        """Takes what has come, as long as the application keeps up."""
        if self.full:
            return
        try:
            for each in self.inbound.messages(self.context.now):
                self._take(each)
                if self.full or self.state == CLOSED:
                    return
        except Failed as failure:
            self._fail(failure)
            return
        # Everything has been read, but for the beginning of a frame that is bounded by itself.
        held, self.held = self.held, 0
        if held:
            self.connection.consumed(self.id, held)

    def read_on(self) -> None:
        """The application has taken a message."""
        if self.full and len(self.messages) < MOST_MESSAGES and self.queued < MOST_QUEUED:
            self.full = False
            self._read()

    def _take(self, received: Received) -> None:
        if isinstance(received, (str, bytes)):
            if self.state == OPEN:  # RFC6455§1.4: what crosses our close is of no interest
                self._queue(received)
        elif isinstance(received, CloseConnection):
            self._closed_by_peer(received)
        elif isinstance(received, Ping) and self.state == OPEN and self.connection.room(self.id):
            # RFC6455§5.5.3: who does not read its pongs need not get them.
            self._send_frame(frame(PONG, bytes(received.payload)))

    def _queue(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.queued += message.__sizeof__()
        self.full = len(self.messages) >= MOST_MESSAGES or self.queued >= MOST_QUEUED
        self._wake()

    def _closed_by_peer(self, received: CloseConnection) -> None:
        code = int(received.code)
        if self.state == OPEN:  # RFC6455§5.5.1: else it has answered ours
            self._send_frame(close_frame(NORMAL if code == NO_STATUS else code, ""))
        self._end(code, received.reason or "")
        self.connection.hang_up(self.id)  # RFC6455§7.1.1: it is the server that closes

    def _fail(self, failure: Failed) -> None:
        """RFC6455§7.1.7: says why, and ends without waiting for an answer."""
        log.debug("client=%s websocket failed: %s", self.endpoints.client, failure.reason)
        if self.state == OPEN:
            self._send_frame(close_frame(failure.code, failure.reason))
        self._end(failure.code, failure.reason, aborted=True)

    def _wake(self) -> None:
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    # Deadlines

    def watch(self, now: float) -> float:
        """What has to happen in time; when to look again. Both in monotonic seconds."""
        config = self.context.config
        if now >= self.deadline:
            self._too_late()
        elif self.state == OPEN:
            if self.full:
                self.heard = now  # it is we who do not read: its pong may wait behind the rest
            silence = now - self.heard
            interval = config.websocket_ping_interval
            if not interval:
                return min(self.deadline, now + LOOK) if self.deadline < FOREVER else FOREVER
            if self.pinged and silence >= interval + config.websocket_ping_timeout:
                log.debug("client=%s answers no ping", self.endpoints.client)
                self._send_frame(close_frame(INTERNAL_ERROR, "no answer to a ping"))
                self._end(ABNORMAL, "", aborted=True)
            elif silence >= interval and not self.pinged:
                self.pinged = True
                self._send_frame(frame(PING, b""))
            elif silence < interval:
                self.pinged = False
                return min(self.deadline, self.heard + interval)
        return now + LOOK if self.state < CLOSED else FOREVER

    def _too_late(self) -> None:
        if self.state <= DENYING:
            self._keep_waiting()
        elif self.state == OPEN:  # it was to leave at some time of the drain
            self._close(self.code, self.reason)
        else:
            self._end(self.code, self.reason)

    def drain(self) -> None:
        if self.state == OPEN:
            leaving = self.context.leaving
            self.code, self.reason = leaving.code, ""
            # Not all at once: each of them is about to connect to somebody else.
            self.deadline = self.context.now + leaving.seconds * random()

    # The end

    def _send_frame(self, data: bytes) -> None:
        self.sent += len(data)
        self.connection.send_data(self.id, data)

    def _close(self, code: int, reason: str) -> None:
        """Begins the closing handshake (RFC6455§7.1.2)."""
        self._send_frame(close_frame(code, reason))
        self.code, self.reason = code, reason
        self.state = CLOSING
        self.deadline = self.context.now + self.context.config.websocket_close_grace
        # The connection may not have meant to look again so soon.
        self.connection.deadline = min(self.connection.deadline, self.deadline)
        self._wake()
        self.full = False  # its answer may be behind messages that nobody wants any more
        self._read()

    def _end(self, code: int, reason: str, *, aborted: bool = False) -> None:
        """We say nothing more: ends our direction of the tunnel."""
        rest = self.inbound.data
        self._over(code, reason, aborted=aborted)
        self.connection.send_data(self.id, b"", end=True)
        self.farewell = Farewell()
        if len(rest) <= MOST_SKIPPED and self.farewell.closes(rest):
            self.connection.hang_up(self.id)

    def _over(self, code: int, reason: str, *, aborted: bool) -> None:
        """It is over: counts and logs it, once, and tells the application."""
        if self.state == CLOSED:
            return
        if self.state != CLOSING:
            self.code, self.reason = code, reason
        self.state = CLOSED
        self.deadline = FOREVER
        self.inbound.data = bytearray()  # of no interest any more, however long it is kept
        context = self.context
        context.stats.versions[self.request.version].responses[self.status // 100] += 1
        if aborted:
            context.stats.aborted += 1
        if context.accesslog is not None:
            context.accesslog.ended(self, self.status, (), self.sent, self.opened, aborted=aborted)
        self._wake()

    @abstractmethod
    def _keep_waiting(self) -> None:
        """The application has neither accepted nor closed in time."""
