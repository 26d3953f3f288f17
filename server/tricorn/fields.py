"""Header fields on every protocol: what is valid, what is remembered, what is added to a response.

A field that was validated once is remembered with what it means, in a memory of two generations:
when the young one is full it becomes the old one, so what is in use survives and what was seen
once is forgotten. Fields that never repeat cost a look-up more, and no memory that grows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Generic, TypeVar

from tricorn.connection import ApplicationError, Field

TOO_LONG = "the application sent more than its Content-Length; the rest is cut off"

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED_LENGTH = 256
"""Octets up to which something is worth remembering; longer ones are rarely the same twice."""
REMEMBERED_LINES = 1024

BODILESS = frozenset((204, 205, 304))
"""Statuses whose responses have no content (RFC9110§15.3.5, §15.3.6, §15.4.5)."""

REPLACED = frozenset((b"date", b"server"))
"""Fields of ours that the application's own take the place of."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC9110§5.5: visible characters, space, tab and obs-text; no control character of any kind.
VALUE = rb"[\t\x20-\x7e\x80-\xff]"

valid_name = re.compile(TOKEN + rb"++").fullmatch
valid_value = re.compile(VALUE + rb"*+").fullmatch
field_line = re.compile(rb"(%b++):[ \t]*+(%b*+)" % (TOKEN, VALUE)).fullmatch
# RFC3986§3.2.2: reg-name or IPv4 address, or an IP-literal; then an optional port (RFC9110§7.2).
valid_authority = re.compile(
    rb"(?:(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]++\]|\[v[0-9A-Fa-f]++\.[0-9A-Za-z\-._~:]++\])"
    rb"(?::[0-9]{0,5}+)?+"
).fullmatch

# RFC9110§6.5.1: fields that say how to frame, route, authenticate or understand the message
# mean nothing, or harm, after its content.
FORBIDDEN_TRAILERS = frozenset(
    b"transfer-encoding content-length host trailer connection keep-alive proxy-connection te "
    b"upgrade expect content-encoding content-type content-range cache-control max-forwards "
    b"pragma range authorization proxy-authorization www-authenticate proxy-authenticate "
    b"set-cookie cookie age date expires location retry-after vary warning if-match if-none-match "
    b"if-modified-since if-unmodified-since if-range forwarded x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto x-forwarded-port x-forwarded-prefix x-real-ip early-data".split()
)


class Memory(Generic[K, V]):
    """Remembers up to twice `limit` results, dropping those that were not asked for lately.

    A hot loop reads `young` by itself and asks `recall` only for what is not there.
    """

    __slots__ = ("limit", "old", "young")

    def __init__(self, limit: int = REMEMBERED_LINES) -> None:
        self.limit = limit
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def recall(self, key: K) -> V | None:
        """What is known from the old generation; it is young again."""
        value = self.old.get(key)
        if value is not None:
            self.keep(key, value)
        return value

    def keep(self, key: K, value: V) -> None:
        young = self.young
        if len(young) >= self.limit:
            self.old = young.copy()
            # Emptied in place: a loop that is reading `young` goes on with the same dictionary.
            young.clear()
        young[key] = value


class Defaults:
    """The fields that the server adds to a response: Date, Server and what the operator asked for.

    Made once a second, not once a response (RFC9110§6.6.1).
    """

    __slots__ = (
        "_added",
        "_software",
        "date",
        "ending",
        "fields",
        "fixed",
        "server",
        "watchers",
        "without_date",
        "without_server",
    )

    def __init__(self, *, server: bool, date: bool, fixed: tuple[Field, ...] = ()) -> None:
        self.date = date
        self._software: tuple[Field, ...] = ((b"server", b"tricorn"),) if server else ()
        self._added = fixed
        self.fields = (*self._software, *fixed)
        """The same as fields, for versions that do not send lines."""
        self.server = b"server: tricorn\r\n" if server else b""
        self.fixed = b"".join(b"%b: %b\r\n" % field for field in fixed)
        self.watchers: list[Callable[[], None]] = []
        """Called after each `refresh`."""
        self.ending = self.without_date = self.without_server = b"\r\n"
        """All of the lines, and the empty line that ends a head."""

    def refresh(self, wall_clock: float) -> None:
        """To be called once a second with the seconds since 1970."""
        now = formatdate(wall_clock, usegmt=True).encode()
        dated = ((b"date", now),) if self.date else ()
        self.fields = (*dated, *self._software, *self._added)
        date = b"date: %b\r\n" % now if self.date else b""
        self.ending = date + self.server + self.fixed + b"\r\n"
        self.without_date = self.server + self.fixed
        self.without_server = date + self.fixed
        for watcher in self.watchers:
            watcher()

    def beside(self, *, date: bool, server: bool) -> bytes:
        """The lines for a response that brings its own Date or Server field."""
        if date and server:
            return self.fixed
        return self.without_date if date else self.without_server

    def missing(self, fields: Iterable[Field]) -> list[Field]:
        """What is to be added to a response with these fields, as fields."""
        own = {name for name, _ in fields if name in REPLACED}
        # The operator's fields come last, and are added to what the application brings.
        ours = len(self.fields) - len(self._added)
        return [each for at, each in enumerate(self.fields) if at >= ours or each[0] not in own]


def within_length(remaining: int, data: bytes, *, end: bool) -> tuple[bytes, int]:
    """What of `data` fits into a declared Content-Length, and how much is still to come (§8.6).

    Raises ApplicationError if it is the end, and some is missing.
    """
    left = remaining - len(data)
    if left < 0:
        log.error(TOO_LONG)
        data, left = data[:left], 0
    if end and left:
        raise ApplicationError(f"{left} octets of the declared Content-Length are missing")
    return data, left


def response_field(name: object, value: object) -> Field:
    """One field from an application, made fit to send (RFC9110§5.1, §5.5).

    Raises ApplicationError: a line break let through here would split the response.
    """
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ApplicationError(f"header names and values are bytes, not {name!r}: {value!r}")
    if not valid_name(name):
        raise ApplicationError(f"{name!r} is not a header name")
    value = value.strip(b" \t")
    if not valid_value(value):
        raise ApplicationError(f"the value of {name.decode()!r} has a control character: {value!r}")
    return name.lower(), value


def content_length(value: bytes) -> int | None:
    """The number in a Content-Length field, or None where it is none that can be trusted.

    RFC9110§8.6 wants digits only: int() would take a sign, underscores and other scripts' digits.
    """
    if value.isdigit() and len(value) <= 18:
        return int(value)
    return None
