"""What stands in front of h11: it refuses what h11 0.16 would let through, then asks h11.

h11 accepts Content-Length beside Transfer-Encoding, folded lines, bare line feeds, control
characters, versions up to 9.9 and a head of any size that arrives at once; each of these is read
differently by some other program in front of us, which is how requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import h11

from tricorn.connection import Field, Refused, Request
from tricorn.fields import TOKEN, content_length, field_line, valid_authority
from tricorn.target import Limits, split_target, valid_target

request_line = re.compile(rb"(%b++) ([!-~]++) HTTP/([0-9])\.([0-9])" % TOKEN).fullmatch
absolute_form = re.compile(rb"(?i:https?)://([^/?#]*+)([!\"$-~]*+)").fullmatch
token = re.compile(TOKEN).match
# RFC7540§3.2.1: six octets a setting, so four characters for three of them.
base64url = re.compile(rb"(?:[A-Za-z0-9_\-]{8})*+").fullmatch
coding_list = re.compile(rb"[\t ]*+%b++(?:[\t ]*+,[\t ]*+%b++)*+[\t ]*+" % (TOKEN, TOKEN)).fullmatch


H2C = "h2c"
"""What a request upgrades to that wants HTTP/2 without TLS (RFC7540§3.2)."""


class Beginning:
    """A head that is not whole yet; refused as soon as it cannot become a good one.

    It may come octet by octet, so only what is new is looked at. Raises Refused.
    """

    __slots__ = ("data", "limits")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = bytearray(data)
        self.limits = limits
        if data not in (b"", b"\r") and not token(data, 0, 1):
            # RFC9112§2.2: anything else, a TLS record for instance, is no request.
            raise Refused(400, "not an HTTP request (is it TLS?)")
        self._judge(0)

    def add(self, data: bytes) -> bool:
        """Takes more; whether the head may be whole now, to be read from the start."""
        known = len(self.data)
        self.data += data
        if known < 2 or self.data.find(b"\r\n\r\n", max(0, known - 3)) >= 0:
            return True
        self._judge(known)
        return False

    def _judge(self, known: int) -> None:
        data, limits = self.data, self.limits
        if len(data) > limits.head + len(b"\r\n\r"):
            raise Refused(431, f"the request head is longer than {limits.head} octets")
        most = limits.line + len(b"\r\n")
        if known < most <= len(data) and data.find(b"\r\n", 0, most) < 0:
            raise Refused(414, f"the request line is longer than {limits.line} octets")
        if data.count(b"\n", known) != data.count(b"\r\n", max(0, known - 1)):
            raise Refused(400, "a line ends without CR")  # RFC9112§2.2


def guarded(head: bytes, limits: Limits, upgrades: Collection[str | None]) -> Request:
    """The request of a whole head, without the empty line that ends it.

    `upgrades` are the protocols that a request may upgrade to. Raises Refused.
    """
    lines = head.split(b"\r\n")
    method, target, version = _check_request_line(lines[0], limits)
    fields = _check_fields(lines[1:], limits)
    authority = _check_host(fields, version)
    length = _check_framing(fields, version, limits)
    if match := absolute_form(target):
        target = _rest(match[2], method)
        # RFC9112§3.2.2: the target's authority wins; where they differ, somebody is misled.
        if not valid_authority(match[1]) or (authority or match[1]).lower() != match[1].lower():
            raise Refused(400, "the request target and Host differ")
        if authority == b"" and version == "1.1":
            raise Refused(400, "an empty Host with a request target that has an authority")
        authority = match[1]
    else:
        _check_target(target, method)
    if limits.misdirected(authority or b""):
        raise Refused(421, "this server does not answer for that host")  # RFC9110§15.5.20

    event = _ask_h11(head)
    options = _tokens(fields, b"connection")
    protocol = _check_upgrade(fields, options, method, version, length, upgrades)
    if version == "1.0":
        persistent = b"keep-alive" in options and b"close" not in options
    else:
        # The refusal of an upgrade is the last answer: the client may speak the other protocol.
        persistent = b"close" not in options and protocol is None
    return Request(
        version,
        event.method.decode("ascii"),
        target,
        authority or b"",
        *split_target(target),
        tuple(event.headers) if limits.underscores else _without_underscores(event.headers),
        length,
        persistent,
        protocol,
        _check_expect(fields, version),
        b"trailers" in _tokens(fields, b"te"),
    )


def _without_underscores(headers: Iterable[Field]) -> tuple[Field, ...]:
    """CVE-2015-0219: a proxy removes X-Forwarded-For of its clients, and not X_Forwarded_For."""
    return tuple(field for field in headers if b"_" not in field[0])


def _check_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, str]:
    if len(line) > limits.line:
        raise Refused(414, f"the request line is longer than {limits.line} octets")
    match = request_line(line)
    if match is None or line == b"PRI * HTTP/2.0":
        raise Refused(400, "malformed request line")
    if match[3] != b"1" or match[4] not in b"01":
        # RFC9110§2.5 would let us treat 1.2 as 1.1; nobody sends it who means well.
        raise Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    return match[1], match[2], "1." + match[4].decode()


def _check_fields(lines: list[bytes], limits: Limits) -> list[Field]:
    if len(lines) > limits.fields:
        raise Refused(431, f"more than {limits.fields} header fields")
    fields = []
    for line in lines:
        if len(line) > limits.line:
            raise Refused(431, f"a header field is longer than {limits.line} octets")
        match = field_line(line)
        if match is None:
            # RFC9112§5.1, §5.2: no space before the colon, no folded line, no bare CR or LF.
            raise Refused(400, "malformed header field")
        fields.append((match[1].lower(), match[2].rstrip(b" \t")))
    return fields


def _check_host(fields: list[Field], version: str) -> bytes | None:
    """RFC9112§3.2: one Host, and a valid one; HTTP/1.0 may leave it out."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise Refused(400, "Host is missing or there is more than one")
    if hosts and hosts[0] and not valid_authority(hosts[0]):
        raise Refused(400, "invalid Host")
    return hosts[0] if hosts else None


