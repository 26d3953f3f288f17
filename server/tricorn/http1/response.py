"""Response heads on HTTP/1.1: status line, field lines, and how the content is delimited."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

from tricorn.connection import ApplicationError, Fields, Request
from tricorn.fields import REMEMBERED_LENGTH, Defaults, Memory, content_length, response_field

# RFC9112§4: the reason phrase is ours; no text of the application's gets into the status line.
STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
BODILESS = frozenset((204, 304))


class Meaning(Enum):
    """What a field of the application's means to the connection."""

    LENGTH = 1
    CLOSE = 2
    DATE = 3
    SERVER = 4
    OURS = 5  # RFC9112§6.1: how the content is delimited is for the connection to say


MEANINGS = {
    b"content-length": Meaning.LENGTH,
    b"connection": Meaning.OURS,
    b"keep-alive": Meaning.OURS,
    b"transfer-encoding": Meaning.OURS,
    b"upgrade": Meaning.OURS,
    b"date": Meaning.DATE,
    b"server": Meaning.SERVER,
}


class ResponseHead:
    """A response head, and what it says about the content that follows."""

    __slots__ = ("chunked", "data", "persistent", "remaining", "silent")

    def __init__(
        self, data: bytes, remaining: int | None, *, chunked: bool, persistent: bool, silent: bool
    ) -> None:
        self.data = data
        self.remaining = remaining
        """Octets of content that a declared Content-Length still asks for."""
        self.chunked = chunked
        self.persistent = persistent
        self.silent = silent
        """There is no content, whatever the application sends (RFC9110§6.4.1)."""


class ResponseHeads:
    """Makes response heads; remembers their lines, for all connections of a worker."""

    __slots__ = ("defaults", "lines", "special")

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        self.lines: Memory[tuple[bytes, bytes], bytes] = Memory()
        self.special: Memory[tuple[bytes, bytes], tuple[Meaning, bytes, int]] = Memory()

    def make(
        self, request: Request, status: int, headers: Fields, whole: int | None, persistent: bool
    ) -> ResponseHead:
        """The head of a response whose content has `whole` octets, None if that is not known.

        Raises ApplicationError for fields that cannot be sent, or a length that is not true.
        """
        known = self.lines.young
        length: int | None = None
        date = server = False
        head = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            line = known.get((name, value))
            if line is None:
                meaning, line, number = self._unknown(name, value)
                if meaning is Meaning.LENGTH:
                    if length is not None:
                        raise ApplicationError("more than one Content-Length")
                    length = number
                elif meaning is Meaning.CLOSE:
                    persistent = False
                elif meaning is Meaning.DATE:
                    date = True
                elif meaning is Meaning.SERVER:
                    server = True
            head.append(line)

        chunked = False
        silent = request.method == "HEAD" or status in BODILESS
        if silent:
            if status == 204 and length is not None:  # RFC9110§8.6: no Content-Length in a 204
                head = [line for line in head if not line.startswith(b"content-length:")]
            length = None
        elif length is not None:
            if whole is not None and whole < length:
                raise ApplicationError(f"Content-Length is {length}, the content has {whole}")
        elif whole is not None:
            head.append(b"content-length: %d\r\n" % whole)
            length = whole
        elif request.version == "1.1":
            head.append(CHUNKED)
            chunked = True
        else:
            persistent = False  # RFC9112§6.3: the end of the connection ends the content
        if not persistent:
            head.append(CLOSE)
        elif request.version == "1.0":
            head.append(KEEP_ALIVE)
        defaults = self.defaults
        head.append(
            defaults.beside(date=date, server=server) if date or server else defaults.lines
        )
        head.append(b"\r\n")
        return ResponseHead(
            b"".join(head), length, chunked=chunked, persistent=persistent, silent=silent
        )

    def _unknown(self, name: bytes, value: bytes) -> tuple[Meaning | None, bytes, int]:
        """What a field that is not among the young lines means, its line, and its number."""
        key = (name, value)
        if entry := self.special.young.get(key) or self.special.recall(key):
            return entry
        if line := self.lines.recall(key):
            return None, line, 0
        lower, stripped = response_field(name, value)
        line = b"%b: %b\r\n" % (lower, stripped)
        meaning = MEANINGS.get(lower)
        if meaning is None:
            if len(line) < REMEMBERED_LENGTH:
                self.lines.keep(key, line)
            return None, line, 0
        number = 0
        if meaning is Meaning.LENGTH:
            if (length := content_length(stripped)) is None:
                raise ApplicationError(f"Content-Length is not a number: {value!r}")
            number = length
        elif meaning is Meaning.OURS:
            line = b""
            if lower == b"connection" and b"close" in stripped.lower():
                meaning = Meaning.CLOSE
        if len(value) < REMEMBERED_LENGTH:
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
            if lower not in MEANINGS:
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
        head = line + b"content-type: text/plain\r\n" + length + CLOSE + self.defaults.lines
        return head + b"\r\n" + (text if content else b"")
