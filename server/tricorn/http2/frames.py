"""Frames of HTTP/2 (RFC9113§4, §6): their codec, and budgets for those that carry nothing.

A frame that costs more than it brings is counted before anything is done for it. Who exceeds a
budget is told ENHANCE_YOUR_CALM, and the connection ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from tricorn.connection import Broken
from tricorn.priorities import Dependency

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC9113§3.4

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
PRIORITY_UPDATE = 0x10  # RFC9218§7.1

END_STREAM = ACK = 0x01
END_HEADERS = 0x04
PADDED = 0x08
PRIORITIZED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
ENABLE_CONNECT_PROTOCOL = 8  # RFC8441§3
NO_RFC7540_PRIORITIES = 9  # RFC9218§2.1

HEAD_SIZE = 9
SMALLEST_FRAME_SIZE = 16 * 1024
LARGEST_FRAME_SIZE = 2**24 - 1
PRIORITY_SIZE = 5
LARGEST_WINDOW = 2**31 - 1
LARGEST_ID = 2**31 - 1
DEFAULT_WINDOW = 65_535

head = Struct(">IBI")
"""Length and type in one number, flags, stream (RFC9113§4.1)."""
number = Struct(">I")
setting = Struct(">HI")


class Code(IntEnum):
    """Why a stream or a connection ends (RFC9113§7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class StreamFault(Broken):
    """The peer's fault that costs it one stream (RFC9113§5.4.2)."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ConnectionFault(Broken):
    """The peer's fault that costs it the connection (RFC9113§5.4.1)."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(kind: int, flags: int, id: int, payload: bytes = b"") -> bytes:
    return head.pack(len(payload) << 8 | kind, flags, id) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(setting.pack(*each) for each in values.items()))


def window_update(id: int, octets: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, id, number.pack(octets))


def rst_stream(id: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, id, number.pack(code))


def goaway(last: int, code: Code, reason: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, number.pack(last) + number.pack(code) + reason.encode())


def header_block(id: int, block: bytes, size: int, *, end: bool) -> bytes:
    """A HEADERS frame and, for a block longer than `size`, its CONTINUATIONs (RFC9113§6.10)."""
    flags = END_STREAM if end else 0
    if len(block) <= size:
        return head.pack(len(block) << 8 | HEADERS, flags | END_HEADERS, id) + block
    return frame(HEADERS, flags, id, block[:size]) + _continued(id, block[size:], size)


def push_promise(id: int, promised: int, block: bytes, size: int) -> bytes:
    """The same for a request that is ours (RFC9113§6.6)."""
    block = number.pack(promised) + block
    if len(block) <= size:
        return frame(PUSH_PROMISE, END_HEADERS, id, block)
    return frame(PUSH_PROMISE, 0, id, block[:size]) + _continued(id, block[size:], size)


def _continued(id: int, rest: bytes, size: int) -> bytes:
    parts = [rest[at : at + size] for at in range(0, len(rest), size)]
    frames = [frame(CONTINUATION, 0, id, part) for part in parts[:-1]]
    return b"".join((*frames, frame(CONTINUATION, END_HEADERS, id, parts[-1])))


def unpadded(flags: int, payload: bytes) -> bytes:
    """What is left without padding (RFC9113§6.1). Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def read_dependency(payload: bytes) -> Dependency:
    """The first five octets, as they stand in PRIORITY and HEADERS (RFC9113§6.3)."""
    parent = int.from_bytes(payload[:4], "big")
    return Dependency(parent & LARGEST_ID, payload[4] + 1, parent > LARGEST_ID)


MOST_SETTINGS = 32
"""Entries of one SETTINGS frame: five times as many as are known (Go refuses over 100)."""


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The entries of a SETTINGS frame, checked (RFC9113§6.5.2). Raises ConnectionFault."""
    if len(payload) % setting.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
    if len(payload) > MOST_SETTINGS * setting.size:
        raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many settings")
    for id, value in setting.iter_unpack(payload):
        match id:
            case 2 | 8 | 9 if value > 1:  # ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_…
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"setting {id} is neither 0 nor 1")
            case 4 if value > LARGEST_WINDOW:  # INITIAL_WINDOW_SIZE
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "an initial window of over 2^31")
            case 5 if not SMALLEST_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:  # MAX_FRAME_SIZE
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame size that cannot be")
            case _:
                yield id, value


SPAN = 10.0
"""Seconds that a budget is for."""


class Budget:
    """So many events in ten seconds."""

    __slots__ = ("left", "most", "name", "since")

    def __init__(self, name: str, most: int, now: float) -> None:
        self.name = name
        self.most = most
        self.left = most
        self.since = now

    def spend(self, now: float) -> None:
        """One more, at `now` (monotonic seconds). Raises ConnectionFault when there were enough."""
        self.left -= 1
        if self.left < 0:
            if now - self.since < SPAN:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {self.name}")
            self.since = now
            self.left = self.most - 1


class Budgets:
    """What a connection may send that carries nothing (attacks: PING, SETTINGS, empty floods)."""

    __slots__ = ("control", "empty", "priority", "settings")

    def __init__(self, now: float) -> None:
        self.control = Budget("control frames", 1000, now)
        self.settings = Budget("SETTINGS frames", 10, now)
        self.empty = Budget("empty frames", 100, now)
        self.priority = Budget("priorities", 100, now)
