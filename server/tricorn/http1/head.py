"""Takes the ordinary request head apart, quickly; leaves every other one to `guard`.

Ordinary is: a well-known method, origin-form, HTTP/1.1, exactly one valid Host, no
Transfer-Encoding, Upgrade, Expect or TE, at most one all-digit Content-Length, Connection absent,
keep-alive or close. Whatever is accepted here h11 accepts too, with the same result; a property
test proves it. Lines are validated once and then remembered, and so are whole heads whose lines
were all known: a health check or a polling client costs one look-up.
"""

from __future__ import annotations

import re

from tricorn.connection import Field, Request
from tricorn.fields import (
    REMEMBERED_LENGTH,
    TOKEN,
    Memory,
    content_length,
    field_line,
    valid_authority,
)
from tricorn.target import METHODS, Limits, split_target

# RFC9112§3: one space between the parts. `#` never belongs into a request target (RFC9112§3.2).
request_line = re.compile(rb"(%b++) (/[!\"$-~]*+) HTTP/1\.1" % TOKEN).fullmatch

SPECIAL = frozenset(
    b"host content-length connection transfer-encoding upgrade expect te http2-settings".split()
)
"""Fields that say how to frame or route; from the fourth on, a head with them is not ordinary."""
VOLATILE = frozenset(
    b"x-request-id x-correlation-id x-amzn-trace-id x-cloud-trace-context traceparent "
    b"cf-ray".split()
)
"""Fields that are made for one request: not worth remembering."""

REMEMBERED_HEADS = 256
REMEMBERED_HEAD = 1024
"""Octets up to which a whole head is remembered: at most half a megabyte in all."""


class Heads:
    """The fast parser, with what it remembers; one for all connections of a worker."""

    __slots__ = ("limits", "lines", "special", "whole")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.lines: Memory[bytes, Field] = Memory()
        self.special: Memory[bytes, Field] = Memory()
        """Lines that say how to frame or route: Host, Content-Length, Connection: close."""
        self.whole: Memory[bytes, Request] = Memory(REMEMBERED_HEADS)

    def parse(self, head: bytes) -> Request | None:
        """The request of a head, empty line included, or None for one that is not ordinary."""
        lines = head[:-4].split(b"\r\n")
        first = lines.pop(0)
        match = request_line(first)
        limits = self.limits
        if match is None or len(lines) > limits.fields or len(first) > limits.line:
            return None
        name, target = match.groups()
        if (method := METHODS.get(name)) is None:
            return None

        known = self.lines.young
        older = self.lines.old
        special = self.special.young
        headers: list[Field] = []
        authority: bytes | None = None
        length: int | None = None
        persistent = familiar = True
        for line in lines:
            if (field := known.get(line)) is None:
                if (field := special.get(line)) is None:
                    if (field := older.get(line)) is not None:
                        self.lines.keep(line, field)
                        headers.append(field)
                        continue
                    if (field := self._unknown(line)) is None:
                        return None
                    familiar = False
                name, value = field
                if name in SPECIAL:
                    if name == b"host" and authority is None:
                        authority = value
                    elif name == b"content-length" and length is None:
                        length = int(value)
                    elif name == b"connection":
                        persistent = persistent and value.lower() != b"close"
                    else:
                        return None
            headers.append(field)

        if authority is None or (length and 0 < limits.body < length):
            return None
        if b"%" in target or b"?" in target:
            path, raw_path, query = split_target(target)
        else:
            path, raw_path, query = target.decode("ascii"), target, b""
        request = Request(
            "1.1",
            method,
            target,
            authority,
            path,
            raw_path,
            query,
            tuple(headers),
            length or 0,
            persistent,
        )
        if familiar and len(head) <= REMEMBERED_HEAD:
            request.remembered = True
            self.whole.keep(head, request)
        return request

    def _unknown(self, line: bytes) -> Field | None:
        """The field of a line that is not remembered as ordinary; None for the guard's."""
        match = field_line(line)
        if match is None or len(line) > self.limits.line:
            return None
        name = match[1].lower()
        field = (name, match[2].rstrip(b" \t"))
        if name in SPECIAL:
            return self.special.recall(line) or self._special(line, field)
        if len(line) < REMEMBERED_LENGTH and name not in VOLATILE:
            self.lines.keep(line, field)
        return field

    def _special(self, line: bytes, field: Field) -> Field | None:
        name, value = field
        memory = self.special
        if name == b"host":
            if not valid_authority(value) or self.limits.misdirected(value):
                return None
        elif name == b"content-length":
            if content_length(value) is None:
                return None
        elif name == b"connection":
            if (option := value.lower()) == b"keep-alive":
                memory = self.lines  # HTTP/1.1 does so anyway: it means nothing
            elif option != b"close":
                return None
        else:
            return None
        if len(line) < REMEMBERED_LENGTH:
            memory.keep(line, field)
        return field
