"""Who a request comes from, by the fields that trusted proxies have added to it.

Each proxy adds, on the right, whom it was asked by. So the list is walked from the right, for as
long as whoever is named there is a proxy that we trust; the first who is not is the client, and
what stands further left is only what that client says. One dialect is read, never both: a proxy
that maintains one of them lets the other one pass as its client wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from tricorn.config import Config
from tricorn.connection import Endpoints, Field, Forwarding, Request
from tricorn.fields import valid_authority
from tricorn.net.trust import Trusted

MOST_HOPS = 32
"""Proxies that are looked at, from the right."""
SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}

Address = tuple[str, int]

# RFC7239§6, and what X-Forwarded-For has besides: an IPv6 address without brackets.
_node = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)"
).fullmatch
# RFC7239§4: `name=value`, the value a token or a quoted string.
_pair = re.compile(
    rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    rb'([!#$%&\'*+.^_`|~0-9A-Za-z-]++|"(?:[^"\\]|\\.)*+")[ \t]*(?:;|$)'
)
_escaped = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says: whom it was asked by, how, and for which host."""

    node: bytes
    scheme: bytes = b""
    host: bytes = b""


def forwarding(config: Config) -> Forwarding:
    """What finds the client of a request, in the dialect that is configured."""
    trusted = Trusted(config.forwarded_allow_ips)
    hops = _x_forwarded if config.proxy_headers == "x-forwarded" else _forwarded
    taken = frozenset(config.forwarded_fields)

    def look(request: Request, endpoints: Endpoints) -> tuple[Request, Endpoints]:
        peer = endpoints.client
        if not trusted.has(None if peer is None else peer[0]):
            return request, endpoints
        client, hop = _walk(hops(request.headers), trusted)
        if hop is None:
            return request, endpoints
        return (
            _for_host(request, hop.host) if "host" in taken else request,
            replace(
                endpoints,
                client=client if client and "for" in taken else peer,
                scheme=_scheme(hop, endpoints.scheme) if "proto" in taken else endpoints.scheme,
            ),
        )

    return look


def _walk(hops: Iterator[Hop], trusted: Trusted) -> tuple[Address | None, Hop | None]:
    """The client, and what was said of it by the proxy that it has asked."""
    client, last = None, None
    for _, hop in zip(range(MOST_HOPS), hops, strict=False):
        address = _address(hop.node)
        if address is None:
            # RFC7239§6.2, §6.3: unknown, or hidden. Nobody whom we know vouches for the rest.
            return client, last or hop
        client, last = address, hop
        if not trusted.has(address[0]):
            break
    return client, last


def _address(node: bytes) -> Address | None:
    match = _node(node)
    if match is None:
        return None
    six, four, port, bare = match.groups()
    try:
        host = str(ip_address((six or four or bare).decode("ascii")))
    except ValueError:
        return None
    number = int(port or 0)
    return (host, number) if number < 65536 else None


def _scheme(hop: Hop, otherwise: str) -> str:
    return SCHEMES.get(hop.scheme.lower(), otherwise)


def _for_host(request: Request, host: bytes) -> Request:
    """The request as the client has sent it, before the proxy put in another host."""
    if not host or not valid_authority(host):
        return request
    headers = tuple((name, host if name == b"host" else value) for name, value in request.headers)
    return replace(request, headers=headers, authority=host, remembered=False, scope=None)


# The two dialects: hops from the right to the left


def _x_forwarded(headers: Sequence[Field]) -> Iterator[Hop]:
    nodes, schemes, hosts = (
        _elements(headers, name)
        for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
    )
    for at in range(max(len(nodes), 1 if schemes or hosts else 0)):
        # Proxies add to the first list, and some write the other ones once.
        yield Hop(_nth(nodes, at), _nth(schemes, at), _nth(hosts, at))


def _nth(elements: list[bytes], at: int) -> bytes:
    """The one that is so far from the right, or else the leftmost."""
    return elements[max(-1 - at, -len(elements))] if elements else b""


def _forwarded(headers: Sequence[Field]) -> Iterator[Hop]:
    for element in reversed(_elements(headers, b"forwarded")):
        pairs: dict[bytes, bytes] = {}
        at = 0
        while at < len(element):
            match = _pair.match(element, at)
            if match is None:
                # Cut at commas, from the right: nothing that a client writes on the left, such as
                # a quotation mark without its fellow, changes what a proxy has added.
                yield Hop(b"")
                return
            name, value = match.groups()
            if value.startswith(b'"'):
                value = _escaped.sub(rb"\1", value[1:-1])
            pairs[name.lower()] = value
            at = match.end()
        yield Hop(pairs.get(b"for", b""), pairs.get(b"proto", b""), pairs.get(b"host", b""))


def _elements(headers: Sequence[Field], name: bytes) -> list[bytes]:
    """The elements of a list, whose lines belong together in their order (RFC9110§5.3)."""
    values = [value for each, value in headers if each == name]
    return [part.strip(b" \t") for value in values for part in value.split(b",")]
