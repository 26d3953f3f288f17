"""One HTTP request and its response: RFC 9110 on one side, ASGI's http protocol on the other.

`feed_*` are called by the connection; they note what came and wake the application, which calls
`receive` and `send`. The response head is kept back until the first part of the content, as ASGI
asks, so that until then it can still become a 500.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Sequence
from time import monotonic

from tricorn.asgi.gone import comes_of_gone
from tricorn.asgi.messages import final_status, octets
from tricorn.asgi.scope import http_scope
from tricorn.connection import (
    ApplicationError,
    Connection,
    Field,
    Fields,
    Gone,
    Message,
    Request,
    Stream,
)
from tricorn.fields import BODILESS

TURN = 256 * 1024
"""Octets of a response after which other connections have their turn."""

log = logging.getLogger(__name__)


PRESENT, LISTENING, GONE = range(3)
"""The peer: there; sends no more, but may still read; hears nothing any more."""

WAITING, HEADED, STARTED, TRAILING, DONE = range(5)
"""The response: nothing yet; its head is known; that was sent; the content too; all of it."""


class Inbox:
    """The body of a request, between its arrival and the application."""

    __slots__ = ("ended", "expected", "parts", "trailers")

    def __init__(self, expected: bool) -> None:
        self.parts: list[bytes] = []
        self.ended = False
        self.trailers: Sequence[Field] = ()
        self.expected = expected
        """The client waits for 100 (Continue) before it sends the body."""


class Timing:
    """What only the access log and the histograms want to know. Monotonic seconds."""

    __slots__ = ("ended", "first_sent", "opened")

    def __init__(self) -> None:
        self.opened = monotonic()
        self.first_sent = 0.0
        self.ended = 0.0
        """Set where the end is the first octet, too."""


class Exchange(Stream):
    """A request and its response."""

    __slots__ = (
        "fields",
        "inbox",
        "peer",
        "progress",
        "sent",
        "status",
        "timing",
        "told",
        "trailing",
        "waiting",
    )

    def __init__(self, connection: Connection, id: int, request: Request) -> None:
        # Not super().__init__: this is done for every request.
        self.connection = connection
        self.context = context = connection.context
        self.endpoints = connection.endpoints
        self.id = id
        self.request = request
        self.task = None

        self.inbox = None if request.length == 0 else Inbox(request.expects)
        self.told = False
        """The application has been given the end of the body."""
        self.peer = PRESENT
        self.waiting: asyncio.Event | None = None

        self.progress = WAITING
        self.status = 0
        self.fields: Fields = ()
        self.trailing = False
        """Trailers follow the content."""
        self.sent = 0
        """Octets of content."""
        timed = context.stats.timed or context.accesslog is not None
        self.timing = Timing() if timed else None

    # From the peer

    def feed_data(self, data: bytes) -> None:
        if (inbox := self.inbox) is not None:
            inbox.parts.append(data)
            if self.waiting is not None:
                self._wake()

    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        if (inbox := self.inbox) is not None:
            inbox.ended = True
            inbox.trailers = trailers
            if self.waiting is not None:
                self._wake()

    def feed_reset(self, *, listening: bool = False, answered: int = 0) -> None:
        if self.peer == GONE:
            return
        self.peer = LISTENING if listening else GONE
        if self.peer == GONE and self.progress != DONE:
            self.status = answered or self.status
            self._account(aborted=not answered)
        self._wake()

    def _wake(self) -> None:
        if self.waiting is not None:
            self.waiting.set()
            self.waiting = None

    # The application

    async def run(self) -> None:
        context = self.context
        try:
            application = context.application
            await application(
                http_scope(self.request, context, self.endpoints),
                self.receive,
                self.send,
            )
            if self.progress != DONE:
                self._unfinished()
        except asyncio.CancelledError:
            self._give_up("cancelled")
            raise
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, for one: no request may end the others
            self._failed(error)
        finally:
            context.running.discard(self)

    async def receive(self) -> Message:
        """The next part of the body; http.disconnect once the client or the response is gone."""
        while True:
            inbox = self.inbox
            if not self.told and (inbox is None or inbox.ended):
                return self._next_part(inbox)
            if self.peer != PRESENT or self.progress == DONE:
                return {"type": "http.disconnect"}
            if inbox is not None:
                if inbox.parts:
                    return self._next_part(inbox)
                if inbox.expected:
                    # RFC9110§10.1.1: who never asks for the body need not be sent it.
                    inbox.expected = False
                    self.connection.send_informational(self.id, 100, ())
            if self.waiting is None:
                self.waiting = asyncio.Event()
            await self.waiting.wait()

    def _next_part(self, inbox: Inbox | None) -> Message:
        if inbox is None:
            self.told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        parts = inbox.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        inbox.expected = False
        self.told = inbox.ended
        if data:
            self.connection.consumed(self.id, len(data))
        message: Message = {"type": "http.request", "body": data, "more_body": not self.told}
        if self.told and inbox.trailers:
            message["trailers"] = list(inbox.trailers)
        return message

    async def send(self, message: Message) -> None:
        """Raises Gone, an OSError, once the client is gone; ApplicationError for a bad message."""
        kind = message["type"]
        if self.peer == GONE:
            raise Gone("the client has gone")
        progress = self.progress
        if kind == "http.response.body" and HEADED <= progress <= STARTED:
            data = message.get("body", b"")
            if data.__class__ is not bytes:
                data = octets(data)
            if not message.get("more_body", False):
                self._send_last(data)
            else:
                turns = self.sent // TURN
                self._send_part(data)
                if self.sent // TURN > turns or not self.connection.room(self.id):
                    await self._make_room()
        elif kind == "http.response.start" and progress == WAITING:
            status = message["status"]
            if status.__class__ is not int or not 200 <= status <= 599:
                status = final_status(status)
            self.status = status
            self.fields = message.get("headers", ())
            self.trailing = message.get("trailers", False)
            self.progress = HEADED
        else:
            await self._send_other(kind, message)

    async def _make_room(self) -> None:
        if self.connection.room(self.id):
            # A client that reads as fast as we write would have the loop to itself.
            await asyncio.sleep(0)
        else:
            await self.connection.writable(self.id)

    def _send_last(self, data: bytes) -> None:
        if self.trailing:
            self._send_part(data)
            self.progress = TRAILING
            self.fields = []  # from here on: the trailers
            return
        if self.progress == HEADED:
            self.connection.respond(self.id, self.status, self.fields, data)
            if (timing := self.timing) is not None:
                timing.first_sent = timing.ended = monotonic()
        else:
            self.connection.send_data(self.id, data, end=True)
        self.sent += len(data)
        self.progress = DONE
        self._account()

    def _send_part(self, data: bytes) -> None:
        if self.progress == HEADED:
            self._send_head(self.fields)
        self.connection.send_data(self.id, data)
        self.progress = STARTED
        self.sent += len(data)

    def _send_head(self, fields: Fields) -> None:
        self.connection.send_headers(self.id, self.status, fields)
        if self.timing is not None:
            self.timing.first_sent = monotonic()

    async def _send_other(self, kind: str, message: Message) -> None:
        """The extensions, and everything that may not come now."""
        progress = self.progress
        if kind == "http.response.early_hint" and progress <= HEADED:
            links = [(b"link", link) for link in message["links"]]
            self.connection.send_informational(self.id, 103, links)
        elif kind == "http.response.push" and progress <= STARTED:
            self.connection.send_push(self.id, message["path"], message["headers"])
        elif kind == "http.response.trailers" and progress == TRAILING:
            self.fields = [*self.fields, *message.get("headers", ())]
            if not message.get("more_trailers", False):
                self.connection.send_trailers(self.id, self.fields)
                self.progress = DONE
                self._account()
        elif kind == "http.response.pathsend" and progress == HEADED:
            await self._send_path(message["path"])
        elif kind == "http.response.zerocopysend" and HEADED <= progress <= STARTED:
            await self._send_file(message)
        else:
            state = ("not started", "started", "started", "at its trailers", "complete")[progress]
            raise ApplicationError(f"{kind!r} while the response is {state}")

    async def _send_path(self, path: str) -> None:
        # Non-blocking, because opening a FIFO would wait for its writer.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            await self._send_open_file(file, 0, about.st_size, end=True)
        finally:
            os.close(file)

    async def _send_file(self, message: Message) -> None:
        file: int = message["file"].fileno()
        asked = message.get("offset")
        offset: int = os.lseek(file, 0, os.SEEK_CUR) if asked is None else asked
        count = message.get("count")
        if count is None:
            count = max(0, os.fstat(file).st_size - offset)
        await self._send_open_file(file, offset, count, end=not message.get("more_body", False))
        if asked is None:  # as sendfile(2): the file's own position moves
            os.lseek(file, offset + count, os.SEEK_SET)

    async def _send_open_file(self, file: int, offset: int, count: int, *, end: bool) -> None:
        if self.progress == HEADED:
            fields = list(self.fields)
            if end and not any(name.lower() == b"content-length" for name, _ in fields):
                fields.append((b"content-length", b"%d" % count))
            self.fields = fields
            self._send_part(b"")
        await self.connection.send_file(self.id, file, offset, count)
        self.sent += count
        if end:
            self._send_last(b"")

    # The end

    def _account(self, *, aborted: bool = False) -> None:
        """One count, and one line in the access log, for each response."""
        context = self.context
        stats = context.stats
        tally = stats.versions[self.request.version]
        tally.responses[self.status // 100] += 1
        if aborted:
            stats.aborted += 1
        if self.waiting is not None:
            self._wake()
        if (timing := self.timing) is None:
            return
        if stats.timed:
            tally.time(timing.opened, timing.first_sent, timing.ended or monotonic())
        if context.accesslog is not None:
            silent = self.request.method == "HEAD" or self.status in BODILESS
            context.accesslog.ended(
                self,
                self.status,
                self.fields,
                0 if silent else self.sent,
                timing.opened,
                timing.first_sent,
                aborted=aborted,
            )

    @property
    def _cut_off(self) -> bool:
        """The client has ended in the middle of its request (RFC9112§8)."""
        return self.peer != PRESENT and self.inbox is not None and not self.inbox.ended

    def _failed(self, error: BaseException) -> None:
        gone = self.peer == GONE and isinstance(error, OSError)
        if gone or self._cut_off or comes_of_gone(error):
            log.debug("%s: the client has gone", self.target)
        else:
            log.error(
                "the application raised %s for %s %s",
                type(error).__name__,
                self.request.method,
                self.target,
                exc_info=error,
            )
        self._give_up("the application failed")

    def _unfinished(self) -> None:
        if self.peer != GONE and not self._cut_off:
            log.error(
                "the application returned without completing the response to %s %s",
                self.request.method,
                self.target,
            )
        self._give_up("the application returned")

    def _give_up(self, reason: str) -> None:
        """A 500 while that can still be said; else the peer must see that something is missing."""
        if self.progress == DONE or self.peer == GONE:
            return
        if self.progress <= HEADED:
            self.status = 400 if self._cut_off else 500
            self.trailing = False
            self.fields = ((b"content-type", b"text/plain; charset=utf-8"),)
            self.progress = HEADED
            self._send_last(b"Bad Request\n" if self._cut_off else b"Internal Server Error\n")
        else:
            self.connection.send_reset(self.id, reason)
