"""RFC9113§5.1: every kind of frame in every state of a stream, and §5.1.1, §5.1.2."""

from __future__ import annotations

import pytest

from tests.support import apps, frames
from tests.support.frames import GET, POST
from tests.wire.states import (
    NOTHING,
    OTHER,
    STATES,
    TRAILERS,
    connected,
    connection,
    cost,
    other,
    stream,
    waits,
)
from tricorn.config import Config

PROTOCOL = connection(frames.PROTOCOL_ERROR)
CLOSED = connection(frames.STREAM_CLOSED)

FRAMES = {
    "DATA": frames.data(1, b"x"),
    "DATA-end": frames.data(1, b"x", end=True),
    "DATA-empty": frames.data(1),
    "DATA-padded": frames.data(1, b"x", padding=9),
    "HEADERS": frames.headers(1, TRAILERS),
    "HEADERS-open": frames.headers(1, TRAILERS, end=False),
    "HEADERS-padded": frames.headers(1, TRAILERS, padding=9, priority=(0, 9, False)),
    "HEADERS-split": frames.headers(1, b"", whole=False)
    + frames.continuation(1, frames.block(TRAILERS)),
    "PRIORITY": frames.priority(1, 3),
    "RST_STREAM": frames.rst(1),
    "SETTINGS": frames.settings(stream=1),
    "PUSH_PROMISE": frames.frame(
        frames.PUSH_PROMISE, bytes((0, 0, 0, 2)) + frames.block(GET), flags=4, stream=1
    ),
    "PING": frames.ping(stream=1),
    "GOAWAY": frames.goaway(stream=1),
    "WINDOW_UPDATE": frames.window_update(1, 1),
    "WINDOW_UPDATE-0": frames.window_update(1, 0),
    "WINDOW_UPDATE-max": frames.window_update(1, 2**31 - 1),
    "CONTINUATION": frames.continuation(1, frames.block(TRAILERS)),
    "PRIORITY_UPDATE": frames.priority_update(1, b"u=1"),
    "PRIORITY_UPDATE-on-it": frames.priority_update(1, b"u=1", stream=1),
    "unknown": frames.frame(0x77, b"x", flags=0xFF, stream=1),
}

ALWAYS = {
    "PRIORITY": NOTHING,
    "SETTINGS": PROTOCOL,
    "PUSH_PROMISE": PROTOCOL,
    "PING": PROTOCOL,
    "GOAWAY": PROTOCOL,
    "CONTINUATION": PROTOCOL,
    "PRIORITY_UPDATE": NOTHING,
    "PRIORITY_UPDATE-on-it": PROTOCOL,
    "unknown": NOTHING,
}
DATAS = [each for each in FRAMES if each.startswith("DATA")]
HEADS = [each for each in FRAMES if each.startswith("HEADERS")]
MALFORMED = stream(frames.PROTOCOL_ERROR)
BEHIND_THE_END = dict.fromkeys((*DATAS, *HEADS), stream(frames.STREAM_CLOSED))
WINDOW = {
    "WINDOW_UPDATE": NOTHING,
    "WINDOW_UPDATE-0": MALFORMED,
    "WINDOW_UPDATE-max": stream(frames.FLOW_CONTROL_ERROR),
}
LATE = {"RST_STREAM": NOTHING, **dict.fromkeys(WINDOW, NOTHING)}
"""RFC9113§5.1: what may have been under way when the stream ended."""

EXPECTED = {
    "idle": {
        **dict.fromkeys(DATAS, PROTOCOL),
        **dict.fromkeys(HEADS, MALFORMED),  # a request without pseudo-fields
        "RST_STREAM": PROTOCOL,
        **dict.fromkeys(WINDOW, PROTOCOL),
    },
    "open": {
        **dict.fromkeys((*DATAS, *HEADS), NOTHING),
        "HEADERS-open": MALFORMED,  # §8.1: trailers are the end
        "RST_STREAM": NOTHING,
        **WINDOW,
    },
    "half-closed-remote": {**BEHIND_THE_END, "RST_STREAM": NOTHING, **WINDOW},
    "closed-by-both": {**dict.fromkeys((*DATAS, *HEADS), CLOSED), **LATE},
    "closed-by-its-reset": {**dict.fromkeys((*DATAS, *HEADS), CLOSED), **LATE},
    "closed-by-our-reset": {**dict.fromkeys((*DATAS, *HEADS), NOTHING), **LATE},
    "closed-by-an-early-answer": {**dict.fromkeys((*DATAS, *HEADS), NOTHING), **LATE},
    "skipped": {
        **dict.fromkeys(DATAS, CLOSED),
        **dict.fromkeys(HEADS, CLOSED),
        **LATE,
    },
}
CASES = [
    pytest.param(state, frame, (ALWAYS | EXPECTED[state])[frame], id=f"{state}-{frame}")
    for state in STATES
    for frame in FRAMES
]


