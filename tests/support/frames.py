"""HTTP/2 frames as raw bytes, right or wrong: nothing here objects to what a test asks for.

Header blocks are made by hpack. Each is made by an encoder of its own, unless a test brings one:
such a block is right whatever has been sent before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from hpack import Encoder

from tricorn.connection import Field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
PRIORITY_UPDATE = 16  # RFC9218§7.1

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = range(1, 5)
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(10, 14)

GET: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"x"),
    (b":path", b"/"),
)
POST: tuple[Field, ...] = ((b":method", b"POST"), *GET[1:])


def frame(
    kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, length: int | None = None
) -> bytes:
    """Any frame; `length` is what it says of its payload, where that is not true."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(fields: Iterable[Field], encoder: Encoder | None = None) -> bytes:
    """A header block (RFC7541)."""
    return bytes((encoder or Encoder()).encode(list(fields)))


def headers(
    stream: int,
    fields: Iterable[Field] | bytes = GET,
    *,
    end: bool = True,
    whole: bool = True,
    encoder: Encoder | None = None,
    padding: int | None = None,
    priority: tuple[int, int, bool] | None = None,
    flags: int = 0,
) -> bytes:
    """HEADERS of fields, or of a block; `priority` is (depends on, weight, exclusive)."""
    payload = fields if isinstance(fields, bytes) else block(fields, encoder)
    if priority is not None:
        payload = _dependency(priority) + payload
        flags |= PRIORITIZED
    flags |= (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
    return _padded(HEADERS, payload, padding, flags, stream)


def continuation(stream: int, part: bytes = b"", *, whole: bool = True, flags: int = 0) -> bytes:
    flags |= END_HEADERS if whole else 0
    return frame(CONTINUATION, part, flags=flags, stream=stream)


def data(
    stream: int,
    content: bytes = b"",
    *,
    end: bool = False,
    padding: int | None = None,
    flags: int = 0,
) -> bytes:
    flags |= END_STREAM if end else 0
    return _padded(DATA, content, padding, flags, stream)


def priority(stream: int, depends_on: int = 0, weight: int = 16, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, _dependency((depends_on, weight, exclusive)), stream=stream)


def priority_update(element: int, value: bytes, *, stream: int = 0) -> bytes:
    return frame(PRIORITY_UPDATE, struct.pack(">I", element) + value, stream=stream)


def rst(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, struct.pack(">I", code), stream=stream)


def settings(
    values: Mapping[int, int] | Iterable[tuple[int, int]] = (),
    *,
    ack: bool = False,
    stream: int = 0,
) -> bytes:
    pairs = values.items() if isinstance(values, Mapping) else values
    payload = b"".join(struct.pack(">HI", *each) for each in pairs)
    return frame(SETTINGS, payload, flags=ACK if ack else 0, stream=stream)


def ping(payload: bytes = bytes(8), *, ack: bool = False, stream: int = 0) -> bytes:
    return frame(PING, payload, flags=ACK if ack else 0, stream=stream)


def goaway(last: int = 0, code: int = NO_ERROR, text: bytes = b"", *, stream: int = 0) -> bytes:
    return frame(GOAWAY, struct.pack(">II", last, code) + text, stream=stream)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, struct.pack(">I", increment), stream=stream)


def _padded(kind: int, payload: bytes, padding: int | None, flags: int, stream: int) -> bytes:
    if padding is not None:
        payload = bytes([padding]) + payload + bytes(padding)
        flags |= PADDED
    return frame(kind, payload, flags=flags, stream=stream)


def _dependency(priority: tuple[int, int, bool]) -> bytes:
    depends_on, weight, exclusive = priority
    return struct.pack(">IB", depends_on | (exclusive << 31), weight - 1)
