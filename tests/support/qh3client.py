"""An HTTP/3 client on qh3: its QUIC and TLS have nothing in common with the server's.

It heeds stateless resets, which aioquic's does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from qh3.asyncio.client import connect
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.h3 import events as h3
from qh3.h3.connection import H3Connection
from qh3.quic import events as quic
from qh3.quic.configuration import QuicConfiguration

from tests.support.process import PATIENCE


class Ended(Exception):
    """The connection is over, in the words of whoever ended it."""


@dataclass
class Answer:
    """One response."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Visitor(QuicConnectionProtocol):
    """One connection; requests may be made at the same time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.http = H3Connection(self._quic)
        self.answers: dict[int, Answer] = {}
        self.whole: dict[int, asyncio.Future[None]] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.resumed = False

    async def fetch(self, path: str, method: str = "GET", body: bytes = b"") -> Answer:
        """Raises Ended."""
        if self.ended.done():
            raise Ended(self.ended.result())
        id = self._quic.get_next_available_stream_id()
        fields = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path.encode()),
        ]
        self.answers[id] = answer = Answer()
        self.whole[id] = asyncio.get_running_loop().create_future()
        self.http.send_headers(id, fields, end_stream=not body)
        if body:
            self.http.send_data(id, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.whole[id], PATIENCE)
        return answer

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        if isinstance(event, quic.HandshakeCompleted):
            self.resumed = event.session_resumed
        elif isinstance(event, quic.ConnectionTerminated):
            reason = event.reason_phrase or f"{event.error_code:#x}"
            if not self.ended.done():
                self.ended.set_result(reason)
            for waiting in self.whole.values():
                if not waiting.done():
                    waiting.set_exception(Ended(reason))
        for each in self.http.handle_event(event):
            self._hear(each)

    def _hear(self, event: h3.H3Event) -> None:
        if not isinstance(event, h3.HeadersReceived | h3.DataReceived):
            return
        answer = self.answers[event.stream_id]
        if isinstance(event, h3.DataReceived):
            answer.body += event.data
        elif not answer.status:
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers[b":status"])
        if event.stream_ended:
            self.whole[event.stream_id].set_result(None)


@asynccontextmanager
async def visit(
    port: int, authority: str, *, host: str = "127.0.0.1", tickets: list[Any] | None = None
) -> AsyncIterator[Visitor]:
    """A connection that trusts `authority`, a path; resumes with the last of `tickets`."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name="localhost", cafile=authority
    )
    tickets = [] if tickets is None else tickets
    if tickets:
        configuration.session_ticket = tickets[-1]
    async with connect(
        host,
        port,
        configuration=configuration,
        create_protocol=Visitor,
        session_ticket_handler=tickets.append,
    ) as visitor:
        yield visitor
