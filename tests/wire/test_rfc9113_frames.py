"""RFC 9113§6, frame by frame, as far as it is not about the states of streams."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame

from tests.support import apps, frames
from tests.support.apps import body, start
from tests.support.frames import GET, POST
from tests.wire.states import NOTHING, OTHER, connected, connection, cost, other, stream, waits
from tricorn.config import Config

PROTOCOL = connection(frames.PROTOCOL_ERROR)
SIZE = connection(frames.FRAME_SIZE_ERROR)

# 6.1. DATA, 6.2. HEADERS: padding


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_no_content(padding):
    peer = connected(apps.echo)
    head = frames.headers(1, POST, end=False, padding=padding)
    peer.send(head + frames.data(1, b"abc", end=True, padding=padding))
    assert peer.answer(1).body == b"abc"


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05abcd", b"\xff" + bytes(100)])
@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS])
def test_padding_is_shorter_than_its_frame(kind, payload):
    peer = connected()
    peer.send(frames.headers(1, POST, end=False))
    data = frames.frame(kind, payload, flags=frames.PADDED | 4, stream=1)
    assert cost(peer, data) in (PROTOCOL, SIZE)


def test_padding_may_be_all_that_there_is():
    peer = connected(apps.echo)
    peer.send(frames.headers(1, POST, end=False), frames.data(1, padding=4, end=True))
    assert peer.answer(1).body == b""


def test_a_priority_is_whole_or_the_frame_is_wrong():
    data = frames.frame(frames.HEADERS, b"\0\0\0\0", flags=0x25, stream=1)
    assert cost(connected(), data) == SIZE


def test_padding_and_priority_may_both_be_there():
    peer = connected(apps.hello)
    peer.send(frames.headers(1, padding=9, priority=(0, 256, True)))
    assert peer.answer(1).body == b"hello"


def test_the_end_of_a_stream_is_said_in_headers_not_in_continuation():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, frames.block(POST), end=True, whole=False))
    assert not app.calls
    peer.send(frames.continuation(1))
    assert app.call.ended
    block = frames.block(POST)
    peer.send(frames.headers(3, block[:2], end=False, whole=False))
    peer.send(frames.continuation(3, block[2:], flags=frames.END_STREAM))
    assert not app.calls[1].ended


# 6.5. SETTINGS


def test_settings_are_acknowledged_in_their_order():
    peer = connected(apps.never)
    before = len(peer.of(SettingsFrame))
    peer.send(frames.settings({3: 1}) + frames.settings() + frames.ping())
    assert [each.type for each in peer.frames[-3:]] == [4, 4, 6]
    assert len(peer.of(SettingsFrame)) == before + 2


def test_an_acknowledgement_says_nothing_else():
    data = frames.frame(frames.SETTINGS, bytes(6), flags=frames.ACK)
    assert cost(connected(), data) == SIZE


def test_an_acknowledgement_too_many_is_ignored():
    assert cost(connected(), frames.settings(ack=True)) == NOTHING


@pytest.mark.parametrize("size", [1, 5, 7])
def test_settings_are_whole(size):
    assert cost(connected(), frames.frame(frames.SETTINGS, bytes(size))) == SIZE


# 6.5.2. Defined Settings


@pytest.mark.parametrize(
    "setting, value, code",
    [
        (frames.ENABLE_PUSH, 2, frames.PROTOCOL_ERROR),
        (frames.ENABLE_PUSH, 2**32 - 1, frames.PROTOCOL_ERROR),
        (frames.INITIAL_WINDOW_SIZE, 2**31, frames.FLOW_CONTROL_ERROR),
        (frames.INITIAL_WINDOW_SIZE, 2**32 - 1, frames.FLOW_CONTROL_ERROR),
        (frames.MAX_FRAME_SIZE, 0, frames.PROTOCOL_ERROR),
        (frames.MAX_FRAME_SIZE, 16_383, frames.PROTOCOL_ERROR),
        (frames.MAX_FRAME_SIZE, 2**24, frames.PROTOCOL_ERROR),
        (frames.ENABLE_CONNECT_PROTOCOL, 2, frames.PROTOCOL_ERROR),  # RFC8441§3
        (frames.NO_RFC7540_PRIORITIES, 2, frames.PROTOCOL_ERROR),  # RFC9218§2.1
    ],
)
def test_a_value_that_cannot_be_ends_the_connection(setting, value, code):
    assert cost(connected(), frames.settings({setting: value})) == connection(code)


@pytest.mark.parametrize(
    "setting, value",
    [
        (frames.HEADER_TABLE_SIZE, 0),
        (frames.HEADER_TABLE_SIZE, 2**32 - 1),
        (frames.ENABLE_PUSH, 0),
        (frames.ENABLE_PUSH, 1),
        (frames.MAX_CONCURRENT_STREAMS, 0),
        (frames.MAX_CONCURRENT_STREAMS, 2**32 - 1),
        (frames.INITIAL_WINDOW_SIZE, 2**31 - 1),
        (frames.MAX_FRAME_SIZE, 16_384),
        (frames.MAX_FRAME_SIZE, 2**24 - 1),
        (frames.MAX_HEADER_LIST_SIZE, 0),
        (frames.MAX_HEADER_LIST_SIZE, 2**32 - 1),
    ],
)
def test_a_value_at_the_edge_is_taken(setting, value):
    assert cost(connected(), frames.settings({setting: value})) == NOTHING


def test_the_last_of_several_values_holds():
    peer = connected(apps.answers(b"x" * 50))
    window = frames.INITIAL_WINDOW_SIZE
    peer.generous = False
    peer.send(frames.settings([(window, 1), (window, 9), (window, 3)]))
    assert len(peer.answer(peer.ask()).body) == 3


def test_frames_are_as_large_as_the_peer_allows():
    peer = connected(apps.answers(b"x" * 60_000))
    peer.fetch()
    assert max(each.body_len for each in peer.of(DataFrame)) <= 16_384
    peer.send(frames.settings({frames.MAX_FRAME_SIZE: 60_000}))
    peer.fetch()
    assert max(each.body_len for each in peer.of(DataFrame)) == 60_000


def test_a_table_of_nothing_is_used_for_nothing():
    peer = connected(apps.answers(b"x", 200, (b"x-a", b"1")), settings={1: 0})
    peer.decoder.max_allowed_table_size = 0
    for _ in range(5):
        assert peer.fetch()[b"x-a"] == b"1"
    assert peer.decoder.header_table_size == 0


def test_a_table_that_shrinks_and_grows_again_is_announced_as_both():  # RFC7541§4.2
    peer = connected(apps.answers(b"x", 200, (b"x-a", b"1")))
    for size in (0, 4096, 64):
        for _ in range(3):
            assert peer.fetch()[b"x-a"] == b"1"
        peer.send(frames.settings({1: 0}) + frames.settings({1: size}))
        assert peer.fetch()[b"x-a"] == b"1"
        assert peer.decoder.header_table_size == size


# 6.5.3. Settings Synchronization


def test_settings_that_are_not_acknowledged_end_the_connection():
    peer = connected(apps.never, polite=False)
    peer.send(frames.PREFACE + frames.settings())
    peer.advance(29)
    assert peer.goaway is None
    peer.advance(3)
    assert peer.goaway == frames.SETTINGS_TIMEOUT and peer.closed


def test_the_same_while_streams_are_open():
    peer = connected(polite=False)
    peer.send(frames.PREFACE + frames.settings() + frames.headers(1))
    peer.advance(32)
    assert peer.goaway == frames.SETTINGS_TIMEOUT and peer.closed


# 6.7. PING


def test_a_ping_is_answered_with_what_it_said():
    peer = connected(apps.never)
    peer.send(frames.ping(b"\xff\x00abcdef"))
    (answer,) = peer.of(PingFrame)
    assert answer.opaque_data == b"\xff\x00abcdef" and answer.flags == {"ACK"}


def test_an_answer_to_a_ping_is_not_answered():
    peer = connected(apps.never)
    peer.send(frames.ping(ack=True))
    assert not peer.of(PingFrame)


# 6.8. GOAWAY


def test_goaway_of_the_client_ends_an_idle_connection():
    peer = connected(apps.hello)
    peer.fetch()
    peer.send(frames.goaway(0, frames.NO_ERROR, b"thank you"))
    assert peer.goaways == [(1, frames.NO_ERROR)] and peer.closed


@pytest.mark.parametrize("code", [frames.NO_ERROR, frames.PROTOCOL_ERROR, 0xFFFF])
def test_goaway_of_the_client_leaves_open_what_is_open(code):
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1), frames.goaway(0, code), frames.ping())
    assert peer.of(PingFrame) and peer.goaway is None
    gate.open()
    peer.settle()
    assert peer.answer(1).body == b"hello" and peer.closed


def test_an_upload_goes_on_behind_goaway_of_the_client():
    peer = connected(apps.echo)
    peer.send(frames.headers(1, POST, end=False), frames.goaway())
    peer.send(frames.data(1, b"abc", end=True))
    assert peer.answer(1).body == b"abc" and peer.closed


def test_what_a_refusal_says_is_delivered_behind_goaway_of_the_client():
    peer = connected(config=Config(read_timeout=5.0))
    peer.send(frames.headers(1, POST, end=False), frames.goaway())
    peer.advance(10)
    assert peer.answer(1).status == 408 and peer.closed


def test_a_drain_has_two_steps_and_loses_nothing():
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1))
    peer.polite = False
    peer.drain()
    assert peer.goaways == [(2**31 - 1, frames.NO_ERROR)] and not peer.closed
    (ping,) = peer.of(PingFrame)
    peer.send(frames.headers(3))
    peer.send(frames.ping(ping.opaque_data, ack=True))
    assert peer.goaways[1:] == [(3, frames.NO_ERROR)] and not peer.closed
    for _ in range(2):
        gate.open()
    peer.settle()
    assert [peer.answer(id).body for id in (1, 3)] == [b"hello"] * 2 and peer.closed


def drained(gate):
    """A connection that serves stream 1 and no later one."""
    peer = connected(gate)
    peer.send(frames.headers(1))
    peer.drain()
    assert [last for last, _ in peer.goaways] == [2**31 - 1, 1]
    return peer


def test_later_streams_are_ignored_but_for_their_fields():
    from hpack import Encoder

    gate = apps.Gate(waits)
    peer = drained(gate)
    encoder = Encoder()
    for id in range(3, 403, 2):
        peer.send(frames.headers(id, [*POST, (b"x-new", b"1")], end=False, encoder=encoder))
    peer.send(frames.data(3, b"x") + frames.data(401, b"x") + frames.rst(5) + frames.rst(399))
    assert peer.goaway == frames.NO_ERROR and not peer.resets
    gate.open()
    peer.settle()
    assert peer.answer(1).complete and peer.closed


def test_the_last_stream_is_never_raised_again():
    gate = apps.Gate(waits)
    peer = drained(gate)
    peer.send(frames.headers(3), frames.ping(stream=1))
    assert peer.goaways[-1] == (1, frames.PROTOCOL_ERROR)
    gate.open()


def test_a_second_drain_says_nothing_new():
    gate = apps.Gate(waits)
    peer = drained(gate)
    peer.drain()
    assert len(peer.goaways) == 2
    gate.open()


# 6.9. WINDOW_UPDATE


def test_the_window_of_the_connection_may_not_overflow():
    data = frames.window_update(0, 2**31 - 1)
    assert cost(connected(), data) == connection(frames.FLOW_CONTROL_ERROR)
    assert cost(connected(), frames.window_update(0, 2**31 - 65_536)) == NOTHING


def test_nor_in_small_steps():
    data = frames.window_update(0, 2**30)
    assert cost(connected(), data + data) == connection(frames.FLOW_CONTROL_ERROR)


def test_the_window_of_a_stream_may_not_overflow():
    peer = connected()
    peer.send(frames.headers(1), frames.window_update(1, 2**31 - 65_536))
    assert cost(peer, frames.window_update(1, 1)) == stream(frames.FLOW_CONTROL_ERROR)


def test_nothing_is_no_increment():
    assert cost(connected(), frames.window_update(0, 0)) == PROTOCOL


# 6.9.1, 6.9.2. The Flow-Control Window, Initial Flow-Control Window Size


def test_a_new_initial_size_may_overflow_an_old_window():
    peer = connected()
    peer.send(frames.headers(1), frames.window_update(1, 2**31 - 65_536))
    data = frames.settings({frames.INITIAL_WINDOW_SIZE: 65_536})
    assert cost(peer, data) == connection(frames.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("ways", [(0,), (0, 100), (5, 0, 3), (1, 2, 3, 40)])
def test_a_new_initial_size_moves_every_window(ways):
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.generous = False
    peer.send(frames.headers(1), frames.headers(3))
    for size in ways:
        peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: size}))
    for _ in range(2):
        gate.open()
    peer.settle()
    assert [len(peer.answer(id).body) for id in (1, 3)] == [min(5, ways[-1])] * 2


def test_a_window_below_nothing_has_to_be_filled_first():
    peer = connected(apps.answers(b"x" * 100), settings={frames.INITIAL_WINDOW_SIZE: 60})
    peer.generous = False
    id = peer.ask()
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 10}))
    for increment, sent in ((49, 60), (1, 60), (1, 61), (9, 70)):
        peer.grant(id, increment)
        assert len(peer.answer(id).body) == sent
    peer.grant(id, 30)
    assert peer.answer(id).complete


def test_settings_leave_the_window_of_the_connection_alone():
    peer = connected(apps.answers(b"x" * 100_000), settings={frames.INITIAL_WINDOW_SIZE: 100_000})
    peer.generous = False
    id = peer.ask()
    assert len(peer.answer(id).body) == 65_535


def test_the_end_of_a_response_needs_no_window():
    app = apps.sends(
        start(200, trailers=True), body(b"abc", more=True), body(), apps.trailers((b"x-sum", b"1"))
    )
    peer = connected(app, settings={frames.INITIAL_WINDOW_SIZE: 3})
    peer.generous = False
    peer.send(frames.headers(1, [*GET, (b"te", b"trailers")]))
    assert peer.answer(1).complete and peer.answer(1).trailers == [(b"x-sum", b"1")]


# 6.10. CONTINUATION


def test_continuation_follows_what_is_not_complete():
    data = frames.headers(1) + frames.continuation(1)
    assert cost(connected(), data) == PROTOCOL
    split = frames.headers(1, b"", whole=False) + frames.continuation(1, frames.block(GET))
    assert cost(connected(), split + frames.continuation(1)) == PROTOCOL


def test_a_response_head_comes_in_parts_where_it_has_to():
    fields = [(b"x-%d" % each, b"y" * 4000) for each in range(10)]
    peer = connected(apps.answers(b"x", 200, *fields))
    peer.send(other())
    answer = peer.answer(OTHER)
    assert answer.complete and all(field in answer.headers for field in fields)
