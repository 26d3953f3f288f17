"""One WebSocket and the application that serves it: ASGI's websocket protocol.

    CONNECTING --accept--> OPEN --close, either side's--> CLOSING --the other's--> CLOSED
        |                    \\----------- the client is gone, or failed it -------/
        \\--close or websocket.http.response: an HTTP response--> CLOSED

`speaking` has the side of the client; here is that of the application.
"""

from __future__ import annotations

import asyncio
import logging

from tricorn.asgi.gone import comes_of_gone
from tricorn.asgi.messages import final_status, octets
from tricorn.asgi.scope import websocket_scope
from tricorn.asgi.websocket import deflate, handshake
from tricorn.asgi.websocket.codes import ABNORMAL, INTERNAL_ERROR, NORMAL
from tricorn.asgi.websocket.inbound import BINARY, TEXT
from tricorn.asgi.websocket.outbound import DEFLATED, Deflated, frame
from tricorn.asgi.websocket.speaking import CLOSED, CLOSING, CONNECTING, DENYING, OPEN, Speaking
from tricorn.connection import (
    FOREVER,
    ApplicationError,
    Connection,
    Field,
    Fields,
    Gone,
    Message,
    Refused,
    Request,
)

TRY_LATER = 503

log = logging.getLogger(__name__)


