"""Connections of the standing canary: each version of HTTP, and WebSocket, asked in one way.

What a connection says of a request that it has no answer to is what the protocol says: that it may
be asked again, which the canary does, or nothing, and then it is lost.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Any, Self

import h11
from aioquic.asyncio.client import connect as connect_quic
from aioquic.quic.configuration import QuicConfiguration
from h2 import events
from h2.config import H2Configuration
from h2.settings import SettingCodes
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.protocol import State

from tests.process.http2_client import Machine, Response
from tests.process.quic_load import Client as QuicClient
from tests.process.quic_load import Rejected

HOST = "127.0.0.1"
NAME = "localhost"
RACE = 0.5
"""Seconds in which a request may cross the close of an idle connection, on a busy machine. What
has been open for longer than this was taken by the server, and is lost if it is cut."""
WINDOW = 2**24
GOODBYE = 2.0
REFUSED_STREAM = 7
GOING = {1001, 1012}
"""RFC6455§7.4.1, and the registry: the endpoint is going away; it restarts."""


RESET = "stateless reset"
"""RFC9000§10.3: the server knows the connection no more. Nothing else can be heard from a worker
that has died, and nothing like it may come from one that lives."""


class Again(Exception):
    """It was not served, and the protocol lets the client ask again."""


class Lost(Exception):
    """It has no answer, or a wrong one, and nobody says why."""


class Connection(ABC):
    """One connection. `worker` is the process that answers on it, once it has."""

    worker: int | None = None
    asked = 0
    open = True
    """Whether another request may be sent on it."""

    @classmethod
    @abstractmethod
    async def to(cls, port: int, context: ssl.SSLContext) -> Self:
        """Opens one; OSError if the server does not let it in."""

    @abstractmethod
    async def ask(self, target: str, content: bytes | None) -> tuple[int, bytes]:
        """Status and content of the answer; Again or Lost if there is none."""

    @abstractmethod
    async def close(self) -> None:
        """Says goodbye; does not fail where nobody listens any more."""


class Http1(Connection):
    """One request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.machine = h11.Connection(h11.CLIENT)

    @classmethod
    async def to(cls, port: int, context: ssl.SSLContext) -> Self:
        return cls(*await asyncio.open_connection(HOST, port, ssl=context, server_hostname=NAME))

    async def ask(self, target: str, content: bytes | None) -> tuple[int, bytes]:
        if self.reader.at_eof():
            self.open = False
            raise Again("closed while idle")
        self.asked += 1
        began, heard = time.monotonic(), False
        fields = [("host", NAME)]
        if content is not None:
            fields.append(("content-length", str(len(content))))
        request = h11.Request(
            method="GET" if content is None else "PUT", target=target, headers=fields
        )
        data = self.machine.send(request)
        if content:
            data += self.machine.send(h11.Data(data=content))
        data += self.machine.send(h11.EndOfMessage())
        try:
            self.writer.write(data)
            status, parts = 0, []
            while True:
                event = self.machine.next_event()
                match event:
                    case h11.NEED_DATA:
                        octets = await self.reader.read(65536)
                        heard = heard or bool(octets)
                        if not octets and not heard:
                            raise EOFError("closed without a word")
                        self.machine.receive_data(octets)
                    case h11.Response():
                        status = event.status_code
                    case h11.Data():
                        parts.append(bytes(event.data))
                    case h11.EndOfMessage():
                        break
                    case _:
                        raise EOFError(repr(event))
        except (OSError, EOFError, h11.RemoteProtocolError) as error:
            self.open = False
            # RFC9110§9.2.2, RFC9112§9.3.1: what is idempotent, on a connection that was idle.
            if not heard and self.asked > 1 and time.monotonic() - began < RACE:
                raise Again("closed while idle") from error
            raise Lost(repr(error)) from error
        if self.machine.our_state is h11.DONE and self.machine.their_state is h11.DONE:
            self.machine.start_next_cycle()
        else:
            self.open = False
        return status, b"".join(parts)

    async def close(self) -> None:
        self.writer.close()


