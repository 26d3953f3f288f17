"""Requests of HTTP/1.1, as raw bytes with nothing in them that a test did not ask for."""

from __future__ import annotations

import pytest

from tests.support.peers import WAYS

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BY_EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
"""Whole, byte by byte and randomly split."""


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    head = [b"GET %b HTTP/%b" % (target, version), b"Host: x", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


def post(*lines: bytes, content: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = [b"POST / HTTP/%b" % version, b"Host: x", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + content


def chunked(content: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", content=content)
