"""A client in memory that speaks HTTP/3: aioquic carries, pylsqpack says what fields were sent.

The frames are taken apart here, as the server's own reader cannot be its witness.
"""

from __future__ import annotations

import itertools
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pylsqpack
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tests.support.answers import Answer
from tests.support.certificates import Authority
from tests.support.peers import Peer
from tricorn.capacity import Capacity
from tricorn.certificates import identity
from tricorn.config import Config
from tricorn.connection import Application, Connection, Field
from tricorn.http3 import opening
from tricorn.http3.endpoint import Endpoint
from tricorn.versions import limits_of
from tricorn_supervisor.scoreboard import Scoreboard

SECRET = bytes(range(32))
SERVER = ("192.0.2.2", 443)
WINDOW = 64 * 1024
SOON = 0.06
"""Seconds that pass by themselves: acknowledgements and probes are no events of a test."""


@cache
def certificate() -> tuple[str, str]:
    directory = Path(tempfile.mkdtemp(prefix="tricorn-h3-"))
    files = Authority().issue(directory, "localhost")
    return str(files.certificate), str(files.key)


class MemorySocket:
    """Where a server in memory believes to be."""

    family = 2

    def getsockname(self) -> tuple[str, int]:
        return SERVER

    def fileno(self) -> int:
        return -1


class MemoryPort:
    def __init__(self) -> None:
        self.socket: Any = MemorySocket()
        self.inbox = None

    def fileno(self) -> int:
        return -1

    def receive_from(self, size: int) -> Any:
        raise BlockingIOError

    def send(self, datagrams: Sequence[bytes], address: Any) -> None:
        raise AssertionError("a MemoryEndpoint sends by itself")

    def local(self, address: Any) -> tuple[str, int]:
        return SERVER


class MemoryEndpoint(Endpoint):
    """An endpoint whose datagrams are fetched by the clients that they are for."""

    def send(self, port: Any, datagrams: Sequence[tuple[bytes, tuple[str, int]]]) -> None:
        for data, address in datagrams:
            self.outgoing.setdefault(address, []).append(data)

    outgoing: dict[tuple[str, int], list[bytes]]


def endpoint_of(peer: Peer) -> MemoryEndpoint:
    """The endpoint of a peer's house, made when it is first needed."""
    house: Any = peer.house
    if not hasattr(house, "endpoint"):
        cert, key = certificate()
        context = house.context
        context.config = replace(context.config, certfile=cert, keyfile=key)
        ids = (lambda: b"\x07" + os.urandom(7), lambda id: True)
        limits = limits_of(context.config)
        capacity = Capacity(context.config.limit_connections or 1000, Scoreboard(1).row(0))
        made = opening.endpoint(
            context,
            context.defaults,
            limits,
            [MemoryPort()],
            SECRET,
            ids,
            capacity,
            identity(context.config),
        )
        made.__class__ = MemoryEndpoint
        made.outgoing = {}
        made.clock = lambda: house.clock.now
        house.endpoint = made
    found: MemoryEndpoint = house.endpoint
    return found


class Client(QuicConnection):
    """Gives credit for what it has read, which is all at once unless it has stopped."""

    reading = True

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        if self.reading:
            super()._write_stream_limits(builder=builder, space=space, stream=stream)
        elif stream.max_stream_data_local_sent != stream.max_stream_data_local:
            seen, stream.receiver.highest_offset = stream.receiver.highest_offset, 0
            super()._write_stream_limits(builder=builder, space=space, stream=stream)
            stream.receiver.highest_offset = seen

    def _write_connection_limits(self, builder: Any, space: Any) -> None:
        limit = self._local_max_data
        used = limit.used
        if not self.reading:
            limit.used = 0
        super()._write_connection_limits(builder=builder, space=space)
        limit.used = used