class Http2(asyncio.Protocol, Connection):
    """Many requests at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.machine = Machine(H2Configuration(client_side=True, header_encoding="ascii"))
        self.machine.goaways = []
        self.machine.local_settings[SettingCodes.ENABLE_PUSH] = 0
        self.waiting: dict[int, asyncio.Future[Response]] = {}
        self.responses: dict[int, Response] = {}
        self.credit = asyncio.Event()
        self.closing = False

    @classmethod
    async def to(cls, port: int, context: ssl.SSLContext) -> Self:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, HOST, port, ssl=context, server_hostname=NAME)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.machine.initiate_connection()
        self.machine.increment_flow_control_window(WINDOW)
        self._flush()

    async def ask(self, target: str, content: bytes | None) -> tuple[int, bytes]:
        if not self.open:
            raise Again("it is closing")
        self.asked += 1
        id = self.machine.get_next_available_stream_id()
        self.responses[id] = Response()
        waiting = self.waiting[id] = asyncio.get_running_loop().create_future()
        method = "GET" if content is None else "PUT"
        head = [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", target)]
        try:
            self.machine.send_headers(id, head, end_stream=content is None)
            await self._upload(id, content or b"")
            self._flush()
            response = await waiting
            return response.status, response.body
        finally:
            del self.waiting[id], self.responses[id]
            self._close_if_done()

    async def _upload(self, id: int, content: bytes) -> None:
        while content and not self.waiting[id].done():
            room = self.machine.local_flow_control_window(id)
            part = content[: min(room, self.machine.max_outbound_frame_size)]
            content = content[len(part) :]
            if part:
                self.machine.send_data(id, part, end_stream=not content)
            self._flush()
            if not part:
                self.credit.clear()
                await self.credit.wait()

    def data_received(self, data: bytes) -> None:
        for event in self.machine.receive_data(data):
            self._take(event)
        if self.machine.goaways:
            self.open = False
            last = self.machine.goaways[-1][0]
            for id in self.waiting:
                if id > last:
                    self._fail(id, Again("GOAWAY"))
        self._flush()
        self._close_if_done()

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived(stream_id=id, headers=headers) if id in self.responses:
                self.responses[id].status = int(dict(headers)[":status"])
            case events.DataReceived(stream_id=id, data=data):
                self.machine.acknowledge_received_data(event.flow_controlled_length, id)
                if id in self.responses:
                    self.responses[id].body += data
            case events.StreamEnded(stream_id=id) if id in self.waiting:
                if not self.waiting[id].done():
                    self.waiting[id].set_result(self.responses[id])
            case events.StreamReset(stream_id=id, error_code=code) if id in self.waiting:
                refused = code == REFUSED_STREAM
                self._fail(id, Again("REFUSED_STREAM") if refused else Lost(f"reset by {code}"))
            case events.WindowUpdated():
                self.credit.set()
            case _:
                pass  # what hyper-h2 answers by itself

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        for id in self.waiting:
            self._fail(id, Lost(f"the connection ended: {error!r}"))

    def _fail(self, id: int, error: Exception) -> None:
        self.credit.set()
        if not self.waiting[id].done():
            self.waiting[id].set_exception(error)

    def _flush(self) -> None:
        if (data := self.machine.data_to_send()) and not self.transport.is_closing():
            self.transport.write(data)

    def _close_if_done(self) -> None:
        if not self.open and not self.waiting:
            self.transport.close()

    async def close(self) -> None:
        self.transport.close()


class Visitor(QuicClient):
    """Knows a stateless reset for what it is, which aioquic's client does not (RFC9000§10.3)."""

    reset = False

    async def wait_connected(self) -> None:
        try:
            await super().wait_connected()
        except asyncio.CancelledError:
            # aioquic fails it later, when nobody waits for it any more.
            if self._connected_waiter is not None:
                self._connected_waiter.add_done_callback(asyncio.Future.exception)
            raise

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        token = self._quic._peer_cid.stateless_reset_token
        if token is not None and data[-16:] == token:
            self.reset, self.ended = True, RESET
            for id in self.waiting:
                self._fail(id, ConnectionError(self.ended))
            return
        super().datagram_received(data, addr)


class Http3(Connection):
    """Many requests at a time, over QUIC."""

    def __init__(self, client: Visitor, stack: AsyncExitStack) -> None:
        self.client, self.stack = client, stack

    @classmethod
    async def to(cls, port: int, context: ssl.SSLContext) -> Self:
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name=NAME
        )
        stack = AsyncExitStack()
        client = await stack.enter_async_context(
            connect_quic(HOST, port, configuration=configuration, create_protocol=Visitor)
        )
        assert isinstance(client, Visitor)
        return cls(client, stack)

    async def ask(self, target: str, content: bytes | None) -> tuple[int, bytes]:
        self.asked += 1
        try:
            return await self.client.fetch(target, content)
        except Rejected as error:
            raise Again("GOAWAY, or H3_REQUEST_REJECTED") from error
        except ConnectionError as error:
            if self.client.reset:
                raise Again(RESET) from error
            raise Lost(repr(error)) from error
        finally:
            self.open = self.client.goaway is None and self.client.ended is None

    async def close(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE):
                await self.stack.aclose()
        except TimeoutError:
            self.client._transport.close()  # aioquic leaves it open then


class WebSocket(Connection):
    """One message after the other, and each comes back."""

    def __init__(self, client: ClientConnection) -> None:
        self.client = client

    @classmethod
    async def to(cls, port: int, context: ssl.SSLContext) -> Self:
        try:
            client = await connect_websocket(
                f"wss://{HOST}:{port}/echo",
                ssl=context,
                server_hostname=NAME,
                ping_interval=None,
                close_timeout=1,
                proxy=None,
            )
        except (InvalidHandshake, EOFError) as error:
            raise ConnectionError(repr(error)) from error
        return cls(client)

    async def ask(self, target: str, content: bytes | None) -> tuple[int, bytes]:
        if self.client.state is not State.OPEN:
            self.open = False
            close = self.client.protocol.close_rcvd
            raise Again(f"closed with {close.code}" if close else "closed while idle")
        self.asked += 1
        try:
            await self.client.send(target)
            answer = await self.client.recv()
        except ConnectionClosed as error:
            self.open = False
            # A message that crosses the close of a server that goes has not been read by it.
            if error.rcvd is not None and error.rcvd.code in GOING:
                raise Again(f"closed with {error.rcvd.code}") from error
            raise Lost(repr(error)) from error
        assert isinstance(answer, str)
        line, _, said = answer.partition("\n")
        return (200 if said == target else 0), f"{line}\n".encode()

    async def close(self) -> None:
        self.client.transport.close()
