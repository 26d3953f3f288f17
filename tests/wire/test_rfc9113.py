"""RFC 9113, HTTP/2, in the order of its sections: §3 the preface, §4 frames, §5.2 to §5.5.

What concerns the states of streams is in test_rfc9113_states, §6 in test_rfc9113_frames, and §8
in test_rfc9113_messages.
"""

from __future__ import annotations

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from tests.support import apps, frames
from tests.support.frames import GET, POST, PREFACE
from tests.wire.states import (
    NOTHING,
    OTHER,
    TRAILERS,
    connected,
    connection,
    cost,
    other,
    stream,
    waits,
)
from tricorn.config import Config

OPENING = PREFACE + frames.settings()

# 3.4. HTTP/2 Connection Preface


@pytest.mark.parametrize("at", range(len(PREFACE)))
def test_a_preface_is_right_in_every_octet(at):
    peer = connected(apps.never, polite=False)
    wrong = bytearray(PREFACE)
    wrong[at] ^= 1
    peer.send(bytes(wrong) + frames.settings() + frames.headers(1))
    assert peer.closed and peer.goaway in (None, frames.PROTOCOL_ERROR)


@pytest.mark.parametrize("at", range(len(PREFACE)))
def test_a_wrong_octet_is_not_waited_behind(at):
    peer = connected(apps.never, polite=False)
    wrong = bytearray(PREFACE[: at + 1])
    wrong[at] ^= 1
    peer.send(*[wrong[each : each + 1] for each in range(len(wrong))])
    assert peer.closed


def test_the_server_does_not_wait_for_the_client_to_speak():
    peer = connected(apps.never, polite=False, secure=True)
    peer.settle()
    assert isinstance(peer.frames[0], SettingsFrame) and not peer.frames[0].flags


@pytest.mark.parametrize(
    "first",
    [
        frames.settings(ack=True),
        frames.ping(),
        frames.window_update(0, 1),
        frames.headers(1),
        frames.frame(0x77),
        frames.goaway(),
        frames.priority(1),
        frames.data(1),
    ],
)
def test_settings_are_the_first_frame(first):
    peer = connected(apps.never, polite=False)
    peer.send(PREFACE + first + frames.settings())
    assert peer.goaway == frames.PROTOCOL_ERROR and peer.closed


def test_settings_stand_once_in_the_preface():
    assert cost(connected(), PREFACE) == connection(frames.FRAME_SIZE_ERROR)


def test_requests_may_follow_before_anything_is_acknowledged():
    peer = connected(apps.echo, polite=False)
    post = frames.headers(1, POST, end=False) + frames.data(1, b"abc", end=True)
    peer.send(OPENING + post)
    assert peer.answer(1).body == b"abc"


@pytest.mark.parametrize("seen", [b"", PREFACE[:10], PREFACE, PREFACE + frames.settings()[:5]])
def test_a_preface_is_not_waited_for_without_end(seen):
    peer = connected(apps.never, Config(request_header_timeout=10.0), polite=False)
    if seen:
        peer.send(seen)
    peer.advance(11)
    assert peer.closed


# 4.1. Frame Format


def test_an_unknown_type_is_ignored_on_any_stream():
    data = b"".join(
        frames.frame(kind, b"x" * 9, flags=0xFF, stream=id)
        for kind in (0x0A, 0x0B, 0x0C, 0x11, 0x77, 0xFF)
        for id in (0, 1, 2, 7, 2**31 - 1)
    )
    assert cost(connected(), data) == NOTHING


@pytest.mark.parametrize(
    "kind, payload, id",
    [
        (frames.PING, bytes(8), 0),
        (frames.SETTINGS, b"", 0),
        (frames.WINDOW_UPDATE, bytes((0, 0, 0, 1)), 0),
        (frames.PRIORITY, bytes((0, 0, 0, 0, 9)), 1),
    ],
)
def test_flags_without_a_meaning_are_ignored(kind, payload, id):
    assert cost(connected(), frames.frame(kind, payload, flags=0xFE, stream=id)) == NOTHING


def test_flags_without_a_meaning_are_ignored_in_requests():
    peer = connected(apps.echo)
    peer.send(frames.headers(1, POST, end=False, flags=0xD2), frames.data(1, b"abc", flags=0xF6))
    peer.send(frames.headers(1, TRAILERS, flags=0xD2))
    assert peer.answer(1).body == b"abc"


def test_the_reserved_bit_is_ignored_wherever_it_is():
    peer = connected()
    peer.send(frames.headers(1, POST, end=False))
    data = frames.frame(frames.WINDOW_UPDATE, b"\x80\0\0\1", stream=2**31 + 1)
    data += frames.frame(frames.PING, bytes(8), stream=2**31)
    data += frames.data(2**31 + 1, b"x", end=True)
    assert cost(peer, data) == NOTHING


# 4.2. Frame Size


def test_a_frame_of_the_largest_size_is_taken():
    peer = connected(apps.echo)
    peer.send(frames.headers(1, POST, end=False), frames.data(1, b"x" * 16_384, end=True))
    assert len(peer.answer(1).body) == 16_384


