"""Remembered header blocks: whatever is recalled is what decoding would have found."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tricorn.connection import Refused, Request
from tricorn.http2.header_blocks import CompressionError, Decoder, Vocabulary
from tricorn.http2.recall import Recall
from tricorn.sections import Malformed, classify, request_of
from tricorn.target import Limits

LIMITS = Limits()
STREAMS = {None: object}

paths = st.one_of(
    st.sampled_from([b"/", b"/a", b"/item/12", b"/item/13", b"/?q=%20", b"*", b"x", b"/a b", b""]),
    st.binary(max_size=20).map(lambda data: b"/" + data),
)
fields = st.lists(
    st.sampled_from(
        [(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"priority", b"u=1"), (b"x-a", b"\x04\x01/")]
    ),
    max_size=4,
)
requests = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"QUERY"]), paths, fields, st.booleans()
)


def block_of(encoder, method, path, rest, *, coded):
    """As most clients make it: the path spelled out, and everything else in the table."""
    head = [(b":method", method), (b":scheme", b"https"), (b":authority", b"x.example")]
    spelled = encoder.huffman_coder.encode(path) if coded else path
    size = bytes([len(spelled) | (0x80 if coded else 0)])
    return bytes(encoder.encode(head) + b"\x04" + size + spelled + encoder.encode(rest))


def shown(request: Request | None) -> object:
    if request is None:
        return None
    return {name: getattr(request, name) for name in Request.__slots__ if name != "remembered"}


def made_of(decoder, block):
    """What decoding makes of a block, or why there is no request in it."""
    try:
        return request_of(decoder.decode(block), "2", LIMITS, STREAMS, ended=True)
    except (Malformed, Refused, CompressionError) as error:
        return type(error)


def decoder():
    return Decoder[Request](Vocabulary(classify), most_fields=100, most_octets=32_768)


def agree(blocks):
    """Feeds blocks to a connection that remembers and to one that does not; how often it did."""
    remembering, plain = decoder(), decoder()
    recall = Recall(remembering, LIMITS)
    recalled = 0
    for block in blocks:
        wanted = made_of(plain, block)
        request = remembering.known.get(block) or recall.fill_in(block)
        if request is None:
            request = made_of(remembering, block)
            if isinstance(request, Request):
                recall.keep(block, request)
        else:
            recalled += 1
        assert (shown(request) if isinstance(request, Request) else request) == (
            shown(wanted) if isinstance(wanted, Request) else wanted
        )
        if wanted is CompressionError:
            break
    return recalled


@settings(deadline=None, max_examples=300)
@given(st.lists(requests, max_size=12))
def test_what_is_recalled_is_what_decoding_finds(asked):
    encoder = Encoder()
    agree(
        [block_of(encoder, method, path, rest, coded=coded) for method, path, rest, coded in asked]
    )


@settings(deadline=None, max_examples=300)
@given(st.lists(requests, min_size=1, max_size=4), st.data())
def test_broken_blocks_are_never_taken_for_known_ones(asked, data):
    encoder = Encoder()
    blocks = []
    for method, path, rest, coded in asked:
        blocks += [block_of(encoder, method, path, rest, coded=coded)] * 2
    broken = bytearray(blocks[-1])
    at = data.draw(st.integers(0, len(broken) - 1))
    broken[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(broken)))
    agree([*blocks, bytes(broken), bytes(broken[:cut])])


@pytest.mark.parametrize("coded", [True, False])
def test_a_path_that_never_repeats_is_recalled_without_decoding(coded):
    encoder = Encoder()
    blocks = [
        block_of(encoder, b"GET", b"/item/%d" % number, [(b"accept", b"*/*")], coded=coded)
        for number in range(20)
    ]
    assert agree(blocks) >= 16
