"""Frames of WebSocket: wsproto and `websockets` are the oracles of what we do without them.

Excluded, because it is deliberate: what is over our limits; and of what is compressed, a control
frame or another message between its fragments, and a final block, which wsproto takes for an end.
"""

from __future__ import annotations

import itertools
import struct
import zlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from wsproto import extensions
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tricorn.asgi.websocket.codes import Failed
from tricorn.asgi.websocket.deflate import Deflate, agree
from tricorn.asgi.websocket.farewell import Farewell
from tricorn.asgi.websocket.inbound import Inbound, unmasked
from tricorn.asgi.websocket.outbound import Deflated, close_frame, frame

MOST = 1 << 20
FEW = settings(deadline=None, max_examples=300)

payloads = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, b"y" * 65_535, b"z" * 65_536, b"\xc3"]),
)
firsts = st.one_of(
    st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A]),
    st.integers(0, 255),
)
masks = st.binary(min_size=4, max_size=4)


def naive(mask, payload):
    return bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))


def client_frame(first, mask, payload, *, masked=True, minimal=True):
    """Any frame of a client's, or of nobody's."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126 and minimal:
        head = struct.pack(">BB", first, bit | size)
    elif size < 65_536 and (minimal or size < 126):
        head = struct.pack(">BBH", first, bit | 126, size)
    else:
        head = struct.pack(">BBQ", first, bit | 127, size)
    return head + (mask + naive(mask, payload) if masked else payload)


frames = st.builds(
    client_frame,
    firsts,
    masks,
    payloads,
    masked=st.sampled_from([True] * 9 + [False]),
    minimal=st.sampled_from([True] * 9 + [False]),
)


def pieces(payload, cuts):
    """Two or more, some of which may be empty."""
    ends = sorted(cut % (len(payload) + 1) for cut in cuts)
    return [payload[a:b] for a, b in itertools.pairwise([0, *ends, len(payload)])]


def fragmented(opcode, mask, payload, cuts, between=b""):
    parts = pieces(payload, cuts)
    last = len(parts) - 1
    made = [
        client_frame((0x80 if at == last else 0) | (0 if at else opcode), mask, part)
        for at, part in enumerate(parts)
    ]
    return between.join(made)


places = st.lists(st.integers(0, 100_000), min_size=1, max_size=4)
fragments = st.builds(
    fragmented,
    st.sampled_from([0x01, 0x02]),
    masks,
    payloads,
    places,
    st.sampled_from([b"", b"", client_frame(0x89, b"mask", b"?")]),
)


def shown(event):
    match event:
        case Ping() | Pong():
            return type(event).__name__, bytes(event.payload)
        case CloseConnection():
            return "close", int(event.code), event.reason or ""
        case _:
            return event


def ours(segments, deflate=None):
    """What our reader makes of octets; the last is ("failed", code) where it gives up."""
    inbound = Inbound(MOST, deflate)
    found = []
    try:
        for segment in segments:
            message = inbound.message_of(segment)
            if message is not None:
                found.append(message)
                continue
            inbound.feed(segment)
            for each in inbound.messages(0.0):
                found.append(shown(each))
                if isinstance(each, CloseConnection):
                    return found
    except Failed as failure:
        found.append(("failed", failure.code))
    return found


def theirs(data, deflate=None):
    peer = Connection(ConnectionType.SERVER, [deflate] if deflate else [])
    peer.receive_data(data)
    found, parts = [], []
    for event in peer.events():
        if isinstance(event, TextMessage | BytesMessage):
            parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                found.append(type(parts[0])().join(parts))
                parts = []
        elif isinstance(event, CloseConnection) and peer.state is ConnectionState.OPEN:
            found.append(("failed", int(event.code)))
            break
        else:
            found.append(shown(event))
            if isinstance(event, CloseConnection):
                break
    return found


def cut(data, cuts):
    ends = sorted({min(each, len(data)) for each in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@FEW
@given(
    st.lists(st.one_of(frames, fragments), max_size=8), st.lists(st.integers(0, 200), max_size=6)
)
def test_frames_mean_what_wsproto_says(sent, cuts):
    data = b"".join(sent)
    assert ours(cut(data, cuts)) == theirs(data)
    assert ours(sent) == theirs(data)


def deflated(payload, length, damage):
    """A compressed message, perhaps cut off, perhaps damaged at its beginning."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
    return damage + packed[:-4][: length or None]


contents = st.builds(
    deflated,
    payloads,
    st.sampled_from([0] * 9 + [1, 5]),
    st.sampled_from([b""] * 9 + [b"\xff", b"\x00"]),
)
compressed = st.one_of(
    st.builds(client_frame, st.sampled_from([0xC1, 0xC2]), masks, contents),
    st.builds(fragmented, st.sampled_from([0x41, 0x42]), masks, contents, places),
)
others = st.builds(
    client_frame,
    firsts.filter(lambda first: not first & 0x40) | st.sampled_from([0xC0, 0x40, 0xC9]),
    masks,
    payloads,
)


@FEW
@given(
    st.lists(st.one_of(compressed, compressed, others, fragments), max_size=8),
    st.lists(st.integers(0, 200), max_size=6),
    st.booleans(),
)
def test_what_is_compressed_means_what_wsproto_says(sent, cuts, forgets):
    stock = extensions.PerMessageDeflate(client_no_context_takeover=forgets)
    stock.accept("permessage-deflate")
    data = b"".join(sent)
    wanted = theirs(data, stock)
    left = stock._decompressor
    assume(left is None or not left.eof)
    for segments in (cut(data, cuts), sent):
        assert ours(segments, Deflate(MOST, client_forgets=forgets)) == wanted


