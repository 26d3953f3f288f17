"""The vocabulary of HTTP/3: frames, codes, settings, and the integers that they are written in."""

from __future__ import annotations

from enum import IntEnum

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
PRIORITY_UPDATE, PRIORITY_UPDATE_PUSH = 0xF0700, 0xF0701
"""RFC9218§7.2: of a request, and of a push."""
OF_HTTP2 = frozenset((0x02, 0x06, 0x08, 0x09))
"""RFC9114§7.2.8: frames of HTTP/2 that have no meaning here, and must not be sent."""

CONTROL_STREAM, PUSH_STREAM, ENCODER_STREAM, DECODER_STREAM = range(4)
"""The types of unidirectional streams (RFC9114§6.2, RFC9204§4.2)."""

MAX_TABLE_CAPACITY, MAX_FIELD_SECTION_SIZE, BLOCKED_STREAMS = 1, 6, 7
ENABLE_CONNECT_PROTOCOL = 8
SETTINGS_OF_HTTP2 = frozenset((0, 2, 3, 4, 5))
"""RFC9114§7.2.4.1."""

LAST_REQUEST = 2**62 - 4
"""The largest id that a request can have: a GOAWAY with it says that one will follow (§5.2)."""
GREASE = 0x21
"""RFC9114§7.2.8: 0x1f * N + 0x21 means nothing, and has to be ignored."""


class Code(IntEnum):
    """Why a stream or a connection ends (RFC9114§8.1, RFC9204§8.3)."""

    NO_ERROR = 0x100
    GENERAL_PROTOCOL_ERROR = 0x101
    INTERNAL_ERROR = 0x102
    STREAM_CREATION_ERROR = 0x103
    CLOSED_CRITICAL_STREAM = 0x104
    FRAME_UNEXPECTED = 0x105
    FRAME_ERROR = 0x106
    EXCESSIVE_LOAD = 0x107
    ID_ERROR = 0x108
    SETTINGS_ERROR = 0x109
    MISSING_SETTINGS = 0x10A
    REQUEST_REJECTED = 0x10B
    REQUEST_CANCELLED = 0x10C
    REQUEST_INCOMPLETE = 0x10D
    MESSAGE_ERROR = 0x10E
    DECOMPRESSION_FAILED = 0x200
    ENCODER_STREAM_ERROR = 0x201
    DECODER_STREAM_ERROR = 0x202


class StreamFault(Exception):
    """What costs the stream only."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ConnectionFault(Exception):
    """What ends the connection."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def integer(value: int) -> bytes:
    """RFC9000§16."""
    if value < 1 << 6:
        return value.to_bytes(1, "big")
    if value < 1 << 14:
        return (value | 1 << 14).to_bytes(2, "big")
    if value < 1 << 30:
        return (value | 2 << 30).to_bytes(4, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def read_integer(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The integer at that place and where it ends; None if there is not all of it."""
    if at >= len(data):
        return None
    first = data[at]
    if first < 0x40:
        return first, at + 1
    end = at + (1 << (first >> 6))
    if end > len(data):
        return None
    bits = 8 * (end - at) - 2
    return int.from_bytes(data[at:end], "big") & ((1 << bits) - 1), end


def frame(kind: int, payload: bytes) -> bytes:
    return integer(kind) + integer(len(payload)) + payload


def settings(values: dict[int, int]) -> bytes:
    pairs = (integer(key) + integer(value) for key, value in values.items())
    return frame(SETTINGS, b"".join(pairs))


def read_settings(payload: bytes) -> dict[int, int]:
    """The pairs of a SETTINGS frame. Raises ConnectionFault."""
    values: dict[int, int] = {}
    at = 0
    while at < len(payload):
        key = read_integer(payload, at)
        value = read_integer(payload, key[1]) if key else None
        if key is None or value is None:
            raise ConnectionFault(Code.FRAME_ERROR, "SETTINGS that are cut off")
        if key[0] in SETTINGS_OF_HTTP2 or key[0] in values:
            raise ConnectionFault(Code.SETTINGS_ERROR, "a setting that cannot be, or comes twice")
        values[key[0]], at = value
    if values.get(ENABLE_CONNECT_PROTOCOL, 0) > 1:
        raise ConnectionFault(Code.SETTINGS_ERROR, "ENABLE_CONNECT_PROTOCOL is 0 or 1")
    return values


def read_one(payload: bytes) -> int:
    """The integer that is all of a frame. Raises ConnectionFault."""
    found = read_integer(payload, 0)
    if found is None or found[1] != len(payload):
        raise ConnectionFault(Code.FRAME_ERROR, "a frame that is one integer has something else")
    return found[0]
