"""Octets from the client → messages (RFC6455§5).

Messages, pings and pongs are taken apart here: wsproto takes ten microseconds for each frame,
however small, so that a flood of fragments would cost more than what carries it. A close goes to
wsproto, which says what it means. Property tests prove that the two agree on all of it. What is too
much, or out of place, is refused by its header, before it is kept.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from struct import Struct

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong

from tricorn.asgi.websocket.codes import INVALID_DATA, POLICY, PROTOCOL_ERROR, TOO_BIG, Failed
from tricorn.asgi.websocket.deflate import Deflate

TEXT, BINARY = 0x81, 0x82
"""The first octets of an ordinary frame: a whole message, no extension bit."""
CLOSE, PING = 0x88, 0x89
FINAL, RESERVED, COMPRESSED, OPCODE, CONTROL = 0x80, 0x70, 0x40, 0x0F, 0x08
TEXT_OPCODE, BINARY_OPCODE = 1, 2
OPCODES = frozenset((0, 1, 2, 8, 9, 10))
MASKED = 0x80
SHORT, SHORT_LIMIT = 126, 1 << 16
LONG = 127

MOST_FRAGMENTS = 1024
EMPTY_FRAGMENTS = 64
"""Fragments of a message from which on they have to bring an octet each, on average."""
MOST_PINGS = 100
PING_SPAN = 10.0
"""Seconds in which so many pings are answered."""

SHORT_PAYLOAD = 1024
"""Octets up to which XOR of numbers is quicker than tables."""
PART = 32 * 1024
"""Octets that are unmasked at once, a multiple of four: they stay in the processor's cache."""
TABLES = [bytes(octet ^ mask for octet in range(256)) for mask in range(256)]
"""What each octet becomes, for each octet of a mask."""

short_size = Struct(">H").unpack_from
long_size = Struct(">Q").unpack_from
decoder_of_text = getincrementaldecoder("utf-8")

Received = str | bytes | Ping | Pong | CloseConnection


class Inbound:
    """The frames of one connection, as they come."""

    __slots__ = (
        "compressed",
        "data",
        "decoder",
        "deflate",
        "fragments",
        "most",
        "parts",
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
        self.fragments = 0
        """Frames of the message in progress."""
        self.compressed = False
        self.decoder: IncrementalDecoder | None = None
        """Of its text; None if it is not text."""
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
            if first & CONTROL:
                self._count_control(now)
            if first == CLOSE:
                # It stays if it is wrong: it is a close all the same.
                closed = closed_by(bytes(self.data[: begin + size]))
                del self.data[: begin + size]
                yield closed
                continue
            payload = unmasked(self.data, begin, size)
            del self.data[: begin + size]
            if first == BINARY:
                yield payload
            elif first == TEXT:
                yield text_of(payload)
            elif first & CONTROL:
                yield Ping(payload) if first == PING else Pong(payload)
            elif (message := self._add(first, payload)) is not None:
                yield message

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
        opcode = first & OPCODE
        if opcode not in OPCODES:
            raise Failed(PROTOCOL_ERROR, "an opcode that means nothing")
        if reserved := first & RESERVED:
            begins = opcode in (TEXT_OPCODE, BINARY_OPCODE)  # RFC7692§6
            if reserved != COMPRESSED or self.deflate is None or not begins:
                raise Failed(PROTOCOL_ERROR, "a bit that means nothing")  # RFC6455§5.2
        if first & CONTROL:
            if not first & FINAL or second & ~MASKED >= SHORT:
                raise Failed(PROTOCOL_ERROR, "a control frame is short and whole")  # RFC6455§5.5
        elif bool(opcode) == bool(self.fragments):  # RFC6455§5.4
            raise Failed(PROTOCOL_ERROR, "a message within another, or a fragment of none")

    def _add(self, first: int, payload: bytes) -> str | bytes | None:
        """A frame of a message; the message, if it is the last one."""
        last = first & FINAL != 0
        if not self.fragments:
            if (
                last and self.deflate is not None
            ):  # it is compressed, or it would be an ordinary one
                payload = self.deflate.inflate(payload, last=True)
                return payload if first & OPCODE == BINARY_OPCODE else text_of(payload)
            self.compressed = first & COMPRESSED != 0
            self.decoder = decoder_of_text() if first & OPCODE == TEXT_OPCODE else None
        self.fragments += 1
        self.received += len(payload)
        if self.fragments > MOST_FRAGMENTS or (
            self.fragments > EMPTY_FRAGMENTS and self.received < self.fragments
        ):
            raise Failed(POLICY, "too many fragments")
        if self.compressed and self.deflate is not None:
            payload = self.deflate.inflate(payload, last=last)
        if self.decoder is None:
            self.parts.append(payload)
        else:
            try:
                self.parts.append(self.decoder.decode(payload, last))
            except UnicodeDecodeError:
                raise Failed(INVALID_DATA, "text that is not UTF-8") from None  # RFC6455§8.1
        return self._message() if last else None

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


def closed_by(frame: bytes) -> CloseConnection:
    """What wsproto makes of a close. Raises Failed."""
    peer = Connection(ConnectionType.SERVER)
    peer.receive_data(frame)
    event = next(iter(peer.events()), None)
    if not isinstance(event, CloseConnection):
        raise Failed(PROTOCOL_ERROR, "a close that is none")
    if peer.state is ConnectionState.OPEN:
        # Not what the client has sent, but what wsproto thinks of it.
        raise Failed(int(event.code), event.reason or "")
    return event


def unmasked(data: bytes | bytearray, begin: int, size: int) -> bytes:
    """The payload behind its mask (RFC6455§5.3).

    A short one by XOR of two numbers; a longer one by tables, four octets apart: an octet costs 1.1
    nanoseconds then, instead of the 1.6 that it takes to make a number of it and back.
    """
    mask = data[begin - 4 : begin]
    if size <= SHORT_PAYLOAD:
        repeated = (mask * (size // 4 + 1))[:size]
        number = int.from_bytes
        both = number(data[begin : begin + size], "little") ^ number(repeated, "little")
        return both.to_bytes(size, "little")
    first, second, third, fourth = (TABLES[octet] for octet in mask)
    parts: list[bytearray] = []
    for at in range(begin, begin + size, PART):
        part = bytearray(data[at : min(at + PART, begin + size)])
        part[::4] = part[::4].translate(first)
        part[1::4] = part[1::4].translate(second)
        part[2::4] = part[2::4].translate(third)
        part[3::4] = part[3::4].translate(fourth)
        parts.append(part)
    return b"".join(parts)


def text_of(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Failed(INVALID_DATA, "text that is not UTF-8") from None  # RFC6455§8.1