@FEW
@given(st.binary(max_size=64))
def test_garbage_means_what_wsproto_says(data):
    whole, wanted = ours([data]), theirs(data)
    # Either may see before the other that a header that is not whole yet will be wrong.
    shorter, longer = sorted((whole, wanted), key=len)
    if shorter != longer:
        assert shorter == longer[:-1] and longer[-1][0] == "failed"


@FEW
@given(
    st.lists(frames.filter(lambda data: data[0] != 0x88), max_size=5),
    st.binary(max_size=125),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_a_close_is_found_behind_any_frames(before, payload, cuts):
    farewell = Farewell()
    *rest, last = cut(b"".join(before) + client_frame(0x88, b"mask", payload), cuts)
    assert not any(farewell.closes(each) for each in rest) and farewell.closes(last)


@FEW
@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=6))
def test_it_is_found_in_any_segments(data, cuts):
    farewell = Farewell()
    assert any(farewell.closes(each) for each in cut(data, cuts)) == Farewell().closes(data)


@FEW
@given(
    masks,
    st.binary(max_size=5000)
    | st.sampled_from([0, 1, 2, 3, 5]).map(lambda odd: b"ab" * 32_768 + bytes(odd)),
    st.integers(0, 3),
)
def test_masks_are_taken_off(mask, payload, before):
    data = bytes(before) + mask + naive(mask, payload)
    assert unmasked(data, before + 4, len(payload)) == payload
    assert unmasked(bytearray(data), before + 4, len(payload)) == payload


def read(data, extensions=()):
    """The frames in `data`, as `websockets` reads a server's."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while reader.buffer:
        parser = Frame.parse(reader.read_exact, mask=False, extensions=list(extensions))
        with pytest.raises(StopIteration) as ended:
            next(parser)
        found.append(ended.value.value)
    return found


@FEW
@given(st.lists(st.tuples(st.sampled_from([0x81, 0x82, 0x89, 0x8A]), payloads), max_size=5))
def test_what_we_send_can_be_read(sent):
    data = b"".join(frame(first, payload) for first, payload in sent)
    small = [each for each in sent if each[0] < 0x88 or len(each[1]) < 126]
    if small == sent:
        found = [(0x80 | each.opcode, bytes(each.data)) for each in read(data)]
        assert found == sent


@FEW
@given(st.sampled_from([1000, 1001, 1012, 3000, 4999]), st.text(max_size=80))
def test_reasons_of_a_close_fit(code, reason):
    (found,) = read(close_frame(code, reason))
    close = Close.parse(found.data)
    assert found.opcode is Opcode.CLOSE and close.code == code
    assert reason.startswith(close.reason) and len(found.data) <= 125


OFFERS = [
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits",
    b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    b"permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
]


def client_of(deflate: Deflate) -> PerMessageDeflate:
    return PerMessageDeflate(
        remote_no_context_takeover=deflate.server_no_context_takeover,
        local_no_context_takeover=deflate.client_no_context_takeover,
        remote_max_window_bits=deflate.server_max_window_bits,
        local_max_window_bits=deflate.client_max_window_bits,
    )


@pytest.mark.parametrize("offer", OFFERS)
@settings(deadline=None, max_examples=60)
@given(
    messages=st.lists(st.one_of(st.text(max_size=300), st.binary(max_size=300)), max_size=6),
    cuts=st.lists(st.integers(0, 100), max_size=3),
)
def test_compressed_messages_come_through_both_ways(offer, messages, cuts):
    agreed = agree([offer], MOST)
    assert agreed is not None
    client = client_of(agreed[0])
    sent = Deflated(agreed[0])
    for message in messages:
        (found,) = read(sent.frame(message), [client])
        assert bytes(found.data) == (message.encode() if isinstance(message, str) else message)

    inbound = Inbound(MOST, agreed[0])
    for message in messages:
        text = isinstance(message, str)
        data = message.encode() if text else message
        opcode = Opcode.TEXT if text else Opcode.BINARY
        if cuts:
            packed = bytes(client.encode(Frame(opcode, data)).data)
            ping = client_frame(0x89, b"mask", b"?")
            inbound.feed(fragmented(0x40 | opcode, b"mask", packed, cuts, ping))
        else:
            inbound.feed(Frame(opcode, data).serialize(mask=True, extensions=[client]))
        found = [each for each in inbound.messages(0.0) if not isinstance(each, Ping)]
        assert found == [message]


def test_pings_between_compressed_fragments_change_nothing():  # W-05, wsproto 1.3.2
    agreed = agree([OFFERS[0]], MOST)
    assert agreed is not None
    client = client_of(agreed[0])
    whole = Frame(Opcode.TEXT, b"hello " * 50).serialize(mask=False, extensions=[client])
    content = whole[2:] if whole[1] < 126 else whole[4:]
    mask = b"abcd"
    inbound = Inbound(MOST, agreed[0])
    inbound.feed(client_frame(0x41, mask, content[:10]))
    inbound.feed(client_frame(0x89, mask, b"?"))
    inbound.feed(client_frame(0x80, mask, content[10:]))
    assert [shown(each) for each in inbound.messages(0.0)] == [("Ping", b"?"), "hello " * 50]
