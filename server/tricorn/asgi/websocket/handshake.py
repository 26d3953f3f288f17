"""The opening handshake, as far as it is the same on every version (RFC6455§4.2, RFC8441§5)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1

from tricorn.connection import ApplicationError, Field, Refused, Request
from tricorn.fields import TOKEN

VERSION = b"13"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC6455§1.3

# RFC6455§4.1: base64 of 16 octets.
valid_key = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch
token = re.compile(TOKEN + rb"++").fullmatch
# RFC6455§4.1: these are the handshake's to say, not the application's.
OURS = frozenset(
    b"sec-websocket-accept sec-websocket-extensions sec-websocket-protocol connection upgrade "
    b"content-length transfer-encoding".split()
)


def values_of(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def check(request: Request, origins: Sequence[str]) -> list[str]:
    """The subprotocols that the client offers. Raises Refused for what is no handshake.

    If `origins` are given, pages from elsewhere are refused (RFC6455§10.2).
    """
    origin = [value.decode("latin-1").lower() for value in values_of(request, b"origin")]
    if origins and origin and not {*origin} <= {*map(str.lower, origins)}:
        raise Refused(403, "a page of that origin may not connect")
    if values_of(request, b"sec-websocket-version") != [VERSION]:
        raise Refused(426, "only version 13 of WebSocket is spoken here")  # RFC6455§4.4
    if request.version == "1.1":
        keys = values_of(request, b"sec-websocket-key")
        if len(keys) != 1 or not valid_key(keys[0]):
            raise Refused(400, "malformed Sec-WebSocket-Key")
    offered: list[str] = []
    for value in values_of(request, b"sec-websocket-protocol"):
        for part in value.split(b","):
            name = part.strip(b" \t")
            # RFC6455§4.1: tokens, and none of them twice.
            if not token(name) or (text := name.decode("ascii")) in offered:
                raise Refused(400, "malformed Sec-WebSocket-Protocol")
            offered.append(text)
    return offered


def answer(
    request: Request, offered: list[str], subprotocol: str | None, headers: list[Field]
) -> list[Field]:
    """The fields of the response that accepts. Raises ApplicationError."""
    fields = []
    for name, value in headers:
        if name.lower() in OURS:
            raise ApplicationError(f"{name!r} is the server's to say")
        fields.append((name, value))
    if subprotocol is not None:
        if subprotocol not in offered:
            raise ApplicationError(f"the client has not offered the subprotocol {subprotocol!r}")
        fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
    if request.version == "1.1":
        (key,) = values_of(request, b"sec-websocket-key")
        accept = b64encode(sha1(key + GUID, usedforsecurity=False).digest())
        fields.append((b"sec-websocket-accept", accept))
    return fields