def test_a_larger_one_is_taken_where_we_have_said_so():
    peer = connected(apps.echo, Config(h2_max_inbound_frame_size=30_000))
    peer.send(frames.headers(1, POST, end=False), frames.data(1, b"x" * 30_000, end=True))
    assert len(peer.answer(1).body) == 30_000
    assert cost(peer, frames.data(3, b"x" * 30_001)) == connection(frames.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("kind", range(12))
def test_a_frame_that_is_too_large_is_refused_by_its_head_alone(kind):
    for size in (16_385, 2**24 - 1):
        head = frames.frame(kind, b"", length=size, stream=1)
        with connected() as peer:
            assert cost(peer, head) == connection(frames.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("size", [0, 3, 5])
@pytest.mark.parametrize("kind", [frames.RST_STREAM, frames.WINDOW_UPDATE])
def test_a_frame_is_as_long_as_its_type_says(kind, size):  # §6.4, §6.9
    peer = connected()
    peer.send(frames.headers(1, POST, end=False))
    data = frames.frame(kind, bytes(size), stream=1)
    assert cost(peer, data) == connection(frames.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_ping_has_eight_octets(size):  # §6.7
    data = frames.frame(frames.PING, bytes(size))
    assert cost(connected(), data) == connection(frames.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("size", [0, 4, 7])
def test_a_goaway_has_eight_octets_or_more(size):  # §6.8
    data = frames.frame(frames.GOAWAY, bytes(size))
    assert cost(connected(), data) == connection(frames.FRAME_SIZE_ERROR)


# 4.3. Field Section Compression and Decompression


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # a dynamic entry that is not there
        b"\xff\xff\xff\xff\xff\xff\xff\x0f",  # an integer without end
        b"\x40",  # a name is missing
        b"\x00\x85\xf2",  # a string that is cut off
        b"\x00\x01a\x81\x00",  # padding of zeros (RFC7541§5.2)
        b"\x00\x01a\x84\xff\xff\xff\xff",  # EOS in a string
        b"\x00\x01a\x82\x1f\xff",  # more than seven bits of padding
        b"\x3f\xe2\x1f",  # a table of 4097 octets (RFC7541§6.3)
        b"\x82\x20",  # a size update that is not at the beginning (RFC7541§4.2)
        b"\x20\x20\x20",  # and one too many
        b"\x7f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    ],
)
def test_a_block_that_cannot_be_decoded_ends_the_connection(block):
    assert cost(connected(), frames.headers(1, block)) == connection(frames.COMPRESSION_ERROR)


@pytest.mark.parametrize("state", ["reset", "refused", "trailers"])
def test_wherever_it_comes(state):
    peer = connected(config=Config(h2_max_concurrent_streams=1))
    peer.send(frames.headers(1, POST, end=False))
    if state == "reset":
        peer.send(frames.window_update(1, 0))
    id = 3 if state == "refused" else 1
    assert cost(peer, frames.headers(id, b"\x80")) == connection(frames.COMPRESSION_ERROR)


BAD = {
    "malformed": [*POST, (b"connection", b"close")],
    "refused": [*POST, (b"expect", b"magic")],
    "length": [*POST, (b"content-length", b"x")],
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_a_block_is_decoded_whatever_becomes_of_its_stream(fields):
    app = apps.Recorder()
    peer = connected(app)
    encoder = Encoder()
    peer.send(frames.headers(1, [*fields, (b"x-new", b"1")], encoder=encoder))
    peer.send(frames.headers(3, [*GET, (b"x-new", b"1")], encoder=encoder))
    assert (b"x-new", b"1") in app.call.scope["headers"] and peer.goaway is None


@pytest.mark.parametrize("parts", [1, 2, 5, 9])
def test_a_block_may_come_in_parts(parts):
    app = apps.Recorder()
    peer = connected(app)
    block = frames.block([*GET, (b"x-a", b"1" * 100)])
    size = -(-len(block) // parts)
    pieces = [block[at : at + size] for at in range(0, len(block), size)]
    data = frames.headers(1, pieces[0], whole=parts == 1)
    for piece in pieces[1:]:
        data += frames.continuation(1, piece, whole=piece is pieces[-1])
    peer.send(data)
    assert peer.answer(1).complete and (b"x-a", b"1" * 100) in app.call.scope["headers"]


@pytest.mark.parametrize(
    "between",
    [
        frames.data(1, b"x"),
        frames.headers(1),
        frames.headers(3),
        frames.continuation(3),
        frames.priority(1),
        frames.rst(1),
        frames.settings(),
        frames.ping(),
        frames.goaway(),
        frames.window_update(0, 1),
        frames.priority_update(1, b"u=1"),
        frames.frame(0x77),
    ],
)
def test_nothing_comes_between_the_parts_of_a_block(between):  # and §5.5, §6.2, §6.10
    data = frames.headers(1, frames.block(GET)[:3], whole=False)
    rest = frames.continuation(1, frames.block(GET)[3:])
    assert cost(connected(), data + between + rest) == connection(frames.PROTOCOL_ERROR)


def test_a_block_that_never_ends_ends_the_connection():
    peer = connected(apps.never)
    peer.send(frames.headers(1, frames.block(GET), whole=False))
    peer.advance(12)
    assert peer.goaway == frames.ENHANCE_YOUR_CALM and peer.closed


# 5.2. Flow Control


def test_the_window_of_a_stream_holds():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_initial_stream_window_size=65_535))
    peer.send(frames.headers(1, POST, end=False))
    upload = frames.data(1, b"x" * 16_384) * 3 + frames.data(1, b"x" * 16_383)
    peer.send(upload)
    assert not peer.resets
    assert cost(peer, frames.data(1, b"x")) == stream(frames.FLOW_CONTROL_ERROR)
    gate.open()


def test_padding_counts():
    peer = connected(config=Config(h2_initial_stream_window_size=1024))
    peer.send(frames.headers(1, POST, end=False))
    assert cost(peer, frames.data(1, b"x" * 1000, padding=24)) == stream(frames.FLOW_CONTROL_ERROR)


def test_the_window_of_the_connection_holds():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_initial_connection_window_size=65_536))
    for id in (1, 3):
        peer.send(frames.headers(id, POST, end=False))
    peer.send(frames.data(1, b"x" * 16_384) * 4)
    assert not peer.resets and peer.goaway is None
    # What one stream has used up is given back, though nobody has read it: others need it too.
    peer.send(frames.data(3, b"x" * 16_384) * 3)
    assert not peer.resets and peer.goaway is None
    for id in (5, 7):
        peer.send(frames.headers(id, POST, end=False))
    more = frames.data(5, b"x" * 16_384) * 4 + frames.data(7, b"x" * 16_384)
    assert cost(peer, more) == connection(frames.FLOW_CONTROL_ERROR)
    for _ in range(4):
        gate.open()


def test_no_credit_comes_for_what_nobody_has_read():
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1, POST, end=False))
    before = len(peer.of(WindowUpdateFrame))
    peer.send(frames.data(1, b"x" * 16_384) * 3)
    assert len(peer.of(WindowUpdateFrame)) == before
    gate.open()


