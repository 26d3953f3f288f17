"""http1/body.py: what a body costs at most; what it decodes to is in tests/property."""

from __future__ import annotations

import pytest

from tricorn.connection import Refused
from tricorn.http1.body import OVERHEAD, ChunkedBody, SizedBody
from tricorn.target import Limits


def chunked(**limits: int) -> ChunkedBody:
    return ChunkedBody(Limits(**limits))


def test_a_sized_body_returns_what_follows_it():
    body, parts = SizedBody(5), []
    assert body.feed(b"abc", parts.append) == b"" and not body.ended
    assert body.feed(b"deNEXT", parts.append) == b"NEXT" and body.ended
    assert parts == [b"abc", b"de"] and body.received == 5


def test_framing_may_be_as_large_as_the_data_and_a_little_more():
    parts: list[bytes] = []
    body = chunked()
    for _ in range(20_000):
        body.feed(b"3\r\nabc\r\n", parts.append)
    assert body.received == 60_000


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1;" + b"a" * 100 + b"\r\nx\r\n"])
def test_framing_that_outweighs_the_data_is_refused(chunk):
    body = chunked()
    fed = 0
    with pytest.raises(Refused):
        while True:
            body.feed(chunk, lambda data: None)
            fed += len(chunk)
    assert OVERHEAD - len(chunk) <= fed < 3 * OVERHEAD


def test_what_is_kept_of_an_unfinished_line_is_bounded():
    body = chunked()
    with pytest.raises(Refused):
        for _ in range(1000):
            body.feed(b"1" if len(body.partial) < 1 else b";a", lambda data: None)
    assert len(body.partial) < 300


def test_a_body_that_is_larger_than_allowed_is_refused_before_its_last_chunk_arrives():
    body, parts = chunked(body=10), []
    body.feed(b"5\r\nabcde\r\n", parts.append)
    with pytest.raises(Refused) as refused:
        body.feed(b"6\r\n", parts.append)
    assert refused.value.status == 413
