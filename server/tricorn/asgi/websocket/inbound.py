"""Octets from the client → messages (RFC6455§5).

The ordinary frame is taken apart here: whole, final, masked, not compressed, and not in the middle
of a message. Every other frame goes to wsproto, which says what it means; a property test proves
that the two agree. What is too much is refused by its header, before it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tricorn.asgi.websocket.deflate import Deflate

TEXT, BINARY = 0x81, 0x82
"""The first octets of an ordinary frame: final, no extension bit."""
FINAL, RESERVED, COMPRESSED, OPCODE, CONTROL = 0x80, 0x70, 0x40, 0x0F, 0x08
OPCODES = frozenset((0, 1, 2, 8, 9, 10))
MASKED = 0x80
SHORT, SHORT_LIMIT = 126, 1 << 16
LONG = 127

NORMAL, PROTOCOL_ERROR, NO_STATUS, ABNORMAL = 1000, 1002, 1005, 1006
INVALID_DATA, POLICY, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011

MOST_FRAGMENTS = 1024
EMPTY_FRAGMENTS = 64
"""Fragments of a message from which on they have to bring an octet each, on average."""
MOST_PINGS = 100
PING_SPAN = 10.0
"""Seconds in which so many pings are answered."""

PART = 1024
"""Octets that are unmasked at once; a multiple of four."""

short_size = Struct(">H").unpack_from
long_size = Struct(">Q").unpack_from

Received = str | bytes | Ping | Pong | CloseConnection


class Failed(Exception):
    """The client has broken the protocol: the connection is closed with `code` (RFC6455§7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Inbound:
    """The frames of one connection, as they come."""

    __slots__ = (
        "data",
        "deflate",
        "fragments",
        "most",
        "parts",
        "peer",
        "pings",
        "pings_since",
        "received",
        "wanted",
    )

    def __init__(self, most: int, deflate: Deflate | None) -> None:
        """Messages have at most `most` octets."""
        self.most = most
        self.deflate = deflate
        self.data = bytearray()
        """What could not be read yet."""
        self.wanted = 2
        """Octets that `data` needs before there is anything to read."""
        self.peer: Connection | None = None
        """wsproto, where it has been needed."""
        self.fragments = 0
        """Frames of the message in progress."""
        self.received = 0
        """Octets of it, as they came."""
        self.parts: list[str | bytes] = []
        """Its content."""
        self.pings = 0
        self.pings_since = 0.0

    def message_of(self, data: bytes) -> str | bytes | None:
        """The message of which `data` is the one ordinary frame; None if it is not.

        Raises Failed.
        """
        octets = len(data)
        if octets < 6 or self.data or self.fragments:
            return None
        size = octets - 6
        if size >= SHORT:
            size -= 2
            if not SHORT <= size < SHORT_LIMIT or data[1] != MASKED | SHORT:
                return None
            if short_size(data, 2) != (size,):
                return None
        elif data[1] != MASKED | size:
            return None
        if size > self.most:
            return None
        first = data[0]
        if first == TEXT:
            return text_of(unmasked(data, octets - size, size))
        return unmasked(data, octets - size, size) if first == BINARY else None

    def feed(self, data: bytes) -> None:
        self.data += data

    def messages(self, now: float) -> Iterator[Received]:
        """What is whole of what has come; it may be stopped anywhere. Raises Failed.

        `now` is in monotonic seconds.
        """
        while len(self.data) >= self.wanted:
            frame = self._frame()
            if frame is None:
                return
            begin, size = frame
            first = self.data[0]
            if first in (TEXT, BINARY) and not self.fragments:
                payload = unmasked(self.data, begin, size)
                del self.data[: begin + size]
                yield payload if first == BINARY else text_of(payload)
            else:
                whole = bytes(self.data[: begin + size])
                del self.data[: begin + size]
                yield from self._ask(whole, size, now)

    def _frame(self) -> tuple[int, int] | None:
        """Where the payload of the next frame begins and its size; None if it is not whole yet."""
        data = self.data
        first, second = data[0], data[1]
        size = second & ~MASKED
        self._check(first, second)
        begin = 6
        if size == SHORT:
            begin = 8
            if len(data) < begin - 4:
                self.wanted = begin - 4
                return None
            (size,) = short_size(data, 2)
            if size < SHORT:
                raise Failed(PROTOCOL_ERROR, "a size that is longer than it need be")
        elif size == LONG:
            begin = 14
            if len(data) < begin - 4:
                self.wanted = begin - 4
                return None
            (size,) = long_size(data, 2)
            if size < SHORT_LIMIT or size >> 63:
                raise Failed(PROTOCOL_ERROR, "a size that is longer than it need be")
        if not first & CONTROL and size + self.received > self.most:
            raise Failed(TOO_BIG, f"a message of more than {self.most} octets")
        if len(data) < begin + size:
            self.wanted = begin + size
            return None
        self.wanted = 2
        return begin, size

    def _check(self, first: int, second: int) -> None:
        """What wsproto would say of a header too, but only when the whole frame has come."""
        if not second & MASKED:
            raise Failed(PROTOCOL_ERROR, "a frame of a client is masked")  # RFC6455§5.1
        if first & RESERVED & ~(COMPRESSED if self.deflate is not None else 0):
            raise Failed(PROTOCOL_ERROR, "a bit that means nothing")  # RFC6455§5.2
        if first & OPCODE not in OPCODES:
            raise Failed(PROTOCOL_ERROR, "an opcode that means nothing")
        if first & CONTROL and (not first & FINAL or second & ~MASKED >= SHORT):
            raise Failed(PROTOCOL_ERROR, "a control frame is short and whole")  # RFC6455§5.5

    def _ask(self, frame: bytes, size: int, now: float) -> Iterator[Received]:
        """What wsproto makes of a whole frame."""
        control = frame[0] & CONTROL
        if control:
            self._count_control(now)
        else:
            self.fragments += 1
            self.received += size
            if self.fragments > MOST_FRAGMENTS or (
                self.fragments > EMPTY_FRAGMENTS and self.received < self.fragments
            ):
                raise Failed(POLICY, "too many fragments")
        if self.peer is None:
            extensions = [self.deflate] if self.deflate is not None else []
            self.peer = Connection(ConnectionType.SERVER, list(extensions))
        self.peer.receive_data(frame)
        for event in self.peer.events():
            match event:
                case TextMessage() | BytesMessage():
                    data = event.data
                    self.parts.append(data if isinstance(data, str) else bytes(data))
                    if event.message_finished:
                        yield self._message()
                case CloseConnection() if self.peer.state is ConnectionState.OPEN:
                    # Not what the client has sent, but what wsproto thinks of it.
                    raise Failed(int(event.code), event.reason or "")
                case Ping() | Pong() | CloseConnection():
                    yield event
                case _:
                    raise Failed(PROTOCOL_ERROR, f"{type(event).__name__} in a tunnel")

    def _message(self) -> str | bytes:
        parts, self.parts = self.parts, []
        self.fragments = self.received = 0
        if isinstance(parts[0], str):
            return "".join(part for part in parts if isinstance(part, str))
        return b"".join(part for part in parts if isinstance(part, bytes))

    def _count_control(self, now: float) -> None:
        if not self.pings or now - self.pings_since >= PING_SPAN:
            self.pings, self.pings_since = 0, now
        self.pings += 1
        if self.pings > MOST_PINGS:
            raise Failed(POLICY, "too many control frames")


def unmasked(data: bytes | bytearray, begin: int, size: int) -> bytes:
    """The payload behind its mask (RFC6455§5.3), by XOR of long numbers.

    A part at a time: the numbers then stay in the processor's cache.
    """
    mask = data[begin - 4 : begin]
    number = int.from_bytes
    parts: list[bytes] = []
    if size > PART:
        repeated = number(mask * (PART // 4), "little")
        last = begin + size - size % PART
        parts = [
            (number(data[at : at + PART], "little") ^ repeated).to_bytes(PART, "little")
            for at in range(begin, last, PART)
        ]
        begin, size = last, size % PART
    both = number(data[begin : begin + size], "little") ^ number(
        (mask * (size // 4 + 1))[:size], "little"
    )
    rest = both.to_bytes(size, "little")
    return b"".join((*parts, rest)) if parts else rest


def text_of(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Failed(INVALID_DATA, "text that is not UTF-8") from None  # RFC6455§8.1
