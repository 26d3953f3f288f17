"""The attacks on WebSocket; W-nn are the rows of the attack catalogue.

Each over HTTP/1.1 and HTTP/2, whole, byte by byte and randomly split.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import zlib

import pytest

from tests.server.test_websocket import ACCEPTED, QUIET, Script
from tests.support.h3peer import H3Peer
from tests.support.messages import BY_EVERY_WAY
from tests.support.peers import errors
from tests.support.websocket import BINARY, CLOSE, PING, PONG, SOCKETS, TEXT, masked
from tricorn.config import Config
from tricorn.http3.flow import HIGH_WATER

MOST = 64 * 1024
LIMITED = Config(websocket_ping_interval=0, websocket_max_message_size=MOST)
DEFLATE = [(b"sec-websocket-extensions", b"permessage-deflate")]
PER_OCTET = 1.5e-6
"""Seconds of processor time for each hostile octet: 1e-6, and half of it for a slow machine."""
HELD = 16
"""Octets that may stay for each hostile octet, beside what a connection needs once."""
ONCE = 128 * 1024


@pytest.fixture(params=SOCKETS.values(), ids=SOCKETS)
def connect(request):
    return request.param


BROKEN = {
    "W-01-unmasked": b"\x81\x01a",
    "W-01-rsv1": masked(0xC1, b"a"),
    "W-01-rsv2": masked(0xA1, b"a"),
    "W-01-rsv3": masked(0x91, b"a"),
    "W-01-opcode": masked(0x83, b"a"),
    "W-01-control-opcode": masked(0x8B, b"a"),
    "W-01-long-control": masked(PING, b"a" * 126),
    "W-01-fragmented-control": masked(0x09, b"a"),
    "W-01-orphan": masked(0x80, b"a"),
    "W-01-text-inside": masked(0x01, b"a") + masked(TEXT, b"b"),
    "W-01-unmasked-ping": b"\x89\x00",
    "W-01-rsv1-inside": masked(0x01, b"a") + masked(0xC0, b"b"),
    "W-01-orphan-fragment": masked(0x00, b"a"),
    "W-01-fragment-inside": masked(0x01, b"a") + masked(0x02, b"b"),
    "W-01-long-close": masked(CLOSE, b"\x03\xe8" + bytes(124)),
    "W-01-size-in-two": bytes((0x81, 0x80 | 126, 0, 5)) + bytes(9),
    "W-01-sign": bytes((0x82, 0x80 | 127)) + (1 << 63).to_bytes(8, "big") + bytes(4),
    "W-01-size-in-eight-not-two": bytes((0x82, 0x80 | 127)) + (65_535).to_bytes(8, "big"),
    "W-01-size-in-eight": bytes((0x81, 0x80 | 127)) + (5).to_bytes(8, "big") + bytes(9),
    "W-09-one-octet": masked(CLOSE, b"\x03"),
    **{
        f"W-09-{code}": masked(CLOSE, code.to_bytes(2, "big"))
        for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000)
    },
}


@BY_EVERY_WAY
@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN)
def test_a_breach_of_the_protocol_is_1002(connect, octets, way):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(*way(masked(TEXT, b"before")), *way(octets))
    assert socket.code == 1002 and socket.ended
    assert app.messages == [{"type": "websocket.receive", "text": "before"}]
    assert app.disconnect[0] == 1002


WRONG_TEXT = {
    "W-08-octet": masked(TEXT, b"\xff"),
    "W-08-surrogate": masked(TEXT, b"\xed\xa0\x80"),
    "W-08-cut": masked(TEXT, "é".encode()[:1]),
    "W-08-split": masked(0x01, b"\xc3") + masked(0x80, b"\xff"),
    "W-08-overlong": masked(TEXT, b"\xc0\x80"),
    "W-08-beyond": masked(TEXT, b"\xf4\x90\x80\x80"),
    "W-08-first-fragment": masked(0x01, b"\xff"),
    "W-08-cut-in-fragments": masked(0x01, b"a") + masked(0x80, b"\xe2\x82"),
    "W-08-reason": masked(CLOSE, b"\x03\xe8\xff"),
}


@BY_EVERY_WAY
@pytest.mark.parametrize("octets", WRONG_TEXT.values(), ids=WRONG_TEXT)
def test_text_that_is_none_is_1007(connect, octets, way):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(*way(octets))
    assert socket.code == 1007 and socket.ended and app.messages == []


TOO_LARGE = {
    "W-02-huge": masked(BINARY, b"", size=2**62),
    "W-02-one-more": masked(BINARY, b"", size=MOST + 1),
    "W-02-octets": masked(TEXT, "é".encode() * (MOST // 2) + b"a"),
    "W-02-fragments": masked(0x02, bytes(MOST)) + masked(0x00, b"", size=1),
}


@BY_EVERY_WAY
@pytest.mark.parametrize("octets", TOO_LARGE.values(), ids=TOO_LARGE)
def test_too_large_a_message_is_1009_by_its_header(connect, octets, way):
    app = Script()
    socket = connect(app, LIMITED)
    socket.send(*way(octets))
    assert socket.code == 1009 and socket.ended and app.messages == []


@BY_EVERY_WAY
@pytest.mark.parametrize("most", [1, 4, 5, 124, 125, 126])
def test_a_message_is_as_large_as_it_may_be_and_no_larger(connect, most, way):
    config = Config(websocket_ping_interval=0, websocket_max_message_size=most)
    app = Script()
    socket = connect(app, config)
    parts = masked(0x01, b"a" * (most - 1)) + masked(0x80, b"a")
    socket.send(*way(masked(TEXT, b"a" * most) + parts))
    assert [each["text"] for each in app.messages] == ["a" * most] * 2 and socket.code is None
    socket.send(*way(masked(TEXT, b"a" * (most + 1))))
    assert len(app.messages) == 2 and socket.code == 1009


def test_as_many_fragments_as_may_be_are_a_message(connect):  # W-03
    app = Script()
    socket = connect(app, QUIET)
    socket.send(masked(0x01, b"a") + masked(0x00, b"a") * 1022 + masked(0x80, b"a"))
    socket.send(masked(0x01) + masked(0x00) * 62 + masked(0x80))
    socket.send(masked(0x01, b"a") + masked(PING) * 70 + masked(0x80, b"b"))
    assert [each["text"] for each in app.messages] == ["a" * 1024, "", "ab"]


def test_too_many_fragments_are_1008(connect):  # W-03
    socket = connect(Script(), QUIET)
    socket.send(masked(0x02, b"a"))
    for _ in range(11):
        socket.send(masked(0x00, b"a") * 100)
    assert socket.code == 1008 and socket.ended


def test_empty_fragments_are_1008(connect):  # W-03
    socket = connect(Script(), QUIET)
    socket.send(masked(0x02), masked(0x00) * 70)
    assert socket.code == 1008 and socket.ended


def deflated(data):
    packer = zlib.compressobj(9, wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(data):
    return masked(0xC2, deflated(data))


@pytest.mark.parametrize("most", [None, 1 << 20, 1000])
def test_a_deflate_bomb_is_1009_and_takes_little(connect, most):  # W-04
    bomb = compressed(bytes(50_000_000))
    assert len(bomb) < 50_000
    app = Script()
    config = Config() if most is None else Config(websocket_max_message_size=most)
    socket = connect(app, config, DEFLATE)
    tracemalloc.start()
    try:
        socket.send(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert socket.code == 1009 and socket.ended and app.messages == []
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_deflate_bomb_in_fragments_is_1009(connect, cut):  # W-04
    socket = connect(Script(), LIMITED, DEFLATE)
    packed = deflated(bytes(MOST + 1))
    socket.send(masked(0x42, packed[:cut]), masked(0x80, packed[cut:]))
    assert socket.code == 1009


@BY_EVERY_WAY
@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1])
def test_it_is_what_is_inflated_that_is_bounded(connect, size, way):  # W-04
    app = Script()
    socket = connect(app, LIMITED, DEFLATE)
    socket.send(*way(compressed(bytes(size))))
    assert len(app.messages) == (size <= MOST) and socket.code == (1009 if size > MOST else None)


@pytest.mark.parametrize("size", [600_000, 3_000_000])
def test_a_large_message_that_may_be_is_no_bomb(connect, size):
    app = Script()
    socket = connect(app, QUIET, DEFLATE)
    socket.send(compressed(bytes(size)))
    assert app.messages == [{"type": "websocket.receive", "bytes": bytes(size)}]


def test_what_does_not_inflate_is_1007(connect):
    socket = connect(Script(), QUIET, DEFLATE)
    socket.send(masked(0xC2, b"\xff" * 20))
    assert socket.code == 1007


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate; client_max_window_bits=abc",
        b"permessage-deflate; client_max_window_bits=7",
        b"permessage-deflate; server_max_window_bits",
        b"permessage-deflate; server_max_window_bits=8",
        b"permessage-deflate; unknown",
        b"permessage-deflate; client_no_context_takeover=1",
        b"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        b"permessage-deflate; server_max_window_bits=010",
        b"permessage-deflate; server_max_window_bits=+10",
        b"permessage-deflate; server_max_window_bits=\xb2",
        b"permessage-deflate; client_max_window_bits=99999999999999999999",
        b"permessage-deflate; server_no_context_takeover=",
        b"permessage-deflate; =",
        b"permessage-deflate;",
        b"x-webkit-deflate-frame, \xff",
        b",",
        b'="',
    ],
)
def test_an_offer_that_is_wrong_is_declined(connect, offer):  # W-06
    socket = connect(Script(), QUIET, [(b"sec-websocket-extensions", offer)])
    assert socket.accepted and socket.answer[b"sec-websocket-extensions"] is None


def test_the_first_good_offer_is_taken(connect):
    offer = b"permessage-deflate; server_max_window_bits=8, permessage-deflate"
    socket = connect(Script(), QUIET, [(b"sec-websocket-extensions", offer)])
    assert socket.answer[b"sec-websocket-extensions"] == b"permessage-deflate"


def test_many_pings_are_1008(connect):  # W-10
    socket = connect(Script(), QUIET)
    socket.send(masked(PING, b"x") * 300)
    assert socket.code == 1008 and len(socket.frames) == 100 + 1


def test_pongs_that_nobody_asked_for_count_too(connect):  # W-10
    socket = connect(Script(), QUIET)
    socket.send(masked(PONG) * 101)
    assert socket.code == 1008


def waiting(socket):
    """Octets that the server would send if the client let it."""
    if isinstance(socket.peer, H3Peer):
        return socket.peer.connection.transport.unsent(socket.id)[0]
    return socket.peer.wire.buffered()


def test_pongs_do_not_pile_up_for_who_does_not_read(connect):  # W-10
    async def floods(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        await receive()
        for _ in range(100):
            await send({"type": "websocket.send", "bytes": bytes(30_000)})

    socket = connect(floods, QUIET)
    socket.peer.stop_reading()
    socket.send(masked(TEXT, b"go"))
    before = waiting(socket)
    socket.send(masked(PING, bytes(125)) * 100)
    # On HTTP/3 an application waits for its queue to be short again, and pongs do not.
    assert before and (waiting(socket) - before < 1000 or waiting(socket) < HIGH_WATER + 1000)
    socket.peer.lose()


def test_pings_now_and_then_are_answered(connect):  # W-10
    socket = connect(Script(), QUIET)
    for _ in range(5):
        socket.send(masked(PING, b"x") * 100)
        socket.peer.advance(11)
    assert len(socket.frames) == 500 and socket.code is None


def test_nothing_is_kept_of_what_comes_after_the_end(connect):  # W-11
    app = Script()
    socket = connect(app, QUIET)
    socket.send(masked(0x83))
    socket.send(masked(TEXT, b"x" * 1000) * 100)
    assert app.messages == [] and socket.code == 1002


@pytest.mark.parametrize("end", [masked(CLOSE), masked(0x83)], ids=["closed", "failed"])
def test_what_comes_after_the_end_takes_no_memory(connect, end):  # W-11
    socket = connect(Script(), QUIET)
    socket.send(end)
    data = masked(BINARY, bytes(10_000))
    tracemalloc.start()
    try:
        for _ in range(20):
            socket.pour(data)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < 50_000


def test_a_client_that_has_broken_the_protocol_is_let_go(connect):  # W-01
    socket = connect(Script(), QUIET)
    socket.send(masked(0x83))
    socket.peer.advance(6)
    # Where it has a connection to itself, that ends too.
    assert socket.ended and (hasattr(socket, "id") or socket.peer.wire.lost)


def test_what_comes_before_it_is_accepted_waits(connect):  # W-13
    gate = asyncio.Event()

    async def slow(scope, receive, send):
        await receive()
        await gate.wait()
        await send(ACCEPTED)
        got = 0
        while got < 4_000_000:
            got += len((await receive())["bytes"])
        await send({"type": "websocket.send", "text": "all"})

    socket = connect(slow, QUIET)
    for _ in range(400):
        socket.send(masked(BINARY, bytes(10_000)))
    (stream,) = socket.peer.context.running
    assert len(stream.inbound.data) < 1_100_000
    gate.set()
    socket.peer.settle()
    assert socket.messages == ["all"]


def test_half_a_frame_is_no_sign_of_life_for_ever(connect):  # W-14
    app = Script()
    socket = connect(app, Config())
    socket.send(masked(TEXT, b"abc")[:5])
    socket.peer.advance(45)
    assert app.disconnect[0] == 1006 and socket.ended


@pytest.mark.parametrize("accepts", [True, False])
def test_who_does_not_close_its_connection_is_closed(accepts):  # W-14
    async def app(scope, receive, send):
        await receive()
        if accepts:
            await send(ACCEPTED)
        await receive()

    socket = SOCKETS["HTTP/1.1"](app, Config())
    socket.peer.advance(55)
    assert socket.peer.wire.lost
    if not accepts:
        errors.expect("does not accept")


def test_the_end_of_a_tunnel_may_cut_a_frame(connect):  # W-17
    app = Script()
    socket = connect(app, QUIET)
    octets = masked(TEXT, b"a") + masked(TEXT, b"b")[:5]
    if hasattr(socket, "id"):
        socket.peer.part(socket.id, octets, end=True)
    else:
        socket.send(octets)
        socket.peer.half_close()
    assert len(app.messages) == 1 and app.disconnect[0] == 1006 and socket.ended


def fragmented(packed):
    """An octet in each, and the last one is empty."""
    begun, *parts = [packed[at : at + 1] for at in range(len(packed))]
    return masked(0x42, begun) + b"".join(masked(0x00, each) for each in parts) + masked(0x80)


def pour(socket, data):
    """Without a word of the client in between: it is the server that is measured."""
    for at in range(0, len(data), 4096):
        socket.pour(data[at : at + 4096])
        socket.peer.loop.settle()


FLOODS = {
    "fragments": masked(0x02, b"a") + masked(0x00, b"a") * 1000,
    "messages-in-fragments": (masked(0x01, b"a") + masked(0x80, b"a")) * 500,
    "pings": masked(PING) * 99,
    "texts": masked(TEXT, b"a") * 1000,
    "empty": masked(BINARY) * 1000,
    "large": masked(BINARY, bytes(MOST)) * 2,
    "compressed-empty": masked(0xC1, b"\x00") * 1000,
    "compressed-fragments": fragmented(deflated(bytes(range(50)))) * 20,
    "compressed-ends": masked(0xC1, b"\x03\x00" * 1000) * 4,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(FLOODS.keys() - {"pings"})
)  # which have a budget, and are answered
@pytest.mark.parametrize("remembers", [True, False])
def test_a_flood_costs_little(connect, name, remembers):
    offer = b"permessage-deflate" + b"; client_no_context_takeover" * (not remembers)
    flood, costs = FLOODS[name], []
    for _ in range(5):
        socket = connect(Script(), LIMITED, [(b"sec-websocket-extensions", offer)])
        begun = time.process_time()
        pour(socket, flood)
        costs.append((time.process_time() - begun) / len(flood))
        socket.peer.settle()
        assert socket.code is None
    assert min(costs) < PER_OCTET


@pytest.mark.slow
@pytest.mark.parametrize("flood", [FLOODS[name] for name in ("fragments", "pings", "large")])
def test_a_flood_leaves_little_behind(connect, flood):
    async def silent(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    socket = connect(silent, LIMITED)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        socket.send(flood)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < HELD * len(flood) + ONCE
