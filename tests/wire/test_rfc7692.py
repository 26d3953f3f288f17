"""RFC 7692, permessage-deflate, in the order of its sections, over every version."""

from __future__ import annotations

import itertools
import time
import zlib
from random import Random

import pytest

from tests.server.test_websocket import QUIET, Script, echo
from tests.support.messages import BY_EVERY_WAY
from tests.support.websocket import PING, SOCKETS, masked
from tricorn.config import Config

TAIL = b"\x00\x00\xff\xff"
TEXT = "hello " * 100


@pytest.fixture(params=SOCKETS.values(), ids=SOCKETS)
def connect(request):
    return request.param


def offering(connect, offer=b"permessage-deflate", app=echo, config=QUIET):
    return connect(app, config, [(b"sec-websocket-extensions", offer)])


class Packer:
    """A client's side of the agreement."""

    def __init__(self, bits=15):
        self.packer = zlib.compressobj(wbits=-bits)
        self.unpacker = zlib.decompressobj(-15)

    def pack(self, text):
        packed = self.packer.compress(text.encode()) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        return packed.removesuffix(TAIL)

    def unpack(self, frame):
        return self.unpacker.decompress(bytes(frame.data) + TAIL).decode()


# 5. Extension Negotiation


def test_it_is_spoken_only_if_it_is_offered(connect):
    assert connect(echo, QUIET).answer[b"sec-websocket-extensions"] is None
    assert offering(connect).answer[b"sec-websocket-extensions"] == b"permessage-deflate"


def test_it_can_be_turned_off(connect):
    config = Config(websocket_ping_interval=0, websocket_per_message_deflate=False)
    socket = offering(connect, config=config)
    assert socket.accepted and socket.answer[b"sec-websocket-extensions"] is None


def test_frames_are_not_compressed_unless_it_was_agreed_on(connect):
    socket = connect(echo, QUIET)
    socket.send(masked(0xC1, Packer().pack("x")))
    assert socket.code == 1002


@pytest.mark.parametrize(
    "offer, terms",
    [
        (b'permessage-deflate; server_max_window_bits="10"', b"; server_max_window_bits=10"),
        (b"permessage-deflate ;\tserver_no_context_takeover", b"; server_no_context_takeover"),
        (b"foo, permessage-deflate; bar, permessage-deflate", b""),
    ],
)
def test_an_offer_may_be_spelt_in_other_ways(connect, offer, terms):  # RFC6455§9.1
    answer = offering(connect, offer).answer
    assert answer[b"sec-websocket-extensions"] == b"permessage-deflate" + terms


# 6. Messages


@BY_EVERY_WAY
def test_messages_come_through_both_ways(connect, way):
    socket, peer = offering(connect), Packer()
    for _ in range(3):
        socket.send(*way(masked(0xC1, peer.pack(TEXT))))
    assert socket.compressed == [True] * 3
    assert [peer.unpack(each) for each in socket.frames] == [TEXT] * 3
    # The window goes on from one message to the next (§7.1.1).
    assert len(socket.frames[2].data) < len(socket.frames[0].data)


def test_messages_that_are_not_compressed_may_come_between(connect):
    app, peer = Script(), Packer()
    socket = offering(connect, app=app)
    socket.send(masked(0xC1, peer.pack("a")), masked(0x81, b"b"), masked(0xC1, peer.pack("c")))
    assert [each["text"] for each in app.messages] == ["a", "b", "c"]


def test_short_messages_are_not_worth_it(connect):
    socket, peer = offering(connect), Packer()
    socket.send(masked(0xC1, peer.pack("short")))
    (frame,) = socket.frames
    assert socket.compressed == [False] and frame.data == b"short"