def _check_framing(fields: list[Field], version: str, limits: Limits) -> int | None:
    """The length of the body, None where it is chunked (RFC9112§6)."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if lengths:
            raise Refused(400, "Content-Length beside Transfer-Encoding")  # RFC9112§6.1
        if version == "1.0":
            raise Refused(400, "Transfer-Encoding in HTTP/1.0")  # RFC9112§6.1
        if len(codings) > 1 or not coding_list(codings[0]):
            raise Refused(400, "malformed Transfer-Encoding")
        if codings[0].lower() != b"chunked":
            raise Refused(501, "no transfer coding but chunked is known here")
        return None
    if not lengths:
        return 0
    # RFC9110§8.6 allows to merge equal values; who sends two has something else in mind.
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise Refused(400, "malformed Content-Length")
    length = content_length(lengths[0])
    if length is None or 0 < limits.body < length:
        raise Refused(413, "the body would be too large")
    return length


def _check_target(target: bytes, method: bytes) -> None:
    """RFC9112§3.2: the form of the target has to fit the method."""
    if method == b"CONNECT":
        raise Refused(501, "this server is no proxy")
    if not valid_target(target, method):
        raise Refused(400, "malformed request target")


def _rest(rest: bytes, method: bytes) -> bytes:
    """Origin-form of what follows the authority of an absolute-form target."""
    if not rest and method == b"OPTIONS":
        return b"*"  # RFC9112§3.2.4
    if method == b"CONNECT":
        raise Refused(501, "this server is no proxy")
    return rest if rest.startswith(b"/") else b"/" + rest


def _check_expect(fields: list[Field], version: str) -> bool:
    expectations = [value.lower() for name, value in fields if name == b"expect"]
    if not expectations or version == "1.0":  # RFC9110§10.1.1: not for an HTTP/1.0 client
        return False
    if expectations != [b"100-continue"]:
        raise Refused(417, "no expectation but 100-continue is known here")
    return True


def _check_upgrade(
    fields: list[Field],
    options: list[bytes],
    method: bytes,
    version: str,
    length: int | None,
    upgrades: Collection[str | None],
) -> str | None:
    """What to upgrade to, None where the offer is to be ignored (RFC9110§7.8)."""
    if b"upgrade" not in options or version == "1.0":
        return None
    for protocol in _tokens(fields, b"upgrade"):
        if (name := protocol.decode("latin-1")) == H2C:
            if H2C in upgrades and length == 0 and _settings_come_with(fields, options):
                return H2C
        elif name in upgrades:
            if method != b"GET" or length != 0:
                # One reader would take what follows for the body, another for the new protocol.
                raise Refused(400, "an upgrade with a body")
            return name
    return None


def _settings_come_with(fields: list[Field], options: list[bytes]) -> bool:
    """Whether the client's settings are there, once, and meant for us (RFC7540§3.2.1).

    Named in Connection, or a proxy in front of us has passed on what it did not understand.
    """
    settings = [value for name, value in fields if name == b"http2-settings"]
    return b"http2-settings" in options and len(settings) == 1 and bool(base64url(settings[0]))


def _tokens(fields: list[Field], name: bytes) -> list[bytes]:
    return [
        token.strip(b" \t").lower()
        for field, value in fields
        if field == name
        for token in value.split(b",")
    ]


def _ask_h11(head: bytes) -> h11.Request:
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 4)
    try:
        peer.receive_data(head + b"\r\n\r\n")
        event = peer.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(error.error_status_hint, str(error)) from None
    if not isinstance(event, h11.Request):
        raise Refused(400, "incomplete request head")
    return event
