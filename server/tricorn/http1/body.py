"""Request bodies: of a known length (RFC9112§6.2) or chunked (RFC9112§7.1).

The chunk decoder is strict where RFC 9112 lets a reader be lenient: any leniency is a place where
two readers of the same bytes find a different next request. h11 is its oracle: whatever is
decoded here, h11 decodes to the same.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from tricorn.connection import Field, Refused
from tricorn.fields import FORBIDDEN_TRAILERS, field_line
from tricorn.target import Limits

CHUNK_EXTENSION = 256
CHUNK_LINE = 15 + CHUNK_EXTENSION + 3
OVERHEAD = 16 * 1024  # Go: 16 KiB more than the data (CVE-2023-39326)

# 15 digits stay below 2^63. No space, sign or prefix; no control character in the extension.
chunk_line = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)(?:;[\t\x20-\x7e\x80-\xff]{0,%d}+)?+" % (CHUNK_EXTENSION - 1)
).fullmatch


class Body(ABC):
    """Turns bytes from the connection into body data."""

    __slots__ = ("ended", "received", "trailers")

    def __init__(self) -> None:
        self.ended = False
        self.received = 0
        """Octets of content so far."""
        self.trailers: list[Field] = []

    @abstractmethod
    def feed(self, data: bytes, sink: Callable[[bytes], None]) -> bytes:
        """Hands content to `sink`; returns what follows the body once it has `ended`.

        Raises Refused, after which the connection cannot be used for another request.
        """


class SizedBody(Body):
    """As many octets as Content-Length says."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self.remaining = length

    def feed(self, data: bytes, sink: Callable[[bytes], None]) -> bytes:
        size = len(data)
        self.ended = size >= self.remaining
        rest = b""
        if size > self.remaining:
            rest = data[self.remaining :]
            data = data[: self.remaining]
            size = self.remaining
        self.remaining -= size
        self.received += size
        if size:
            sink(data)
        return rest


class Part(Enum):
    """Where in a chunked body the next octet belongs."""

    SIZE = 1
    DATA = 2
    DATA_END = 3
    TRAILERS = 4


class ChunkedBody(Body):
    """Chunks, then a trailer section."""

    __slots__ = ("limits", "overhead", "part", "partial", "remaining", "section")

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.part = Part.SIZE
        self.partial = b""
        self.remaining = 0
        self.overhead = 0
        self.section = 0

    def feed(self, data: bytes, sink: Callable[[bytes], None]) -> bytes:
        if self.partial:
            data = self.partial + data
            self.partial = b""
        at = 0
        parts: list[bytes] = []
        while not self.ended:
            took = self._step(data, at, parts)
            if took < 0:
                self.partial = data[at:]
                break
            at += took
        if parts:
            # Coalesced, as many small chunks would cost the application more than the peer.
            sink(parts[0] if len(parts) == 1 else b"".join(parts))
        return data[at:] if self.ended else b""

    def _step(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Takes the next piece at `at`: its size in octets, -1 where more has to arrive first."""
        match self.part:
            case Part.DATA:
                return self._take_data(data, at, parts)
            case Part.DATA_END:
                if len(data) - at < 2:
                    if data[at:] not in (b"", b"\r"):
                        raise Refused(400, "a chunk is longer than it said")
                    return -1
                if data[at : at + 2] != b"\r\n":
                    raise Refused(400, "a chunk is longer than it said")
                self.part = Part.SIZE
                return 2
            case Part.SIZE:
                line = self._line(data, at, CHUNK_LINE)
                if line is None:
                    return -1
                self._begin_chunk(line)
                return len(line) + 2
            case Part.TRAILERS:
                line = self._line(data, at, self.limits.line)
                if line is None:
                    return -1
                self._take_trailer(line)
                return len(line) + 2

    def _line(self, data: bytes, at: int, limit: int) -> bytes | None:
        end = data.find(b"\n", at, at + limit)
        if end < 0:
            if len(data) - at >= limit:
                raise Refused(400, "a line between the chunks is too long")
            return None
        if end == at or data[end - 1] != 0x0D:
            raise Refused(400, "a line between the chunks ends without CR")
        return data[at : end - 1]

    def _begin_chunk(self, line: bytes) -> None:
        match = chunk_line(line)
        if match is None:
            raise Refused(400, "malformed chunk size")
        self.remaining = int(match[1], 16)
        self.part = Part.DATA if self.remaining else Part.TRAILERS
        self.overhead += len(line) + 4
        if self.overhead > OVERHEAD + 2 * self.received:
            raise Refused(400, "more framing than data")
        if 0 < self.limits.body < self.received + self.remaining:
            raise Refused(413, "the body is too large")

    def _take_data(self, data: bytes, at: int, parts: list[bytes]) -> int:
        part = data[at : at + self.remaining]
        if not part:
            return -1
        parts.append(part)
        self.remaining -= len(part)
        self.received += len(part)
        if not self.remaining:
            self.part = Part.DATA_END
        return len(part)

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.ended = True
            return
        self.section += len(line)
        match = field_line(line)
        if match is None:
            raise Refused(400, "malformed trailer field")
        if self.section > self.limits.head or len(self.trailers) >= self.limits.fields:
            raise Refused(431, "the trailer section is too large")
        name = match[1].lower()
        if name in FORBIDDEN_TRAILERS:
            raise Refused(400, f"{name.decode()} in the trailer section")  # RFC9110§6.5.1
        self.trailers.append((name, match[2].rstrip(b" \t")))