def test_credit_is_never_more_than_was_used():
    peer = connected(apps.echo)
    id = peer.begin()
    for _ in range(30):
        peer.part(id, b"x" * 30_000)
    peer.part(id, end=True)
    granted = sum(each.window_increment for each in peer.of(WindowUpdateFrame, id))
    assert granted <= 900_000 and len(peer.answer(id).body) == 900_000


def test_content_of_a_stream_that_we_have_reset_is_credited_to_the_connection():  # §5.4.2
    peer = connected(config=Config(h2_initial_connection_window_size=65_536))
    peer.send(frames.headers(1, POST, end=False), frames.window_update(1, 0))
    for _ in range(20):
        peer.send(frames.data(1, b"x" * 16_384))
    assert peer.goaway is None and peer.credit >= 32_768


# 5.4. Error Handling


@pytest.mark.parametrize("asked", [0, 1, 5])
def test_goaway_names_the_newest_stream(asked):  # §5.4.1
    peer = connected()
    for id in range(1, asked + 1, 2):
        peer.send(other(id))
    peer.send(frames.ping(stream=1))
    assert peer.goaways == [(asked, frames.PROTOCOL_ERROR)] and peer.closed


def test_nothing_is_answered_behind_an_error():
    peer = connected()
    peer.send(frames.ping(stream=1) + frames.ping() + other())
    assert not peer.of(PingFrame) and OTHER not in peer.streams
    peer.send(frames.ping() + other())
    assert not peer.of(PingFrame) and len(peer.goaways) == 1


def test_who_goes_on_behind_an_error_is_cut_off():
    peer = connected()
    peer.send(frames.ping(stream=1))
    assert not peer.reset
    for _ in range(20):
        peer.send(b"x" * 16_384)
    assert peer.reset


def test_who_stays_behind_an_error_is_cut_off():
    peer = connected()
    peer.send(frames.ping(stream=1))
    peer.advance(30)
    assert peer.wire.closing


def test_what_was_answered_before_an_error_is_delivered():
    peer = connected()
    peer.send(other() + frames.headers(11, POST, end=False))
    peer.send(frames.ping(stream=1))
    assert peer.answer(OTHER).complete and peer.of(DataFrame, OTHER)


def test_an_error_is_told_to_what_is_open():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, POST, end=False), frames.headers(3, POST, end=False))
    peer.send(frames.ping(stream=1))
    assert [call.disconnected for call in app.calls] == [True, True]
    assert all(isinstance(call.error, OSError) for call in app.calls)
    assert not peer.streams


# 5.5. Extending HTTP/2


def test_an_unknown_setting_is_ignored():
    data = frames.settings({0xF0F0: 1, 0x0A: 2**32 - 1, 0: 7, 7: 7})
    assert cost(connected(), data) == NOTHING
