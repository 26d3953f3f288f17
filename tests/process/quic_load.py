"""HTTP/3 clients that move: each changes its port about once a second, and asks without pause.

They obey GOAWAY (RFC9114§5.2): what the server says that it has not served is asked again on a new
connection, and counted as such. Whatever else ends without a whole answer is a failure.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from tests.support.h3peer import frame, take_frame, take_integer

APPLICATION = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        for _ in range(20):
            await send({"type": "http.response.body", "body": bytes(50_000), "more_body": True})
            await asyncio.sleep(0.2)
    elif scope["path"] == "/big":
        for _ in range(40):
            await send({"type": "http.response.body", "body": bytes(50_000), "more_body": True})
    body = {"/pid": b"%10d" % os.getpid(), "/size": b"%10d" % size}.get(scope["path"], b"")
    await send({"type": "http.response.body", "body": body})
"""
"""What they ask: it answers after four seconds, at once with 2 MB, or with a number."""
REJECTED = 0x10B
PATIENCE = 30.0
"""Seconds for an answer that takes four."""


class Rejected(Exception):
    """The server has not served it, and says so: it may be asked elsewhere."""


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    again: int = 0
    moves: int = 0
    connections: int = 0
    resumed: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.encoder, self.decoder = pylsqpack.Encoder(), pylsqpack.Decoder(0, 0)
        self.answers: dict[int, bytearray] = {}
        self.waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self.control = b""
        self.goaway: int | None = None
        self.ended: str | None = None
        self.greeted = False

    async def ask(self, path: str, body: bytes | None = None) -> tuple[int, int]:
        """Status and size of the answer."""
        status, content = await self.fetch(path, body)
        return status, len(content)

    async def fetch(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content of the answer."""
        if not self.greeted:
            self.greeted = True
            control = self._quic.get_next_available_stream_id(is_unidirectional=True)
            self._quic.send_stream_data(control, b"\0" + frame(4))
        if self.goaway is not None or self.ended is not None:
            raise Rejected
        id = self._quic.get_next_available_stream_id()
        fields = [
            (b":method", b"GET" if body is None else b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path.encode()),
        ]
        data = frame(1, self.encoder.encode(id, fields)[1])
        self._quic.send_stream_data(id, data + (frame(0, body) if body else b""), True)
        self.answers[id] = bytearray()
        self.waiting[id] = asyncio.get_running_loop().create_future()
        self.transmit()
        try:
            return await asyncio.wait_for(self.waiting[id], PATIENCE)
        finally:
            del self.waiting[id], self.answers[id]

    def quic_event_received(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived() if event.stream_id & 2:
                self._hear(event.data)
            case events.StreamDataReceived() if event.stream_id in self.waiting:
                self.answers[event.stream_id] += event.data
                if event.end_stream:
                    self._settle(event.stream_id)
            case events.StreamReset() if event.stream_id in self.waiting:
                code = event.error_code
                error = Rejected() if code == REJECTED else ConnectionError(f"reset {code:#x}")
                self._fail(event.stream_id, error)
            case events.ConnectionTerminated():
                self.ended = event.reason_phrase or f"{event.error_code:#x}"
                for id in list(self.waiting):
                    served = self.goaway is None or id < self.goaway
                    lost = ConnectionError(f"ended: {self.ended}")
                    self._fail(id, lost if served else Rejected())
            case _:
                pass

    def _hear(self, data: bytes) -> None:
        self.control += data
        kind = take_integer(self.control)
        rest = b"" if kind is None else kind[1]
        while (found := take_frame(rest)) is not None:
            if found[0] == 7 and (last := take_integer(found[1])) is not None:
                self.goaway = last[0]
            rest = found[2]

    def _settle(self, id: int) -> None:
        data, status, content = bytes(self.answers[id]), 0, b""
        while (found := take_frame(data)) is not None:
            if found[0] == 1:
                fields = dict(self.decoder.feed_header(id, found[1])[1])
                status = int(fields.get(b":status", b"0"))
            else:
                content += found[1]
            data = found[2]
        if not self.waiting[id].done():
            self.waiting[id].set_result((status, content))

    def _fail(self, id: int, error: Exception) -> None:
        if not self.waiting[id].done():
            self.waiting[id].set_exception(error)

    async def move(self) -> None:
        """Goes on from another port."""
        old = self._transport
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)  # as aioquic's own is
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        await loop.create_datagram_endpoint(lambda: self, sock=sock)
        self._quic.send_ping(0)
        self.transmit()
        old.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of a port that was left behind."""


class Roamer:
    """One client with its connections, one after the other."""

    def __init__(
        self,
        port: int,
        tally: Tally,
        path: str,
        size: int,
        body: bytes | None = None,
        *,
        moving: bool = True,
        pause: float = 0.0,
    ) -> None:
        """`pause` is the time between an answer and the next request, in seconds."""
        self.port, self.tally, self.path, self.size, self.body = port, tally, path, size, body
        self.moving, self.pause = moving, pause

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            await self._connection(until)

    async def _connection(self, until: float) -> None:
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            verify_mode=ssl.CERT_NONE,
            server_name="localhost",
        )
        client: QuicConnectionProtocol | None = None
        try:
            async with connect(
                "127.0.0.1", self.port, configuration=configuration, create_protocol=Client
            ) as client:
                assert isinstance(client, Client)
                self.tally.connections += 1
                done = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._move(client, done))
                    await self._ask(client, until)
                    done.set()
        except ConnectionError as error:
            self.tally.failures[f"connect: {error}"] += 1
        finally:
            # aioquic closes the first port only, and none if it is cancelled while it says goodbye.
            if client is not None:
                client._transport.close()
                await asyncio.sleep(0)

    async def _ask(self, client: Client, until: float) -> None:
        while time.monotonic() < until:
            try:
                answer = await client.ask(self.path, self.body)
            except Rejected:
                self.tally.again += 1
                return
            except (ConnectionError, TimeoutError) as error:
                self.tally.failures[f"{self.path}: {error!r}"] += 1
                return
            if answer == (200, self.size):
                self.tally.answered += 1
            else:
                self.tally.failures[f"{self.path}: {answer}"] += 1
            if self.pause:
                await asyncio.sleep(self.pause)

    async def _move(self, client: Client, done: asyncio.Event) -> None:
        while self.moving:
            try:
                await asyncio.wait_for(done.wait(), 1.0)
            except TimeoutError:
                await client.move()
                self.tally.moves += 1
            else:
                return


async def roam(
    port: int, seconds: float, paths: list[tuple[str, int]], *, moving: bool = True
) -> Tally:
    """One client for each path, with the size of its answer."""
    tally = Tally()
    until = time.monotonic() + seconds
    roamers = [Roamer(port, tally, path, size, moving=moving) for path, size in paths]
    await asyncio.gather(*(each.run(until) for each in roamers))
    return tally
