"""The field section of HTTP/2 and HTTP/3 → Request; a response's fields → what may be sent there.

Each field has a kind, worked out once when it enters a compression table, so that a request made
of known fields is validated by looking at integers. What is malformed costs its stream
(RFC9113§8.1.1, RFC9114§4.1.2); what HTTP can say is refused with a status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tricorn.connection import ApplicationError, Broken, Field, Fields, Refused, Request
from tricorn.fields import (
    FORBIDDEN_TRAILERS,
    TOKEN,
    VALUE,
    content_length,
    response_field,
    valid_authority,
)
from tricorn.priorities import Priority, parse_priority
from tricorn.target import METHODS, Limits, origin_form, split_target

Entry = tuple[Field, int, int]
"""A field, its kind, and its size in a compression table."""

MALFORMED, ORDINARY = -1, 0
METHOD, SCHEME, AUTHORITY, PATH, ASTERISK, PROTOCOL = range(1, 7)
HOST, COOKIE, DROPPED = range(7, 10)
LENGTH, EXPECT, PRIORITY = range(10, 13)

PSEUDO = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":protocol": PROTOCOL,
}
SPECIAL = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"cookie": COOKIE,
    b"expect": EXPECT,
    b"priority": PRIORITY,
    b"http2-settings": DROPPED,  # RFC9113§3.2.1: it means something on HTTP/1.1 only
}
NO_HOST = (b"host", b"")
CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""RFC9113§8.2.2: what they would say is said in frames."""

# RFC9113§8.2.1: no upper case, beside what RFC9110§5.1 says.
lower_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++").fullmatch
# RFC9113§8.2.1: no white space around a value.
trimmed_value = re.compile(rb"(?![\t ])%b*+(?<![\t ])" % VALUE).fullmatch

VALID = {
    METHOD: re.compile(TOKEN + rb"++").fullmatch,
    SCHEME: re.compile(rb"(?i:https?)").fullmatch,
    # RFC9113§8.3.1: user information is deprecated, and no part of this.
    AUTHORITY: valid_authority,
    PATH: origin_form,
    PROTOCOL: re.compile(TOKEN + rb"++").fullmatch,
}


class Malformed(Broken):
    """A message that is none: its stream is reset, and no other (RFC9113§8.1.1)."""


def classify(name: bytes, value: bytes) -> int:
    """The kind of a field from the peer; MALFORMED for one that no request may have."""
    if name[:1] == b":":
        kind = PSEUDO.get(name, MALFORMED)
        if kind == PATH and value == b"*":
            return ASTERISK
        return kind if kind in VALID and VALID[kind](value) else MALFORMED
    if name in CONNECTION_SPECIFIC or not lower_name(name) or not trimmed_value(value):
        return MALFORMED
    if name == b"te":
        return ORDINARY if value == b"trailers" else MALFORMED
    return SPECIAL.get(name, ORDINARY)


def classifier(limits: Limits) -> Callable[[bytes, bytes], int]:
    """`classify`, for fields whose names may have underscores or not."""
    if limits.underscores:
        return classify

    def without_underscores(name: bytes, value: bytes) -> int:
        kind = classify(name, value)
        return DROPPED if kind == ORDINARY and b"_" in name else kind

    return without_underscores


def request_of(
    entries: Sequence[Entry],
    version: str,
    limits: Limits,
    upgrades: Collection[str | None],
    *,
    ended: bool,
) -> Request:
    """The request of a field section; `ended` if no content follows.

    `upgrades` are the protocols that extended CONNECT may ask for (RFC8441§4). Raises Malformed,
    and Refused for what can be answered with a status.
    """
    pseudo: list[bytes | None] = [None] * (PROTOCOL + 1)
    headers: list[Field] = [NO_HOST]
    special: list[tuple[bytes, int]] = []
    for entry, kind, _ in entries:
        if kind == ORDINARY:
            headers.append(entry)
        elif kind > PROTOCOL:
            special.append((entry[1], kind))
            if kind >= LENGTH:
                headers.append(entry)
        elif kind < 0 or pseudo[kind] is not None or special or len(headers) > 1:
            # RFC9113§8.3: pseudo-fields come once, and before all others.
            raise Malformed(f"a field that cannot be, or not here: {entry[0][:40]!r}")
        else:
            pseudo[kind] = entry[1]

    if len(entries) > limits.fields:
        regular = sum(kind > PROTOCOL or kind == ORDINARY for _, kind, _ in entries)
        if regular > limits.fields:
            raise Refused(431, f"more than {limits.fields} header fields")
    said = Said()
    if special:
        _listen(special, said, headers)
    _, method, scheme, authority, target, asterisk, protocol = pseudo
    if method is None:
        raise Malformed("no :method")
    name = None
    if protocol is not None or method == b"CONNECT":
        name = _tunnel(pseudo, upgrades, ended=ended)
    if asterisk is not None and target is None and method == b"OPTIONS":
        target = asterisk  # RFC9113§8.3.1
    elif target is None or asterisk is not None:
        raise Malformed("no :path that fits :method")
    if scheme is None:
        raise Malformed("no :scheme")
    if len(target) > limits.line:
        raise Refused(414, f"the request target is longer than {limits.line} octets")
    length = _length(said.length, limits, ended=ended)
    if authority is None or said.host is not None or limits.names:
        authority = _authority(authority, said.host, limits)
    headers[0] = (b"host", authority)  # ASGI: :authority takes the place of Host
    return Request(
        version,
        METHODS.get(method) or method.decode("ascii"),
        target,
        authority,
        *split_target(target),
        tuple(headers),
        length,
        True,
        name,
        said.expects and not ended,
        True,
        said.priority,
    )


