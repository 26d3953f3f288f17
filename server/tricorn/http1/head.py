"""Takes the ordinary request head apart, quickly; leaves every other one to `guard`.

Ordinary is: a well-known method, origin-form, HTTP/1.1, exactly one valid Host, no
Transfer-Encoding, Upgrade, Expect or TE, at most one all-digit Content-Length, Connection absent,
keep-alive or close. Whatever is accepted here h11 accepts too, with the same result; a property
test proves it. Lines are validated once and then remembered, and so are whole heads whose lines
were all known: a health check or a polling client costs one look-up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tricorn.connection import Field, Request
from tricorn.fields import (
    REMEMBERED_LENGTH,
    TOKEN,
    Memory,
    content_length,
    field_line,
    valid_authority,
)

# RFC9112§3: one space between the parts. `#` never belongs into a request target (RFC9112§3.2).
request_line = re.compile(rb"(%b++) (/[!\"$-~]*+) HTTP/1\.1" % TOKEN).fullmatch

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
}
"""CONNECT and TRACE, and what nobody has heard of, are not ordinary."""

ELSEWHERE = frozenset((b"transfer-encoding", b"upgrade", b"expect", b"te", b"http2-settings"))
"""Fields that change what a message means; heads with them are not ordinary."""

REMEMBERED_HEADS = 256
REMEMBERED_HEAD = 1024
"""Octets up to which a whole head is remembered: at most half a megabyte in all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request head may be, in octets and numbers."""

    line: int = 8 * 1024  # nginx 4 x 8k
    fields: int = 100  # Apache, h2o, gunicorn 100
    head: int = 32 * 1024  # nginx 33k, node 16k, Go 1M
    body: int = 0


class Heads:
    """The fast parser, with what it remembers; one for all connections of a worker."""

    __slots__ = ("limits", "lines", "special", "whole")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.lines: Memory[bytes, Field] = Memory()
        self.special: Memory[bytes, Field] = Memory()
        """Lines that say how to frame or route: Host, Content-Length, Connection: close."""
        self.whole: Memory[bytes, Request] = Memory(REMEMBERED_HEADS)

    def parse(self, data: bytes, end: int) -> Request | None:
        """The request whose head is `data[:end]`, or None for one that is not ordinary.

        The empty line that ends the head starts at `end`.
        """
        lines = data[:end].split(b"\r\n")
        match = request_line(lines[0])
        if match is None or len(lines) > self.limits.fields + 1:
            return None
        method, target = match.groups()
        if method not in METHODS or len(lines[0]) > self.limits.line:
            return None
        del lines[0]

        known = self.lines.young
        special = self.special.young
        headers: list[Field] = []
        authority: bytes | None = None
        length: int | None = None
        persistent = familiar = True
        for line in lines:
            if (field := known.get(line)) is None:
                if (field := special.get(line)) is None:
                    if (field := self._unknown(line)) is None:
                        return None
                    familiar = False
                name, value = field
                if name == b"host":
                    if authority is not None:
                        return None
                    authority = value
                elif name == b"content-length":
                    if length is not None:
                        return None
                    length = int(value)
                elif name == b"connection":
                    persistent = persistent and value.lower() == b"keep-alive"
            headers.append(field)

        if authority is None or (self.limits.body and length and length > self.limits.body):
            return None
        request = Request(
            "1.1",
            METHODS[method],
            target,
            authority,
            *split_target(target),
            tuple(headers),
            length or 0,
            persistent,
        )
        if familiar and end + 4 == len(data) <= REMEMBERED_HEAD and not length:
            request.remembered = True
            self.whole.keep(data, request)
        return request

    def _unknown(self, line: bytes) -> Field | None:
        """The field of a line that is in neither young memory; None if it is not ordinary."""
        if (field := self.lines.recall(line) or self.special.recall(line)) is not None:
            return field
        match = field_line(line)
        if match is None or len(line) > self.limits.line:
            return None
        name = match[1].lower()
        value = match[2].rstrip(b" \t")
        memory = self.special
        if name in ELSEWHERE:
            return None
        if name == b"content-length":
            if content_length(value) is None:
                return None
        elif name == b"host":
            if not valid_authority(value):
                return None
        elif name == b"connection":
            if (option := value.lower()) == b"keep-alive":
                memory = self.lines  # HTTP/1.1 does so anyway: it changes nothing
            elif option != b"close":
                return None
        else:
            memory = self.lines
        if len(line) < REMEMBERED_LENGTH:
            memory.keep(line, (name, value))
        return name, value


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Path (decoded), path (raw) and query of a target in origin-form or asterisk-form."""
    path, _, query = target.partition(b"?")
    if b"%" in path:
        # ASGI wants text: what is not UTF-8 cannot be had as text, and stays visible in raw_path.
        return unquote_to_bytes(path).decode("utf-8", "replace"), path, query
    return path.decode("latin-1"), path, query
