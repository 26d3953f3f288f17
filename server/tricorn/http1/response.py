"""Response heads on HTTP/1.1: status line, field lines, and how the content is delimited."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from tricorn.connection import ApplicationError, Field, Fields, Request
from tricorn.fields import (
    BODILESS,
    REMEMBERED_LENGTH,
    TOO_LONG,
    Defaults,
    Memory,
    content_length,
    response_field,
)

# RFC9112§4: the reason phrase is ours; no text of the application's gets into the status line.
STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
CLOSE_LINE = b"connection: close\r\n"
REMEMBERED_HEADS = 256

log = logging.getLogger(__name__)


# What a field of the application's means to the connection: bits, looked at for every response.
ORDINARY, LENGTH, CLOSE, DATE, SERVER = 0, 1, 2, 4, 8
NO_LENGTH = -1

MEANINGS = {
    b"content-length": LENGTH,
    b"date": DATE,
    b"server": SERVER,
}
# RFC9112§6.1, §9.3, RFC9110§7.8: these are the connection's to say, so the application's are left
# out; only its wish to close is heard.
OURS = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"))


class Framing:
    """How the content of a response that is sent in parts is delimited."""

    __slots__ = ("chunked", "persistent", "remaining", "silent")

    def __init__(
        self, remaining: int | None, *, chunked: bool, persistent: bool, silent: bool
    ) -> None:
        self.remaining = remaining
        """Octets of content that a declared Content-Length still asks for."""
        self.chunked = chunked
        self.persistent = persistent
        """The connection may carry another request."""
        self.silent = silent
        """There is no content, whatever the application sends (RFC9110§6.4.1)."""


class ResponseHeads:
    """Makes response heads; remembers their lines, for all connections of a worker."""

    __slots__ = ("defaults", "heads", "lines", "special")

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        self.lines: Memory[tuple[bytes, bytes], bytes] = Memory()
        self.special: Memory[tuple[bytes, bytes], tuple[int, bytes, int]] = Memory()
        """Meaning, line and number of the fields that mean something to the connection."""
        self.heads: Memory[tuple[int, tuple[Field, ...]], tuple[bytes, int, bool]] = Memory(
            REMEMBERED_HEADS
        )

    def whole(
        self, request: Request, status: int, headers: Fields, data: bytes, persistent: bool
    ) -> tuple[bytes, bytes, bool]:
        """Head and content of a response, and whether the connection goes on after it.

        Raises ApplicationError for fields that cannot be sent, or a length that is not true.
        """
        fields: tuple[Any, ...] = tuple(headers)
        try:
            known = self.heads.young.get((status, fields))
        except TypeError:  # lists instead of tuples
            fields = tuple((name, value) for name, value in fields)
            known = self.heads.young.get((status, fields))
        head, length, plain = known or self._head(status, fields)
        if plain and persistent and request.method != "HEAD" and request.version == "1.1":
            if length == len(data):
                return head + self.defaults.ending, data, True
            if length == NO_LENGTH:
                head += b"content-length: %d\r\n" % len(data)
                return head + self.defaults.ending, data, True

        head, framing = self.begin(request, status, fields, len(data), persistent)
        if framing.silent:
            data = b""
        elif framing.remaining is not None and framing.remaining < len(data):
            log.error(TOO_LONG)
            data = data[: framing.remaining]
        return head, data, framing.persistent

    def _head(self, status: int, fields: tuple[Field, ...]) -> tuple[bytes, int, bool]:
        """Lines and Content-Length of a head, and whether it asks for nothing in particular.

        It is remembered whole only if all its lines were known: others are rarely the same twice.
        """
        if known := self.heads.recall((status, fields)):
            return known
        lines, length, said, familiar = self._lines(status, fields)
        plain = not said and status not in BODILESS
        result = b"".join(lines), length, plain
        if familiar and plain:
            self.heads.keep((status, fields), result)
        return result

    def begin(
        self, request: Request, status: int, headers: Fields, size: int | None, persistent: bool
    ) -> tuple[bytes, Framing]:
        """A response head; `size` is that of the content, None where it is not known yet.

        Raises ApplicationError for fields that cannot be sent, or a length that is not true.
        """
        lines, length, said, _ = self._lines(status, headers)
        persistent = persistent and not said & CLOSE
        chunked = False
        silent = request.method == "HEAD" or status in BODILESS
        if silent:
            if status in (204, 205):  # RFC9110§8.6, §15.3.6: none in a 204, zero in a 205
                lines = [line for line in lines if not line.startswith(b"content-length:")]
            if status == 205:
                lines.append(b"content-length: 0\r\n")
            length = NO_LENGTH
        elif length != NO_LENGTH:
            if size is not None and size < length:
                raise ApplicationError(f"Content-Length is {length}, the content has {size}")
        elif size is not None:
            lines.append(b"content-length: %d\r\n" % size)
            length = size
        elif request.version == "1.1":
            lines.append(b"transfer-encoding: chunked\r\n")
            chunked = True
        else:
            persistent = False  # RFC9112§6.3: the end of the connection ends the content
        if not persistent:
            lines.append(CLOSE_LINE)
        elif request.version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        defaults = self.defaults
        if said & (DATE | SERVER):
            lines.append(defaults.beside(date=bool(said & DATE), server=bool(said & SERVER)))
            lines.append(b"\r\n")
        else:
            lines.append(defaults.ending)
        remaining = None if length == NO_LENGTH else length
        return b"".join(lines), Framing(
            remaining, chunked=chunked, persistent=persistent, silent=silent
        )

    def _lines(self, status: int, headers: Fields) -> tuple[list[bytes], int, int, bool]:
        """The application's part of a head, its Content-Length, and what else its fields say.

        Last, whether all of its fields were known.
        """
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length = NO_LENGTH
        said = 0
        familiar = True
        known = self.lines.young
        special = self.special.young
        for name, value in headers:
            if (line := known.get((name, value))) is None:
                if (entry := special.get((name, value))) is None:
                    entry = self._unknown(name, value)
                    familiar = False
                meaning, line, number = entry
                if meaning == LENGTH:
                    if length != NO_LENGTH:
                        raise ApplicationError("more than one Content-Length")
                    length = number
                else:
                    said |= meaning
            lines.append(line)
        return lines, length, said, familiar

    def _unknown(self, name: bytes, value: bytes) -> tuple[int, bytes, int]:
        """Meaning, line and number of a field that is not remembered as young."""
        key = (name, value)
        if entry := self.special.recall(key):
            return entry
        if known := self.lines.recall(key):
            return ORDINARY, known, 0
        lower, stripped = response_field(name, value)
        line = b"%b: %b\r\n" % (lower, stripped)
        meaning = MEANINGS.get(lower, ORDINARY)
        number = 0
        if lower in OURS:
            meaning = CLOSE if lower == b"connection" and b"close" in stripped.lower() else ORDINARY
            line = b""
        elif meaning == LENGTH:
            if (length := content_length(stripped)) is None:
                raise ApplicationError(f"Content-Length is not a number: {value!r}")
            number = length
        if len(name) + len(value) < REMEMBERED_LENGTH:
            if meaning == ORDINARY:
                self.lines.keep(key, line)
            else:
                self.special.keep(key, (meaning, line, number))
        return meaning, line, number

    def informational(self, status: int, headers: Fields) -> bytes:
        """An interim response (RFC9110§15.2). Raises ApplicationError."""
        return (STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status) + self.section(headers)

    def section(self, headers: Fields) -> bytes:
        """Fields and the empty line after them, none of which delimits content."""
        lines = []
        for name, value in headers:
            lower, stripped = response_field(name, value)
            if lower not in MEANINGS and lower not in OURS:
                lines.append(b"%b: %b\r\n" % (lower, stripped))
        lines.append(b"\r\n")
        return b"".join(lines)

    def switching(self, protocol: str, headers: Fields) -> bytes:
        """The head that ends HTTP/1.1 on this connection (RFC9110§15.2.2)."""
        upgrade = b"connection: upgrade\r\nupgrade: %b\r\n" % protocol.encode("latin-1")
        return STATUS_LINES[101] + upgrade + self.section(headers)

    def error(self, status: int, *, content: bool = True) -> bytes:
        """A whole response of the server's own, after which the connection closes."""
        line = STATUS_LINES[status]
        text = line[len(b"HTTP/1.1 ") : -2] + b"\n"
        length = b"content-length: %d\r\n" % len(text)
        head = line + b"content-type: text/plain\r\n" + length + CLOSE_LINE + self.defaults.ending
        return head + (text if content else b"")