class H3Peer(Peer):
    """One client connection of HTTP/3; it greets as soon as the handshake is done.

    `raw` sends nothing but what the test sends; who is not `polite` not even the rest of the
    handshake. What makes `early` requests says what is sent with the first flight.
    """

    ports = itertools.count(50001)

    def __init__(
        self,
        application: Application | None = None,
        config: Config | None = None,
        *,
        beside: Peer | None = None,
        raw: bool = False,
        polite: bool = True,
        client: dict[str, Any] | None = None,
        early: Sequence[Callable[[H3Peer], tuple[bytes, bool]]] = (),
        **options: Any,
    ) -> None:
        super().__init__(application, config, beside=beside, **options)
        self.endpoint = endpoint_of(self)
        self.address = ("192.0.2.1", next(self.ports) if beside is not None else 50000)
        settings = {
            "alpn_protocols": ["h3"],
            "verify_mode": ssl.CERT_NONE,
            "max_stream_data": WINDOW,
            "max_data": 64 * WINDOW,
        } | (client or {})
        self.tickets: list[Any] = []
        self.quic = Client(
            configuration=QuicConfiguration(is_client=True, server_name="localhost", **settings),
            session_ticket_handler=self.tickets.append,
        )
        self.streams: dict[int, Answer] = {}
        self.events: list[events.QuicEvent] = []
        self.control = b""
        """What the server has sent on its control stream, behind its type."""
        self.encoder = pylsqpack.Encoder()
        self.decoder = pylsqpack.Decoder(0, 0)
        self.buffers: dict[int, bytes] = {}
        self.here = True
        self.asked = 0
        self.mute = False
        self.quic.connect(SERVER, self.house.clock.now)
        for each in early:
            self.quic.send_stream_data(self.quic.get_next_available_stream_id(), *each(self))
        if not polite:
            self._exchange()
            self.mute = True
        self.settle()
        if not raw and polite:
            self.control_id = self.uni(b"\x00\x04\x00")

    # What the client does

    def uni(self, data: bytes) -> int:
        """A new stream of one direction that begins with `data`."""
        id = self.quic.get_next_available_stream_id(is_unidirectional=True)
        self.write(id, data)
        return id

    def write(self, id: int, data: bytes, *, end: bool = False) -> None:
        with suppress(RuntimeError, ValueError):  # the server may have stopped, or ended, it
            self.quic.send_stream_data(id, data, end)
        self.settle()

    def open(self, data: bytes, *, end: bool = False) -> int:
        """A new request stream that begins with `data`."""
        id = self.quic.get_next_available_stream_id()
        self.asked += 1
        self.write(id, data, end=end)
        return id

    def head(self, fields: Sequence[Field]) -> bytes:
        return frame(1, self.encoder.encode(0, list(fields))[1])

    def request(
        self, target: str = "/", method: str = "GET", headers: Sequence[Field] = ()
    ) -> bytes:
        """The HEADERS frame of an ordinary request."""
        pseudo = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", b"x"),
            (b":path", target.encode("latin-1")),
        ]
        return self.head([*pseudo, *headers])

    def fetch(
        self,
        target: str = "/",
        method: str = "GET",
        headers: Sequence[Field] = (),
        body: bytes | None = None,
        trailers: Sequence[Field] = (),
    ) -> Answer:
        sized = [] if body is None or trailers else [(b"content-length", b"%d" % len(body))]
        data = self.request(target, method, [*headers, *sized])
        if body:
            data += frame(0, body)
        if trailers:
            data += self.head(trailers)
        id = self.open(data, end=True)
        return self.streams[id]

    def ask(self, target: str = "/", method: str = "GET", headers: Sequence[Field] = ()) -> int:
        return self.open(self.request(target, method, headers), end=True)

    def begin(self, target: str = "/", method: str = "POST", headers: Sequence[Field] = ()) -> int:
        return self.open(self.request(target, method, headers))

    def part(
        self, id: int, data: bytes = b"", *, end: bool = False, trailers: Sequence[Field] = ()
    ) -> None:
        sent = frame(0, data) if data else b""
        if trailers:
            sent += self.head(trailers)
        self.write(id, sent, end=end)

    def held(self, id: int) -> int:
        stream = self.quic._streams.get(id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender.highest_offset

    def abandon(self, id: int) -> None:
        self.quic.reset_stream(id, 0x10C)
        self.quic.stop_stream(id, 0x10C)
        self.settle()

    def lose(self) -> None:
        """The client is gone; a server notices when nothing has come for long enough."""
        self.here = False
        for link in {*self.endpoint.links.values()}:
            if link.address == self.address or len(self.house.peers) == 1:
                link._end()
        super().settle()

    def stop_reading(self) -> None:
        self.quic.reading = False

    def read(self, octets: float = float("inf")) -> None:
        """Takes so many octets more of every stream."""
        if octets == float("inf"):
            self.quic.reading = True
        self.quic._local_max_data.value += int(min(octets, 2**30))
        for stream in self.quic._streams.values():
            if not stream.stream_id & 3:
                more = min(octets, 2**30)
                stream.max_stream_data_local += int(more)
        self.quic.send_ping(1)
        self.settle()

    def advance(self, seconds: float) -> None:
        """As every client does that waits for an answer, it keeps the connection open."""
        while seconds > 0:
            waiting = any(not answer.complete for answer in self.streams.values())
            if waiting or len(self.streams) < self.asked:
                self.quic.send_ping(0)
                self.settle()
            super().advance(min(seconds, 10.0))
            seconds -= 10.0

    @property
    def closed_with(self) -> int | None:
        """The code of the server's, or of time's, end of the connection; the first one counts."""
        event = self.quic._close_event
        return None if event is None else event.error_code

    @property
    def connection(self) -> Connection:
        for link in self.endpoint.links.values():
            if link.address == self.address:
                return link.connection
        raise AssertionError("it is lost")

    @property
    def reset(self) -> bool:
        """It was not ended in order; silence for long enough is an order of QUIC's."""
        event = self.quic._close_event
        quiet = event is None or event.reason_phrase == "Idle timeout"
        return not quiet and self.closed_with != 0x100

    def close(self) -> None:
        self.quic.close(error_code=0x100)
        self.settle()

    def settle(self) -> None:
        """Datagrams go to and fro until both sides wait for something."""
        clock = self.house.clock
        until = clock.now + 30 * SOON
        while True:
            moved = self._exchange()
            if moved:
                continue
            at = self.quic.get_timer() if self.here else None
            timers = [at] if at is not None else []
            timers += [link.timer_at for link in {*self.endpoint.links.values()} if link.timer]
            due = min(timers, default=clock.now + 1)
            if due > clock.now + SOON or clock.now > until:
                return
            clock.now = max(clock.now, due) + 0.0006
            if at is not None and at <= clock.now and self.here:
                self.quic.handle_timer(clock.now)

    def _exchange(self) -> bool:
        clock = self.house.clock
        moved = False
        port = self.endpoint.ports[0]
        if self.here and not self.mute and self.quic._close_at is not None:
            for data, _ in self.quic.datagrams_to_send(clock.now):
                moved = True
                self.endpoint.take(port, data, self.address, clock.now)
        super().settle()
        for data in self.endpoint.outgoing.pop(self.address, []):
            if self.here:
                moved = True
                self.quic.receive_datagram(data, SERVER, clock.now)
        while (event := self.quic.next_event()) is not None:
            moved = True
            self.events.append(event)
            self._see(event)
        return moved

    # What the client sees

    def _see(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived():
                id = event.stream_id
                if id & 2:
                    self.control += event.data
                    return
                self.buffers[id] = self.buffers.get(id, b"") + event.data
                self._read(id, ended=event.end_stream)
            case events.StreamReset():
                self.streams.setdefault(event.stream_id, Answer(0, [])).reset = event.error_code
            case _:
                pass

    def _read(self, id: int, *, ended: bool) -> None:
        answer = self.streams.setdefault(id, Answer(0, []))
        data = self.buffers[id]
        while (found := take_frame(data)) is not None:
            kind, payload, data = found
            if kind == 0:
                assert answer.status >= 200, "content before a response"
                assert not answer.trailers, "content behind the trailers"
                answer.body += payload
            elif kind == 1:
                self._see_section(id, answer, payload)
            else:
                raise AssertionError(f"a frame of type {kind} in a response")
        self.buffers[id] = data
        if ended:
            assert not data, "a stream that ends within a frame"
            answer.complete = True

    def _see_section(self, id: int, answer: Answer, block: bytes) -> None:
        fields = self.decoder.feed_header(id, block)[1]
        assert all(name == name.lower() for name, _ in fields)
        if answer.status:
            assert not any(name[:1] == b":" for name, _ in fields)
            answer.trailers = fields
            return
        (name, value), *rest = fields
        assert name == b":status" and not any(key[:1] == b":" for key, _ in rest)
        if int(value) < 200:
            answer.informational.append((int(value), rest))
        else:
            answer.status, answer.headers = int(value), rest

    def result(self, id: int) -> Answer | None:
        return self.streams.get(id)

    def answer(self, id: int | None = None) -> Answer:
        if id is None:
            (answer,) = self.streams.values()
            return answer
        return self.streams[id]

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.streams.values()]

    @property
    def status(self) -> int | None:
        statuses = self.statuses
        return statuses[-1] if statuses else None

    @property
    def resets(self) -> dict[int, int]:
        answers = self.streams.items()
        return {id: answer.reset for id, answer in answers if answer.reset is not None}

    @property
    def closed(self) -> bool:
        return self.closed_with is not None


def integer(value: int) -> bytes:
    for prefix, size in enumerate((1, 2, 4, 8)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def frame(kind: int, payload: bytes = b"") -> bytes:
    return integer(kind) + integer(len(payload)) + payload


def take_integer(data: bytes) -> tuple[int, bytes] | None:
    if not data or len(data) < (size := 1 << (data[0] >> 6)):
        return None
    return int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1), data[size:]


def take_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Type, payload and what follows; None unless all of it is there."""
    if (kind := take_integer(data)) is None or (length := take_integer(kind[1])) is None:
        return None
    size, rest = length
    return (kind[0], rest[:size], rest[size:]) if len(rest) >= size else None