@pytest.mark.parametrize("state, frame, expected", CASES)
def test_a_frame_in_a_state(state, frame, expected):
    peer = connected()
    STATES[state](peer)
    assert cost(peer, FRAMES[frame]) == expected


@pytest.mark.parametrize("frame", ["DATA-end", "HEADERS", "RST_STREAM", "WINDOW_UPDATE-max"])
def test_an_open_stream_hears_its_end(frame):
    app = apps.Recorder()
    peer = connected(app)
    STATES["open"](peer)
    peer.send(FRAMES[frame])
    ended = frame in ("DATA-end", "HEADERS")
    assert (app.call.ended, app.call.disconnected) == (ended, not ended)


def test_a_request_that_the_client_has_ended_hears_of_a_reset():
    heard = []

    async def application(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.append("gone")

    peer = connected(application)
    peer.send(frames.headers(1))
    peer.send(frames.rst(1))
    assert heard == ["gone"]


def test_nothing_is_sent_on_a_stream_that_the_client_has_reset():
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1))
    peer.send(frames.rst(1))
    seen = len(peer.frames)
    gate.open()
    peer.settle()
    assert len(peer.frames) == seen


@pytest.mark.parametrize("state", ["half-closed-remote", "open"])
def test_an_own_reset_is_told_once_whatever_follows(state):
    peer = connected()
    STATES[state](peer)
    peer.send(frames.window_update(1, 0) * 3 + frames.data(1, b"x") * 3 + frames.headers(1) * 3)
    assert peer.resets == {1: frames.PROTOCOL_ERROR} and peer.goaway is None
    assert sum(each.type == frames.RST_STREAM for each in peer.frames) == 1


# 5.1.1. Stream Identifiers


@pytest.mark.parametrize("id", [0, 2, 2**31 - 2])
def test_a_client_opens_odd_streams_only(id):
    assert cost(connected(), frames.headers(id), id) == PROTOCOL


@pytest.mark.parametrize("id", [0, 2])
@pytest.mark.parametrize("depends_on", [0, 1, 2])
def test_a_priority_does_not_change_that(id, depends_on):
    data = frames.headers(id, priority=(depends_on, 16, False))
    assert cost(connected(), data, id) == PROTOCOL


def test_streams_may_be_left_out():
    peer = connected(apps.hello)
    peer.send(frames.headers(1) + frames.headers(7) + frames.headers(2**31 - 1))
    assert [each.body for each in peer.streams.values()] == [b"hello"] * 3


def test_a_stream_below_the_newest_cannot_be_opened():
    peer = connected(apps.hello)
    peer.send(frames.headers(5))
    peer.send(frames.headers(3))
    assert peer.goaway in (frames.PROTOCOL_ERROR, frames.STREAM_CLOSED) and peer.closed
    assert peer.goaways[-1][0] == 5 and 3 not in peer.streams


def test_the_reserved_bit_of_an_identifier_means_nothing():  # §4.1
    peer = connected(apps.hello)
    peer.send(frames.headers(2**31 + 1))
    assert peer.answer(1).body == b"hello"


@pytest.mark.parametrize("frame", ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "CONTINUATION"])
def test_frames_of_streams_are_none_of_the_connection(frame):  # §6.1 to §6.4, §6.10
    data = bytearray(FRAMES[frame])
    data[5:9] = bytes(4)
    assert cost(connected(), bytes(data), 0) == PROTOCOL


# 5.1.2. Stream Concurrency


def test_the_most_streams_may_be_open_at_once():
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(b"".join(frames.headers(id) for id in range(1, 201, 2)))
    assert not peer.resets and len(gate.seen) == 0
    for _ in range(100):
        gate.open()
    peer.settle()
    assert peer.statuses == [200] * 100


