"""One HTTP request and its response: RFC 9110 on one side, ASGI's http protocol on the other.

`feed_*` are called by the connection; they note what came and wake the application, which calls
`receive` and `send`. The response head is kept back until the first part of the content, as ASGI
asks, so that until then it can still become a 500.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from time import monotonic

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
from tricorn.observe.accesslog import Entry

log = logging.getLogger(__name__)


class Exchange(Stream):
    """A request and its response."""

    __slots__ = (
        "aborted",
        "continued",
        "done",
        "ended",
        "fields",
        "first_sent",
        "gone",
        "opened",
        "parts",
        "sent",
        "severed",
        "started",
        "status",
        "told",
        "trailers",
        "trailing",
        "waiting",
    )

    def __init__(self, connection: Connection, id: int, request: Request) -> None:
        super().__init__(connection, id, request)
        self.parts: list[bytes] | None = None
        self.trailers: Sequence[Field] = ()
        self.ended = request.length == 0
        """The whole body has arrived."""
        self.told = False
        """The application has been given the end of the body."""
        self.continued = not request.expects
        """The client need not be asked for the body (any more)."""
        self.gone = False
        """The peer sends no more."""
        self.severed = False
        """The peer hears no more either."""
        self.waiting: asyncio.Event | None = None

        self.status = 0
        """0 until the application has sent http.response.start."""
        self.fields: Fields = ()
        self.started = False
        """The head is with the connection, and can no longer be changed."""
        self.trailing = False
        """Trailers follow the content."""
        self.done = False
        self.aborted = False
        self.sent = 0
        """Octets of content."""
        self.opened = monotonic() if self.context.accesslog is not None else 0.0
        self.first_sent = 0.0

    # From the peer

    def feed_data(self, data: bytes) -> None:
        if self.parts is None:
            self.parts = [data]
        else:
            self.parts.append(data)
        self._wake()

    def feed_end(self, trailers: Sequence[Field] = ()) -> None:
        self.ended = True
        self.trailers = trailers
        self._wake()

    def feed_reset(self, *, listening: bool = False) -> None:
        self.gone = True
        if not listening and not self.severed:
            self.severed = True
            if not self.done:
                self.aborted = True
                self._account()
        self._wake()

    def _wake(self) -> None:
        if self.waiting is not None:
            self.waiting.set()
            self.waiting = None

    # The application

    async def run(self) -> None:
        context = self.context
        try:
            await context.application(
                http_scope(self.request, context, self.connection.endpoints),
                self.receive,
                self.send,
            )
            if not self.done:
                self._unfinished()
        except asyncio.CancelledError:
            self._give_up("cancelled")
            raise
        except (Exception, SystemExit) as error:
            # SystemExit too: one request may not end the others.
            self._failed(error)
        finally:
            context.running.discard(self)

    async def receive(self) -> Message:
        """The next part of the body; http.disconnect once the client or the response is gone."""
        while True:
            if self.ended or not self.gone:
                if self.parts is not None or (self.ended and not self.told):
                    return self._next_part()
            if self.gone or self.done:
                return {"type": "http.disconnect"}
            if not self.continued:
                # RFC9110§10.1.1: who never asks for the body need not be sent it.
                self.continued = True
                self.connection.send_informational(self.id, 100, ())
            if self.waiting is None:
                self.waiting = asyncio.Event()
            await self.waiting.wait()

    def _next_part(self) -> Message:
        parts, self.parts = self.parts, None
        data = b"" if parts is None else parts[0] if len(parts) == 1 else b"".join(parts)
        self.told = self.ended
        self.continued = True
        if data:
            self.connection.consumed(self.id, len(data))
        message: Message = {"type": "http.request", "body": data, "more_body": not self.told}
        if self.told and self.trailers:
            message["trailers"] = list(self.trailers)
        return message

    async def send(self, message: Message) -> None:
        """Raises Gone, an OSError, once the client is gone; ApplicationError for a wrong message."""
        kind = message["type"]
        if self.severed:
            raise Gone("the client has gone")
        if kind == "http.response.start" and not self.status:
            self._start(message)
        elif not self.status or self.done:
            await self._send_early(kind, message)
        elif kind == "http.response.body":
            end = not message.get("more_body", False)
            self._send_part(message.get("body", b""), end)
            if not end and not self.connection.room(self.id):
                await self.connection.writable(self.id)
        elif kind == "http.response.trailers" and self.trailing:
            self._send_trailers(message)
        elif kind == "http.response.pathsend" and not self.started:
            await self._send_path(message["path"])
        elif kind == "http.response.zerocopysend":
            await self._send_file(message)
        else:
            await self._send_early(kind, message)

    def _start(self, message: Message) -> None:
        status = message["status"]
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ApplicationError(f"{status!r} is not the status of a final response")
        self.status = status
        self.fields = message.get("headers", ())
        self.trailing = message.get("trailers", False)

    def _send_part(self, data: bytes, end: bool) -> None:
        if data.__class__ is not bytes:
            data = bytes(data)  # a view may change before it has left
        connection = self.connection
        if not self.started:
            connection.send_headers(self.id, self.status, self.fields)
            if self.opened:
                self.first_sent = monotonic()
        if not end:
            connection.send_data(self.id, data)
        elif self.trailing:
            connection.send_data(self.id, data)
            self.fields = ()  # from here on: the trailers
        else:
            connection.send_data(self.id, data, end=True)
        self.started = True
        self.sent += len(data)
        if end and not self.trailing:
            self._complete()

    def _send_trailers(self, message: Message) -> None:
        self.fields = [*self.fields, *message.get("headers", ())]
        if not message.get("more_trailers", False):
            self.connection.send_trailers(self.id, self.fields)
            self._complete()

    async def _send_path(self, path: str) -> None:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await self._send_open_file(file, 0, os.fstat(file).st_size, end=True)
        finally:
            os.close(file)

    async def _send_file(self, message: Message) -> None:
        file: int = message["file"].fileno()
        offset = message.get("offset")
        if offset is None:
            offset = os.lseek(file, 0, os.SEEK_CUR)
        count = message.get("count")
        if count is None:
            count = max(0, os.fstat(file).st_size - offset)
        await self._send_open_file(file, offset, count, end=not message.get("more_body", False))

    async def _send_open_file(self, file: int, offset: int, count: int, *, end: bool) -> None:
        connection = self.connection
        if not self.started:
            fields = list(self.fields)
            if end and not any(name.lower() == b"content-length" for name, _ in fields):
                fields.append((b"content-length", b"%d" % count))
            connection.send_headers(self.id, self.status, fields)
            self.started = True
            if self.opened:
                self.first_sent = monotonic()
        await connection.send_file(self.id, file, offset, count)
        self.sent += count
        if end:
            self._send_part(b"", end=True)

    async def _send_early(self, kind: str, message: Message) -> None:
        """What may come before the response, and everything that may not come at all."""
        if kind == "http.response.early_hint" and not self.started:
            links = [(b"link", link) for link in message["links"]]
            self.connection.send_informational(self.id, 103, links)
            return
        state = "complete" if self.done else "started" if self.status else "not started"
        raise ApplicationError(f"{kind!r} while the response is {state}")

    # The end

    def _complete(self) -> None:
        self.done = True
        self._account()
        self._wake()

    def _account(self) -> None:
        """One count, and one line in the access log, for each response."""
        stats = self.context.stats
        stats.responses[self.status // 100] += 1
        if self.aborted:
            stats.aborted += 1
        if (accesslog := self.context.accesslog) is not None:
            accesslog.record(
                Entry(
                    self.connection.endpoints,
                    self.request,
                    self.status,
                    self.fields,
                    self.sent,
                    self.opened,
                    self.first_sent,
                    self.aborted,
                    self.context.worker,
                )
            )

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, Gone) or (self.severed and isinstance(error, OSError)):
            log.debug("%s: the client has gone", self.request.path)
        else:
            log.error(
                "the application raised %s for %s %s",
                type(error).__name__,
                self.request.method,
                self.request.path,
                exc_info=error,
            )
        self._give_up("the application failed")

    def _unfinished(self) -> None:
        if not self.severed:
            log.error(
                "the application returned without completing the response to %s %s",
                self.request.method,
                self.request.path,
            )
            self._give_up("the application returned")

    def _give_up(self, reason: str) -> None:
        """A 500 while that can still be said; else the peer must see that something is missing."""
        if self.done or self.severed:
            return
        if not self.started:
            self.status = 500
            self.trailing = False
            self.fields = ((b"content-type", b"text/plain; charset=utf-8"),)
            self._send_part(b"Internal Server Error\n", end=True)
        else:
            self.aborted = True
            self.connection.send_reset(self.id, reason)