@BY_EVERY_WAY
def test_a_compressed_message_may_come_in_fragments(connect, way):  # §6.1, W-05
    app, peer = Script(), Packer()
    socket = offering(connect, app=app)
    packed = peer.pack(TEXT)
    parts = [masked(0x41, packed[:5]), masked(PING, b"?"), masked(0x00, packed[5:9])]
    socket.send(*way(b"".join(parts) + masked(0x80, packed[9:]) + masked(0xC1, peer.pack("x"))))
    assert [each["text"] for each in app.messages] == [TEXT, "x"]
    assert len(socket.frames) == 1


@pytest.mark.parametrize(
    "octets",
    [
        masked(0xA1, b"a"),  # another bit
        masked(0xE1, b"\x00"),  # and both
        masked(0x01, b"a") + masked(0xC0, b""),  # behind a fragment that is not compressed
    ],
)
def test_no_other_bit_means_anything(connect, octets):
    socket = offering(connect)
    socket.send(octets)
    assert socket.code == 1002


@pytest.mark.parametrize("cuts", [[], [1], [1, 2]])
def test_it_is_what_is_inflated_that_has_to_be_utf_8(connect, cuts):
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"a\xff") + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]
    parts = [packed[a:b] for a, b in itertools.pairwise([0, *cuts, len(packed)])]
    socket = offering(connect)
    first = 0xC1 if not cuts else 0x41
    socket.send(masked(first, parts[0]), *(masked(0x00, each) for each in parts[1:-1]))
    if cuts:
        socket.send(masked(0x80, parts[-1]))
    assert socket.code == 1007


def test_the_bit_belongs_to_the_first_fragment_only(connect):  # §6.1
    socket, peer = offering(connect), Packer()
    packed = peer.pack(TEXT)
    socket.send(masked(0x41, packed[:5]), masked(0xC0, packed[5:]))
    assert socket.code == 1002


def test_control_frames_are_never_compressed(connect):  # §6
    socket = offering(connect)
    socket.send(masked(0xC9, b"?"))
    assert socket.code == 1002


def test_a_message_may_be_empty(connect):  # §7.2.3.6
    app = Script()
    offering(connect, app=app).send(masked(0xC1, b"\x00"))
    assert app.messages == [{"type": "websocket.receive", "text": ""}]


# 7.1. Parameters


def test_a_window_that_the_server_has_to_forget(connect):  # §7.1.1.1
    socket = offering(connect, b"permessage-deflate; server_no_context_takeover")
    terms = socket.answer[b"sec-websocket-extensions"]
    assert terms == b"permessage-deflate; server_no_context_takeover"
    peer = Packer()
    for _ in range(2):
        socket.send(masked(0xC1, peer.pack(TEXT)))
    first, second = socket.frames
    assert first.data == second.data


def test_a_window_that_the_client_forgets(connect):  # §7.1.1.2
    app = Script()
    offer = b"permessage-deflate; client_no_context_takeover"
    socket = offering(connect, offer, app=app)
    assert socket.answer[b"sec-websocket-extensions"] == offer
    for _ in range(2):
        socket.send(masked(0xC1, Packer().pack(TEXT)))
    assert [each["text"] for each in app.messages] == [TEXT] * 2


def test_a_client_that_may_remember_need_not(connect):  # §7.1.1
    app = Script()
    socket = offering(connect, app=app)
    for _ in range(3):
        socket.send(masked(0xC1, Packer().pack(TEXT)))
    assert [each["text"] for each in app.messages] == [TEXT] * 3


@pytest.mark.parametrize("bits", range(9, 16))
def test_neither_side_leaves_its_window(connect, bits):  # §7.1.2
    noise = Random(bits).randbytes(40_000).hex()
    offer = b"permessage-deflate; server_max_window_bits=%d; client_max_window_bits=%d"
    socket = offering(connect, offer % (bits, bits))
    peer = Packer(int(socket.answer[b"sec-websocket-extensions"].rpartition(b"=")[2]))
    peer.unpacker = zlib.decompressobj(-bits)
    for _ in range(2):
        socket.send(masked(0xC1, peer.pack(noise)))
    assert [peer.unpack(each) for each in socket.frames] == [noise] * 2


