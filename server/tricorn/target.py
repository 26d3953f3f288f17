"""What a request asks for, on every protocol: methods, targets, and how large a head may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
}
"""CONNECT and TRACE, and what nobody has heard of, are not ordinary."""

# RFC9112§3.2.1; `#` never belongs into a request target.
origin_form = re.compile(rb"/[!\"$-~]*+").fullmatch


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request head may be, in octets and numbers."""

    line: int = 8 * 1024  # nginx 4 x 8k
    fields: int = 100  # Apache, h2o, gunicorn 100
    head: int = 32 * 1024  # nginx 33k, node 16k, Go 1M
    body: int = 0
    names: frozenset[bytes] = frozenset()
    """The hosts that are served, in lower case and without ports; empty for all of them."""
    underscores: bool = True
    """Whether names of fields may have any: CGI's variables show them and hyphens alike."""

    def misdirected(self, authority: bytes) -> bool:
        """Whether the request is for a host that this server does not answer for."""
        return bool(self.names) and host_of(authority) not in self.names


def host_of(authority: bytes) -> bytes:
    """The host of a valid authority, in lower case: what is before the port (RFC3986§3.2)."""
    host, _, port = authority.rpartition(b":")
    if not host or port.endswith(b"]"):  # no port, or the colon is inside of an IPv6 address
        host = authority
    return host.lower()


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Path (decoded), path (raw) and query of a target in origin-form or asterisk-form."""
    if b"%" not in target and b"?" not in target:  # as most are
        return target.decode("latin-1"), target, b""
    path, _, query = target.partition(b"?")
    if b"%" in path:
        # ASGI wants text: what is not UTF-8 cannot be had as text, and stays visible in raw_path.
        return unquote_to_bytes(path).decode("utf-8", "replace"), path, query
    return path.decode("latin-1"), path, query


def valid_target(target: bytes, method: bytes) -> bool:
    """Whether a target that names no authority fits its method (RFC9110§7.1)."""
    return origin_form(target) is not None or (target == b"*" and method == b"OPTIONS")
