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
# The last group begins at the first `%` or `?`: all before it is path, and needs no decoding.
request_line = re.compile(rb"(%b++) (/[!\"$&->@-~]*+)([!\"$-~]*+) HTTP/1\.1" % TOKEN).fullmatch

# What a line means to the connection.
ORDINARY, HOST, LENGTH, CLOSE = range(4)

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
        self.special: Memory[bytes, tuple[int, Field, int]] = Memory()
        """Meaning, field and number of the lines that mean something to the connection."""
        self.whole: Memory[bytes, Request] = Memory(REMEMBERED_HEADS)

    def parse(self, head: bytes) -> Request | None:
        """The request of a head, empty line included, or None for one that is not ordinary."""
        lines = head[:-4].split(b"\r\n")
        first = lines.pop(0)
        match = request_line(first)
        limits = self.limits
        if match is None or len(lines) > limits.fields or len(first) > limits.line:
            return None
        name, target, rest = match.groups()
        if (method := METHODS.get(name)) is None:
            return None

        known = self.lines.young
        special = self.special.young
        headers: list[Field] = []
        authority: bytes | None = None
        length: int | None = None
        persistent = familiar = True
        for line in lines:
            if (field := known.get(line)) is None:
                if (entry := special.get(line)) is None:
                    if (entry := self._unknown(line)) is None:
                        return None
                    familiar = False
                meaning, field, number = entry
                if meaning == HOST:
                    if authority is not None:
                        return None
                    authority = field[1]
                elif meaning == LENGTH:
                    if length is not None:
                        return None
                    length = number
                elif meaning == CLOSE:
                    persistent = False
            headers.append(field)

        if authority is None or (length and 0 < limits.body < length):
            return None
        if rest:
            target += rest
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

    def _unknown(self, line: bytes) -> tuple[int, Field, int] | None:
        """Meaning, field and number of a line that is not remembered as young.

        None for a line that the guard has to judge.
        """
        lines = self.lines
        if line in lines.old and (known := lines.recall(line)):
            return ORDINARY, known, 0
        match = field_line(line)
        if match is None or len(line) > self.limits.line:
            return None
        name, value = match.groups()
        name = name.lower()
        if b"_" in name and not self.limits.underscores:
            return None
        field = (name, value.rstrip(b" \t"))
        if name in SPECIAL:
            return self.special.recall(line) or self._special(line, field)
        if len(line) < REMEMBERED_LENGTH and name not in VOLATILE:
            lines.keep(line, field)
        return ORDINARY, field, 0

    def _special(self, line: bytes, field: Field) -> tuple[int, Field, int] | None:
        name, value = field
        number = 0
        if name == b"host":
            if not valid_authority(value) or self.limits.misdirected(value):
                return None
            meaning = HOST
        elif name == b"content-length":
            if (length := content_length(value)) is None:
                return None
            meaning, number = LENGTH, length
        elif name == b"connection" and (option := value.lower()) in (b"close", b"keep-alive"):
            # HTTP/1.1 keeps the connection anyway: to say so means nothing.
            meaning = CLOSE if option == b"close" else ORDINARY
        else:
            return None
        if len(line) < REMEMBERED_LENGTH:
            if meaning == ORDINARY:
                self.lines.keep(line, field)
            else:
                self.special.keep(line, (meaning, field, number))
        return meaning, field, number