def test_one_more_is_refused_and_costs_nobody_else_anything():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_max_concurrent_streams=3))
    peer.send(b"".join(frames.headers(id) for id in (1, 3, 5, 7)) + frames.headers(OTHER))
    assert peer.resets == {7: frames.REFUSED_STREAM, OTHER: frames.REFUSED_STREAM}
    for _ in range(3):
        gate.open()
    peer.settle()
    assert [peer.answer(id).body for id in (1, 3, 5)] == [b"hello"] * 3 and peer.goaway is None


def test_the_fields_of_a_refused_stream_are_known_to_the_next_one():  # §4.3
    from hpack import Encoder

    app = apps.Gate(waits)
    peer = connected(app, Config(h2_max_concurrent_streams=1))
    encoder = Encoder()
    peer.send(frames.headers(1, encoder=encoder))
    fields = [*GET[:3], (b":path", b"/new"), (b"x-new", b"1")]
    peer.send(frames.headers(3, fields, encoder=encoder))
    assert peer.resets == {3: frames.REFUSED_STREAM}
    app.open()
    peer.settle()
    peer.send(frames.headers(5, fields, encoder=encoder))
    assert peer.answer(5).body == b"hello" and peer.goaway is None


def test_a_stream_that_has_ended_makes_room():
    peer = connected(config=Config(h2_max_concurrent_streams=1))
    for id in (1, 3, 5):
        peer.send(other(id))
        assert peer.answer(id).complete


def test_the_content_of_a_refused_stream_is_ignored():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_max_concurrent_streams=1))
    peer.send(frames.headers(1))
    upload = frames.headers(3, POST, end=False) + frames.data(3, b"x" * 100, end=True)
    peer.send(upload)
    assert peer.resets == {3: frames.REFUSED_STREAM} and peer.goaway is None
    gate.open()


# 5.3. Prioritization


def test_a_stream_that_depends_on_itself_costs_that_stream():
    from hpack import Encoder

    app = apps.Recorder()
    peer = connected(app)
    encoder = Encoder()
    fields = [*POST, (b"x-new", b"1")]
    bad = frames.headers(1, fields, encoder=encoder, priority=(1, 16, False))
    peer.send(bad + frames.headers(3, fields, encoder=encoder))
    assert peer.resets == {1: frames.PROTOCOL_ERROR} and peer.goaway is None
    assert (b"x-new", b"1") in app.call.scope["headers"]


def test_so_do_trailers_that_do():
    app = apps.Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, POST, end=False))
    peer.send(frames.headers(1, TRAILERS, priority=(1, 16, False), whole=False))
    peer.send(frames.continuation(1))
    assert peer.goaway is None and len(app.calls) == 1
    peer.send(other())
    assert peer.answer(OTHER).complete


@pytest.mark.parametrize("length", [0, 4, 6])
def test_priority_has_five_octets(length):  # §6.3
    data = frames.frame(frames.PRIORITY, bytes(length), stream=1)
    for state in ("open", "half-closed-remote"):
        peer = connected()
        STATES[state](peer)
        assert cost(peer, data) == stream(frames.FRAME_SIZE_ERROR)


def test_priorities_of_streams_that_are_not_there_yet_are_taken():
    peer = connected(apps.hello)
    peer.send(frames.priority(3, 0) + frames.priority(5, 3) + frames.priority(2, 7))
    assert cost(peer, other(5)) == NOTHING


# 5.4.1. Connection Error Handling


@pytest.mark.parametrize("fault", [frames.ping(stream=1), frames.data(5)])
@pytest.mark.parametrize("room", [frames.window_update(1, 9), frames.window_update(0, 9), b""])
def test_what_waits_for_room_is_given_up_with_the_connection(room, fault):
    window = {frames.INITIAL_WINDOW_SIZE: 5}
    peer = connected(apps.answers(b"x" * 100), settings=window)
    peer.generous = False
    peer.send(frames.headers(1), frames.headers(3))
    peer.send(room + fault + room)
    assert peer.goaway == frames.PROTOCOL_ERROR and peer.closed
    assert [each.complete for each in peer.streams.values()] == [False, False]


def test_what_waits_for_the_transport_is_given_up_with_the_connection():
    peer = connected(apps.answers(b"x" * 60_000))
    peer.stop_reading()
    peer.send(frames.headers(1) + frames.headers(3) + frames.headers(5))
    peer.send(frames.ping(stream=1))
    peer.read()
    assert peer.goaway == frames.PROTOCOL_ERROR and peer.closed
