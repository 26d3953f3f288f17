"""Whatever our chunk decoder decodes, h11 decodes to the same, however it arrives."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property import grammar
from tricorn.connection import Field, Refused
from tricorn.http1.body import ChunkedBody
from tricorn.target import Limits

LIMITS = Limits()
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Decoded = tuple[bytes, list[Field], bytes]


class Incomplete(Exception):
    """Neither wrong nor whole."""


def decoded(segments: list[bytes]) -> Decoded:
    """Content, trailers and what follows. Raises Refused, Incomplete."""
    body = ChunkedBody(LIMITS)
    content: list[bytes] = []
    for number, segment in enumerate(segments):
        rest = body.feed(segment, content.append)
        if body.ended:
            assert body.received == len(b"".join(content))
            return b"".join(content), body.trailers, rest + b"".join(segments[number + 1 :])
        assert rest == b""
    raise Incomplete(b"".join(content))


def decoded_by_h11(data: bytes) -> Decoded:
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(HEAD + data)
    peer.next_event()
    content = b""
    while isinstance(event := peer.next_event(), h11.Data):
        content += event.data
    if not isinstance(event, h11.EndOfMessage):
        raise Incomplete(content)
    return content, list(event.headers), bytes(peer.trailing_data[0])


def outcome(segments: list[bytes]) -> object:
    """What `decoded` gives, or the kind of what it raises."""
    try:
        return decoded(segments)
    except Incomplete as incomplete:
        return "incomplete", incomplete.args
    except Refused:
        return "refused"


def compare(random: Random) -> str:
    data = grammar.chunked(random)
    result = outcome([data])
    assert outcome(grammar.pieces(random, data)) == result, f"{data!r} depends on its segments"
    if result == "refused":
        return "refused"
    if result[0] == "incomplete":  # type: ignore[index]
        with pytest.raises((Incomplete, h11.RemoteProtocolError)):
            decoded_by_h11(data)
        return "incomplete"
    assert decoded_by_h11(data) == result, data
    return "accepted"


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.randoms(use_true_random=False))
def test_whatever_we_decode_h11_decodes_to_the_same(random):
    compare(random)


@pytest.mark.slow
def test_the_same_for_ten_thousand_bodies():
    random = Random(9112)
    results = [compare(random) for _ in range(10_000)]
    assert results.count("accepted") > 2000 and results.count("refused") > 2000


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_any_octets_are_decoded_refused_or_incomplete(data, cuts):
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    segments = [data[a:b] for a, b in pairwise(at) if a < b]
    assert outcome([data] if data else []) == outcome(segments)