@pytest.mark.parametrize("asked, given", [(9, 9), (12, 12), (15, 12)])
def test_our_window_is_no_larger_than_asked(connect, asked, given):  # §7.1.2.1
    socket = offering(connect, b"permessage-deflate; server_max_window_bits=%d" % asked)
    terms = socket.answer[b"sec-websocket-extensions"]
    assert terms == b"permessage-deflate; server_max_window_bits=%d" % given


@pytest.mark.parametrize("said, given", [(b"", 12), (b"=15", 12), (b"=10", 10), (b"=8", 8)])
def test_the_clients_window_is_kept_small(connect, said, given):  # §7.1.2.2
    app = Script()
    socket = offering(connect, b"permessage-deflate; client_max_window_bits" + said, app=app)
    terms = socket.answer[b"sec-websocket-extensions"]
    assert terms == b"permessage-deflate; client_max_window_bits=%d" % given
    socket.send(masked(0xC1, Packer(max(given, 9)).pack(TEXT)))
    assert app.messages[0]["text"] == TEXT


HELLO = "f2 48 cd c9 c9 07 00"


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "payloads, texts",
    [
        ([HELLO], ["Hello"]),  # §7.2.3.1
        ([HELLO, "f2 00 11 00 00"], ["Hello"] * 2),  # §7.2.3.2
        (["00 05 00 fa ff 48 65 6c 6c 6f 00"], ["Hello"]),  # §7.2.3.3
        (["f3 48 cd c9 c9 07 00 00"], ["Hello"]),  # §7.2.3.4
        (["f2 48 05 00 00 00 ff ff ca c9 c9 07 00"], ["Hello"]),  # §7.2.3.5
        (["00"], [""]),  # §7.2.3.6
    ],
)
def test_the_examples_of_the_rfc_are_read(connect, payloads, texts, way):
    app = Script()
    socket = offering(connect, app=app)
    whole = [bytes.fromhex(each) for each in payloads]
    fragments = [masked(0x41, each[:3]) + masked(0x80, each[3:]) for each in whole]
    socket.send(*way(b"".join(masked(0xC1, each) for each in whole)))
    socket.send(*way(b"".join(fragments)))
    assert [each["text"] for each in app.messages] == texts * 2


def test_a_last_block_may_say_that_it_is_final(connect):  # §7.2.3.4
    app = Script()
    socket = offering(connect, app=app)
    for text in ("hello", "world"):
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(text.encode()) + packer.flush(zlib.Z_FINISH)
        socket.send(masked(0xC1, packed + b"\x00"))
    assert [each["text"] for each in app.messages] == ["hello", "world"]


@pytest.mark.parametrize("ending", [b"", b"\x00"])
def test_a_message_may_have_several_final_blocks(connect, ending):  # §7.2.1
    app = Script()
    socket = offering(connect, app=app)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"hello") + packer.flush(zlib.Z_FINISH)
    socket.send(masked(0xC1, packed * 3 + ending))
    socket.send(masked(0x41, packed), masked(0x00, packed), masked(0x80, packed + ending))
    socket.send(masked(0xC1, Packer().pack("world")))
    assert [each["text"] for each in app.messages] == ["hello" * 3, "hello" * 3, "world"]


def test_final_blocks_that_hold_nothing_are_bounded(connect):
    app = Script()
    empty = zlib.compressobj(wbits=-15).flush(zlib.Z_FINISH)
    assert len(empty) == 2
    socket = offering(connect, app=app)
    socket.send(masked(0xC1, empty * 1000 + b"\x00"))
    assert app.messages == [{"type": "websocket.receive", "text": ""}]
    flood = masked(0xC1, empty * 500_000)
    before = time.process_time()
    socket.send(flood)
    assert time.process_time() - before < 1
    assert socket.code == 1008