def with_target(request: Request, target: bytes, limits: Limits) -> Request | None:
    """The same request for another target; None unless it is an ordinary one."""
    if origin_form(target) is None or len(target) > limits.line:
        return None
    return Request(
        request.version,
        request.method,
        target,
        request.authority,
        *split_target(target),
        request.headers,
        request.length,
        request.persistent,
        None,
        request.expects,
        request.accepts_trailers,
        request.priority,
    )


@dataclass(slots=True)
class Said:
    """What the fields say that frame or route a request."""

    host: bytes | None = None
    length: bytes | None = None
    expects: bool = False
    priority: Priority | None = None


def _listen(special: list[tuple[bytes, int]], said: Said, headers: list[Field]) -> None:
    cookies = []
    for value, kind in special:
        if kind == COOKIE:
            cookies.append(value)
        elif kind == PRIORITY:
            said.priority = parse_priority(value)
        elif kind == LENGTH:
            if said.length is not None:
                raise Malformed("more than one Content-Length")
            said.length = value
        elif kind == HOST:
            if said.host is not None:
                raise Malformed("more than one Host")
            said.host = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise Refused(417, "no expectation but 100-continue is known here")
            said.expects = True
    if cookies:
        # RFC9113§8.2.3: crumbs are joined before anything else sees them.
        headers.append((b"cookie", b"; ".join(cookies)))


def _length(value: bytes | None, limits: Limits, *, ended: bool) -> int | None:
    """The size of the content, None where only its end will tell (RFC9113§8.1.1)."""
    if value is None:
        return 0 if ended else None
    if not value.isdigit():
        raise Malformed("malformed Content-Length")
    length = content_length(value)
    if length is None or 0 < limits.body < length:
        raise Refused(413, "the body would be too large")
    if ended and length:
        raise Malformed("Content-Length announces content that does not come")
    return length


def _tunnel(pseudo: list[bytes | None], upgrades: Collection[str | None], *, ended: bool) -> str:
    """What an extended CONNECT asks for (RFC8441§4)."""
    protocol = pseudo[PROTOCOL]
    if protocol is None:
        # RFC9113§8.5: a plain CONNECT names no scheme and no path; and we are no proxy.
        if pseudo[SCHEME] is not None or pseudo[PATH] is not None:
            raise Malformed("CONNECT with :scheme or :path")
        raise Refused(501, "this server is no proxy")
    if pseudo[METHOD] != b"CONNECT" or not any(upgrades):
        # RFC8441§3: nobody may send :protocol to a server that has not announced it.
        raise Malformed(":protocol without extended CONNECT")
    if (name := protocol.decode("latin-1")) not in upgrades:
        raise Refused(501, "that protocol is not spoken here")
    if ended:
        raise Malformed("a tunnel that ends before it begins")
    return name


def _authority(authority: bytes | None, host: bytes | None, limits: Limits) -> bytes:
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        # RFC9113§8.3.1: one of the two would mislead somebody behind us.
        raise Malformed(":authority and Host differ")
    if not authority or not valid_authority(authority):
        raise Refused(400, "no valid :authority")
    if limits.misdirected(authority):
        raise Refused(421, "this server does not answer for that host")  # RFC9110§15.5.20
    return authority


def trailers_of(entries: Iterable[Entry]) -> list[Field]:
    """The fields of a request's trailer section. Raises Malformed."""
    fields = []
    for (name, value), kind, _ in entries:
        # RFC9113§8.1: no pseudo-fields; RFC9110§6.5.1: nothing that frames, routes or identifies.
        if kind == MALFORMED or name[:1] == b":" or name in FORBIDDEN_TRAILERS:
            raise Malformed(f"a trailer that cannot be: {name[:40]!r}")
        fields.append((name, value))
    return fields


DATE, SERVER = 1, 2
"""Fields that the server adds unless the application has said them itself."""
SAID = {b"date": DATE, b"server": SERVER}


@dataclass(frozen=True, slots=True)
class Section:
    """The fields of a response as they may be sent."""

    fields: tuple[Field, ...]
    length: int | None = None
    """Content-Length."""
    said: int = 0
    """Those of DATE and SERVER that are among them."""
    priority: bytes | None = None


def response_section(headers: Fields) -> Section:
    """Checks the fields of a response. Raises ApplicationError.

    What HTTP/1.1 says about its connection is left out (RFC9113§8.2.2, RFC9114§4.2).
    """
    fields: list[Field] = []
    length: int | None = None
    said = 0
    priority: bytes | None = None
    for name, value in headers:
        lower, stripped = each = response_field(name, value)
        if lower in CONNECTION_SPECIFIC or lower == b"te":
            continue
        if lower == b"content-length":
            if length is not None:
                raise ApplicationError("more than one Content-Length")
            if (length := content_length(stripped)) is None:
                raise ApplicationError(f"Content-Length is not a number: {value!r}")
        elif lower == b"priority":
            priority = stripped
        said |= SAID.get(lower, 0)
        fields.append(each)
    return Section(tuple(fields), length, said, priority)


def trailer_section(headers: Fields) -> list[Field]:
    """What may be sent of the trailers of a response. Raises ApplicationError.

    What frames the content, or is the server's to say, comes too late there (RFC9110§6.5.1).
    """
    fields = response_section(headers).fields
    return [each for each in fields if each[0] != b"content-length" and each[0] not in SAID]
