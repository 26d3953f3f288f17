"""WebSocket clients in memory, over every version; `websockets` reads what the server sends."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from websockets.extensions import Extension
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from tests.support import frames
from tests.support.answers import Answer
from tests.support.h2peer import H2Peer
from tests.support.h3peer import H3Peer, frame
from tests.support.peers import H1Peer, Peer
from tests.support.versions import ENGINES
from tricorn.asgi.websocket import WebSocket
from tricorn.config import Config
from tricorn.connection import Application, Field

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC6455§1.3, and what is to be answered to it
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"  # RFC6455§5.7
VERSION: Field = (b"sec-websocket-version", b"13")
STREAMS: dict[str | None, Callable[..., Any]] = {"websocket": WebSocket}

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def masked(first: int, payload: bytes = b"", *, size: int | None = None) -> bytes:
    """A client's frame; `size` is what it says of its payload, where that is not true."""
    said = len(payload) if size is None else size
    if said < 126:
        head = struct.pack(">BB", first, 0x80 | said)
    elif said < 65_536:
        head = struct.pack(">BBH", first, 0x80 | 126, said)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, said)
    return head + MASK + bytes(octet ^ MASK[at % 4] for at, octet in enumerate(payload))


class Noting(Extension):
    """Lets compressed frames pass as they are, and notes which they are."""

    name = "noting"

    def __init__(self) -> None:
        self.compressed: list[bool] = []

    def encode(self, frame: Frame) -> Frame:
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        self.compressed.append(frame.rsv1)
        return replace(frame, rsv1=False)


class Socket:
    """One WebSocket, whether the server has accepted it or not."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    # What a version brings

    @property
    def answer(self) -> Answer:
        """The response to the handshake; what came behind it is its body."""
        raise NotImplementedError

    def send(self, *segments: bytes) -> None:
        """Octets of frames; each segment is read in a turn of its own."""
        raise NotImplementedError

    def pour(self, data: bytes) -> None:
        """Octets of frames that the server reads without a word, or a measure, of the client's."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """The server has ended its direction of the tunnel."""
        raise NotImplementedError

    # What all have

    @property
    def accepted(self) -> bool:
        return self.answer.status in (101, 200)

    def text(self, *texts: str) -> None:
        self.send(b"".join(masked(TEXT, each.encode()) for each in texts))

    def close(self, code: int | None = None, reason: str = "") -> None:
        self.send(masked(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode()))

    @property
    def compressed(self) -> list[bool]:
        """Which of the frames say that they are."""
        noting = Noting()
        self._read(noting)
        return noting.compressed

    @property
    def frames(self) -> list[Frame]:
        """All frames that the server has sent; what is compressed is left so."""
        return self._read(Noting())

    def _read(self, noting: Noting) -> list[Frame]:
        reader = StreamReader()
        reader.feed_data(self.answer.body)
        reader.feed_eof()
        found = []
        while reader.buffer:
            parser = Frame.parse(reader.read_exact, mask=False, extensions=[noting])
            try:
                next(parser)
            except StopIteration as whole:
                found.append(whole.value)
        return found

    @property
    def messages(self) -> list[str | bytes]:
        data = [each for each in self.frames if each.opcode in (Opcode.TEXT, Opcode.BINARY)]
        return [
            bytes(each.data).decode() if each.opcode is Opcode.TEXT else bytes(each.data)
            for each in data
        ]

    @property
    def code(self) -> int | None:
        """With which the server has closed; nothing may follow that."""
        found = self.frames
        if not found or found[-1].opcode is not Opcode.CLOSE:
            assert all(each.opcode is not Opcode.CLOSE for each in found)
            return None
        return Close.parse(found[-1].data).code


class Http1Socket(Socket):
    """By Upgrade (RFC6455§4.1)."""

    peer: H1Peer

    def __init__(
        self,
        application: Application,
        config: Config | None = None,
        headers: Sequence[Field] = (),
        *,
        handshake: Sequence[Field] = ((b"sec-websocket-key", KEY), VERSION),
        **options: Any,
    ) -> None:
        super().__init__(H1Peer(application, config, streams=STREAMS, **options))
        fields = [
            (b"host", b"x"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            *handshake,
            *headers,
        ]
        lines = b"".join(b"%b: %b\r\n" % each for each in fields)
        self.peer.send(b"GET /chat?a=b HTTP/1.1\r\n" + lines + b"\r\n")

    @property
    def answer(self) -> Answer:
        return self.peer.answer()

    def send(self, *segments: bytes) -> None:
        self.peer.send(*segments)

    def pour(self, data: bytes) -> None:
        if not self.peer.wire.closing:
            self.peer.wire.feed(data)

    @property
    def ended(self) -> bool:
        return self.peer.closed


class ConnectSocket(Socket):
    """By extended CONNECT (RFC8441§4, RFC9220§3)."""

    peer: H2Peer | H3Peer
    id: int

    def __init__(
        self, peer: H2Peer | H3Peer, handshake: Sequence[Field], headers: Sequence[Field]
    ) -> None:
        super().__init__(peer)
        self.fields = [
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            (b":scheme", b"https" if isinstance(peer, H3Peer) else b"http"),
            (b":authority", b"x"),
            (b":path", b"/chat?a=b"),
            *handshake,
            *headers,
        ]
        self.open()

    def open(self) -> None:
        """Opens it, or the next one on the same connection, which takes its place."""
        raise NotImplementedError

    @property
    def answer(self) -> Answer:
        return self.peer.answer(self.id)

    def send(self, *segments: bytes) -> None:
        for each in segments:
            self.peer.part(self.id, each)

    @property
    def ended(self) -> bool:
        return self.answer.complete or self.answer.reset is not None


class Http2Socket(ConnectSocket):
    peer: H2Peer

    def __init__(
        self,
        application: Application,
        config: Config | None = None,
        headers: Sequence[Field] = (),
        *,
        handshake: Sequence[Field] = (VERSION,),
        **options: Any,
    ) -> None:
        peer = H2Peer(application, config, streams=STREAMS, **options)
        super().__init__(peer, handshake, headers)

    def open(self) -> None:
        self.id = self.peer.next
        self.peer.next += 2
        self.peer.send(frames.headers(self.id, self.fields, end=False))

    def pour(self, data: bytes) -> None:
        if not self.peer.wire.closing:
            self.peer.wire.feed(frames.data(self.id, data))


class Http3Socket(ConnectSocket):
    peer: H3Peer

    def __init__(
        self,
        application: Application,
        config: Config | None = None,
        headers: Sequence[Field] = (),
        *,
        handshake: Sequence[Field] = (VERSION,),
        **options: Any,
    ) -> None:
        peer = H3Peer(application, config, streams=STREAMS, **options)
        super().__init__(peer, handshake, headers)

    def open(self) -> None:
        self.id = self.peer.open(self.peer.head(self.fields))

    def pour(self, data: bytes) -> None:
        self.peer.connection.feed_stream(self.id, frame(0, data), ended=False)


SOCKETS: dict[str, Callable[..., Socket]] = {
    "HTTP/1.1": Http1Socket,
    **{f"HTTP/2-{engine}": partial(Http2Socket, engine=engine) for engine in ENGINES},
    "HTTP/3": Http3Socket,
}
