"""The attacks on WebSocket; W-nn are the rows of the attack catalogue.

Each over HTTP/1.1 and HTTP/2, whole, byte by byte and randomly split.
"""

from __future__ import annotations

import time
import tracemalloc
import zlib

import pytest

from tests.server.test_websocket import QUIET, Script
from tests.support.messages import BY_EVERY_WAY
from tests.support.websocket import BINARY, CLOSE, PING, SOCKETS, TEXT, masked
from tricorn.config import Config

MOST = 64 * 1024
LIMITED = Config(websocket_ping_interval=0, websocket_max_message_size=MOST)
DEFLATE = [(b"sec-websocket-extensions", b"permessage-deflate")]
PER_OCTET = 1e-6
"""Seconds of processor time for each hostile octet."""
BY_WSPROTO = 8e-6
"""The same, generously, for the smallest frames that wsproto takes apart: they have a budget."""
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
    "W-01-size-in-two": bytes((0x81, 0x80 | 126, 0, 5)) + bytes(9),
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
    "W-02-fragments": masked(0x02, bytes(MOST)) + masked(0x00, b"", size=1),
}


@BY_EVERY_WAY
@pytest.mark.parametrize("octets", TOO_LARGE.values(), ids=TOO_LARGE)
def test_too_large_a_message_is_1009_by_its_header(connect, octets, way):
    app = Script()
    socket = connect(app, LIMITED)
    socket.send(*way(octets))
    assert socket.code == 1009 and socket.ended and app.messages == []


def test_as_large_a_message_as_may_be_is_none(connect):
    app = Script()
    socket = connect(app, LIMITED)
    socket.send(masked(BINARY, bytes(MOST)))
    assert len(app.messages) == 1 and socket.code is None


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


def compressed(data, *, final=True):
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return masked(0xC2 if final else 0x42, packed[:-4])


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
        b"x-webkit-deflate-frame, \xff",
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


FLOODS = {
    "fragments": (masked(0x02, b"a") + masked(0x00, b"a") * 1000, BY_WSPROTO),
    "pings": (masked(PING) * 99, BY_WSPROTO),
    "texts": (masked(TEXT, b"a") * 1000, PER_OCTET),
    "empty": (masked(BINARY) * 1000, PER_OCTET),
    "large": (masked(BINARY, bytes(MOST)) * 4, PER_OCTET),
}


@pytest.mark.slow
@pytest.mark.parametrize("flood, most", FLOODS.values(), ids=FLOODS)
def test_a_flood_costs_little(connect, flood, most):
    costs = []
    for _ in range(3):
        socket = connect(Script(), LIMITED)
        begun = time.process_time()
        socket.send(flood)
        costs.append((time.process_time() - begun) / len(flood))
    assert min(costs) < most


@pytest.mark.slow
@pytest.mark.parametrize("flood", [FLOODS[name][0] for name in ("fragments", "pings", "large")])
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