class WebSocket(Speaking):
    """A WebSocket as its application sees it."""

    __slots__ = ("denial", "offered", "told")

    def __init__(self, connection: Connection, id: int, request: Request) -> None:
        super().__init__(connection, id, request)
        self.offered: list[str] = []
        """The subprotocols that the client would speak."""
        self.denial: tuple[int, Fields] | None = None
        """The head of a response that the application gives instead of accepting."""
        self.told = False
        """The application has received websocket.connect."""

    # The application

    async def run(self) -> None:
        context = self.context
        try:
            if self._acceptable():
                scope = websocket_scope(self.request, context, self.endpoints, self.offered)
                await context.application(scope, self.receive, self.send)
                self._returned()
        except asyncio.CancelledError:
            self._give_up()
            raise
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit, for one: no request may end the others
            gone = self.state == CLOSED and isinstance(error, OSError)
            if gone or comes_of_gone(error):
                log.debug("%s: the client has gone", self.target)
            else:
                log.error(
                    "the application raised %s for the websocket %s",
                    *(type(error).__name__, self.target),
                    exc_info=error,
                )
            self._give_up()
        finally:
            context.running.discard(self)

    def _acceptable(self) -> bool:
        """Judges the opening handshake; answers one that is none."""
        self.deadline = self.context.now + self.context.config.websocket_accept_timeout
        try:
            self.offered = handshake.check(self.request, self.context.config.websocket_origin)
        except Refused as refusal:
            client = self.endpoints.client
            log.debug("client=%s status=%d refused: %s", client, refusal.status, refusal.reason)
            fields = ((b"sec-websocket-version", handshake.VERSION),) * (refusal.status == 426)
            self._deny(refusal.status, fields, refusal.reason.encode() + b"\n")
            self._over(ABNORMAL, "", aborted=False)
            return False
        return self.state == CONNECTING

    async def receive(self) -> Message:
        """websocket.connect, then the messages, then websocket.disconnect."""
        if not self.told:
            self.told = True
            return {"type": "websocket.connect"}
        while True:
            if self.messages:
                message = self.messages.popleft()
                self.queued -= message.__sizeof__()
                self.context.stats.messages_received += 1
                if self.full:
                    self.read_on()
                if isinstance(message, str):
                    return {"type": "websocket.receive", "text": message}
                return {"type": "websocket.receive", "bytes": message}
            if self.state >= CLOSING:
                return {
                    "type": "websocket.disconnect",
                    "code": self.code,
                    "reason": self.reason,
                }
            future: asyncio.Future[None] = self.context.loop.create_future()
            self.waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future in self.waiting:
                    self.waiting.remove(future)
                raise

    async def send(self, message: Message) -> None:
        """Raises Gone, an OSError, once it is closed; ApplicationError for a bad message."""
        kind = message["type"]
        state = self.state
        if state == OPEN and kind == "websocket.send":
            text = message.get("text")
            data = message.get("bytes")
            if text is not None:
                if not isinstance(text, str):
                    raise ApplicationError(f"the text is str, not {type(text).__name__}")
                first, payload = TEXT, text.encode()
            elif data is not None:
                first, payload = BINARY, data if data.__class__ is bytes else octets(data)
            else:
                raise ApplicationError("websocket.send needs text or bytes")
            if self.deflated is not None and len(payload) >= DEFLATED:
                sent = self.deflated.frame(payload if first == BINARY else text or "")
            else:
                sent = frame(first, payload)
            self.sent += len(sent)
            self.context.stats.messages_sent += 1
            connection = self.connection
            connection.send_data(self.id, sent)
            if not connection.room(self.id):
                await connection.writable(self.id)
        elif state >= CLOSING:
            raise Gone("the websocket is closed")
        elif state == CONNECTING and kind == "websocket.accept":
            self._accept(message.get("subprotocol"), list(message.get("headers", ())))
        elif state in (CONNECTING, OPEN) and kind == "websocket.close":
            code = message.get("code")
            self._leave(NORMAL if code is None else code, message.get("reason") or "")
        elif kind == "websocket.http.response.start" and state == CONNECTING:
            self.denial = (final_status(message["status"]), message.get("headers", ()))
            self.state = DENYING
        elif kind == "websocket.http.response.body" and state == DENYING:
            await self._send_denial(message.get("body", b""), message.get("more_body", False))
        else:
            raise ApplicationError(f"{kind!r} while the websocket is {NAMES[state]}")

    def _accept(self, subprotocol: str | None, headers: list[Field]) -> None:
        config = self.context.config
        fields = handshake.answer(self.request, self.offered, subprotocol, headers)
        if config.websocket_per_message_deflate:
            offers = handshake.values_of(self.request, b"sec-websocket-extensions")
            agreed = deflate.agree(offers, config.websocket_max_message_size)
            if agreed is not None:
                self.inbound.deflate, terms = agreed
                self.deflated = Deflated(agreed[0])
                fields.append((b"sec-websocket-extensions", terms))
        # RFC6455§4.2.2 on HTTP/1.1, RFC8441§5 on later versions
        status = 101 if self.request.version == "1.1" else 200
        self.connection.send_headers(self.id, status, fields)
        self.status = status
        self.state = OPEN
        self.deadline = FOREVER
        if self.context.draining:
            self.drain()
        self._read()

    def _leave(self, code: int, reason: str) -> None:
        """The application closes; before it has accepted, with 403 (Forbidden)."""
        if self.state == CONNECTING:
            self._deny(403, (), b"")
            self._over(ABNORMAL, "", aborted=False)
        elif not (code == NORMAL or 1001 <= code <= 1014 or 3000 <= code <= 4999) or code in UNSENT:
            raise ApplicationError(f"{code} is not a code that can be sent (RFC6455§7.4)")
        else:
            self._close(code, reason)

    def _deny(self, status: int, fields: Fields, text: bytes) -> None:
        """A whole response of HTTP instead of a WebSocket."""
        self.status = status
        if text:
            fields = (*fields, (b"content-type", b"text/plain"))
        self.connection.respond(self.id, status, fields, text)

    async def _send_denial(self, data: bytes, more: bool) -> None:
        if self.denial is not None:
            self.status, fields = self.denial
            self.deadline = FOREVER
            if not more:
                self.connection.respond(self.id, self.status, fields, octets(data))
                self._over(ABNORMAL, "", aborted=False)
                return
            self.connection.send_headers(self.id, self.status, fields)
            self.denial = None
        self.sent += len(data)
        self.connection.send_data(self.id, octets(data), end=not more)
        if not more:
            self._over(ABNORMAL, "", aborted=False)
        elif not self.connection.room(self.id):
            await self.connection.writable(self.id)

    # The end

    def _returned(self) -> None:
        if self.state in (CONNECTING, DENYING):
            log.error("the application neither accepted nor closed the websocket %s", self.target)
            self._give_up()
        elif self.state == OPEN:
            self._close(NORMAL, "")

    def _give_up(self) -> None:
        """The application has failed."""
        if self.state == OPEN:
            self._close(INTERNAL_ERROR, "")
        elif self.state == CONNECTING or self.denial is not None:
            self._deny(500, (), b"Internal Server Error\n")
            self._over(ABNORMAL, "", aborted=False)
        elif self.state == DENYING:
            self.connection.send_reset(self.id, "the application failed")
            self._over(ABNORMAL, "", aborted=True)

    def _keep_waiting(self) -> None:
        log.error("the application does not accept or close the websocket %s", self.target)
        self._deny(TRY_LATER, (), b"")
        self._over(ABNORMAL, "", aborted=False)


NAMES = ("not accepted yet", "being denied", "open", "closing", "closed")
UNSENT = frozenset((1004, 1005, 1006))
"""Codes that no frame may have (RFC6455§7.4.1)."""
