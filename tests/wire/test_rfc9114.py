"""RFC 9114, in the order of its sections: what a client may send, and what it gets for the rest."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.h3peer import H3Peer, frame, integer, take_frame, take_integer
from tricorn.config import Config

DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
ORDINARY = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")]


def control_frames(peer):
    kind, data = take_integer(peer.control)
    assert kind == 0
    found = []
    while (each := take_frame(data)) is not None:
        found.append(each[:2])
        data = each[2]
    return found


# §4.1 HTTP Message Framing


def test_frames_may_come_octet_by_octet():
    app = apps.Recorder()
    peer = H3Peer(app)
    data = peer.request("/a", "POST") + frame(DATA, b"hello") + frame(DATA, b" world")
    id = peer.open(data[:1])
    for at in range(1, len(data)):
        peer.write(id, data[at : at + 1])
    peer.write(id, b"", end=True)
    assert app.call.body == b"hello world" and peer.streams[id].status == 200


@pytest.mark.parametrize("first", [frame(DATA, b"x"), frame(DATA)])
def test_content_before_a_head_ends_the_connection(first):
    peer = H3Peer(apps.never)
    peer.open(first)
    assert peer.closed_with == 0x105


def test_nothing_follows_the_trailers():
    peer = H3Peer(apps.echo)
    trailers = peer.head([(b"x-a", b"1")])
    peer.open(peer.request("/", "POST") + trailers + frame(DATA, b"x"))
    assert peer.closed_with == 0x105


def test_a_third_section_ends_the_connection():
    peer = H3Peer(apps.echo)
    trailers = peer.head([(b"x-a", b"1")])
    peer.open(peer.request("/", "POST") + trailers + trailers)
    assert peer.closed_with == 0x105


def test_unknown_frames_are_passed_over():  # §9
    peer = H3Peer(apps.echo)
    grease = frame(0x21, b"xyz") + frame(0x1F * 1000 + 0x21)
    data = grease + peer.request("/", "POST") + grease + frame(DATA, b"a") + grease
    id = peer.open(data + frame(DATA, b"b") + grease, end=True)
    assert peer.streams[id].body == b"ab"


def test_a_stream_without_a_head_is_reset():
    peer = H3Peer(apps.hello)
    id = peer.open(b"", end=True)
    assert peer.resets == {id: 0x10D} and not peer.closed
    assert peer.fetch().status == 200


# §4.1.1 Request Cancellation and Rejection


def test_a_response_before_the_end_of_its_request_asks_for_no_more():
    peer = H3Peer(apps.hello)
    id = peer.begin()
    answer = peer.result(id)
    assert answer.status == 200 and answer.complete and answer.reset is None
    assert [e.error_code for e in peer.events if type(e).__name__ == "StopSendingReceived"] == [
        0x100
    ]


def test_requests_may_arrive_in_another_order_than_they_were_sent():  # RFC9000§2.1
    peer = H3Peer(apps.echo)
    ids = [peer.quic.get_next_available_stream_id()]
    for _ in range(3):
        peer.quic.send_stream_data(ids[-1], b"")  # it is open, and nothing has been sent
        ids.append(peer.quic.get_next_available_stream_id())
    for id in (ids[2], ids[0], ids[3], ids[1]):
        peer.write(id, peer.request("/", "POST") + frame(DATA, b"%d" % id), end=True)
    assert [peer.streams[id].body for id in ids] == [b"%d" % id for id in ids]


def test_what_comes_for_a_request_that_is_over_is_not_another_request():
    app = apps.Recorder()
    peer = H3Peer(app)
    first = peer.begin()
    peer.abandon(first)
    peer.fetch()
    peer.connection.feed_stream(first, peer.request(), ended=True)
    peer.settle()
    assert len(app.calls) == 2 and not peer.closed


def test_a_request_that_is_cancelled_before_it_has_come_costs_its_stream_only():
    peer = H3Peer(apps.hello, Config(quic_max_concurrent_streams=5))
    for _ in range(20):
        id = peer.quic.get_next_available_stream_id()
        peer.quic.send_stream_data(id, b"")
        peer.quic.reset_stream(id, 0x10C)
        peer.settle()
    assert peer.fetch().status == 200 and not peer.closed


@pytest.mark.parametrize("code", [0x100, 0x107])
def test_a_connection_that_the_client_closes_ends_its_requests_at_once(code):  # §5.3
    app = apps.Recorder()
    peer = H3Peer(app)
    peer.begin()
    peer.quic.close(error_code=code)
    peer.settle()
    assert app.call.disconnected and not peer.context.running


# §4.1.2 Malformed Requests and Responses


@pytest.mark.parametrize(
    "fields",
    [
        ORDINARY[1:],
        ORDINARY[:3],
        [*ORDINARY, (b":path", b"/")],
        [*ORDINARY, (b"X-A", b"1")],
        [*ORDINARY, (b"x a", b"1")],
        [*ORDINARY, (b"x-a", b"1\r\n2")],
        [*ORDINARY, (b"connection", b"close")],
        [*ORDINARY, (b"transfer-encoding", b"chunked")],
        [*ORDINARY, (b"te", b"gzip")],
        [*ORDINARY, (b"content-length", b"+5")],
        [*ORDINARY, (b"content-length", b"5"), (b"content-length", b"6")],
        [*ORDINARY, (b"host", b"other")],
        [*ORDINARY, (b":protocol", b"websocket")],
        [(b"x-a", b"1"), *ORDINARY],
        [ORDINARY[0], ORDINARY[1], ORDINARY[2], (b":path", b"/ HTTP/1.1")],
    ],
)
def test_a_malformed_request_costs_its_stream_only(fields):
    peer = H3Peer(apps.hello)
    id = peer.open(peer.head(fields), end=True)
    assert peer.resets == {id: 0x10E} and not peer.closed
    assert peer.fetch().status == 200


@pytest.mark.parametrize(
    ("said", "parts"), [(b"5", [b"1234"]), (b"5", [b"123", b"456"]), (b"0", [b"1"]), (b"1", [])]
)
def test_content_length_is_checked_at_the_end(said, parts):
    peer = H3Peer(apps.echo)
    head = peer.head([(b":method", b"POST"), *ORDINARY[1:], (b"content-length", said)])
    id = peer.open(head + b"".join(frame(DATA, each) for each in parts), end=True)
    assert peer.resets == {id: 0x10E} and not peer.closed


# §4.2.2 Header Size Constraints


def test_a_head_that_is_announced_too_large_is_refused_before_it_comes():
    peer = H3Peer(apps.hello)
    id = peer.open(integer(HEADERS) + integer(512 * 1024 * 1024) + b"x" * 100)
    assert peer.result(id).status == 431 and not peer.closed


def test_a_head_with_too_many_fields_is_refused():
    peer = H3Peer(apps.hello)
    id = peer.open(peer.head([*ORDINARY, *[(b"a", b"b")] * 101]), end=True)
    assert peer.result(id).status == 431
    assert peer.fetch().status == 200


def test_large_heads_are_bounded_together():
    peer = H3Peer(apps.echo)
    large = [(b"x-%d" % at, b"\xff" * 250) for at in range(50)]
    ids = [peer.begin("/", "POST", large) for _ in range(30)]
    refused = [id for id in ids if peer.resets.get(id) == 0x10B]
    assert 0 < len(refused) < 15 and not peer.closed
    assert peer.fetch().status == 200
    for id in ids:
        if id not in refused:
            peer.part(id, end=True)


# §4.4 The CONNECT Method


def test_connect_is_no_proxy():
    peer = H3Peer(apps.never)
    id = peer.open(peer.head([(b":method", b"CONNECT"), (b":authority", b"a:1")]))
    assert peer.result(id).status == 501


# §5.2 Connection Shutdown


def test_a_drain_says_goodbye_twice_and_serves_what_comes_between():
    peer = H3Peer(apps.hello)
    peer.fetch()
    gate = peer.begin()  # holds the connection open
    peer.drain()
    goaways = [take_integer(each)[0] for kind, each in control_frames(peer) if kind == GOAWAY]
    assert goaways == [2**62 - 4]
    assert peer.fetch().status == 200
    assert gate == 4


def test_a_request_behind_the_last_goodbye_is_rejected_and_may_be_tried_again():
    async def waits(gate, scope, receive, send):
        await gate.wait()
        await apps.hello(scope, receive, send)

    gate = apps.Gate(waits)
    peer = H3Peer(gate)
    first = peer.ask()
    peer.drain()
    peer.advance(3)
    goaways = [take_integer(each)[0] for kind, each in control_frames(peer) if kind == GOAWAY]
    assert goaways == [2**62 - 4, first + 4]
    late = peer.ask()
    assert peer.resets == {late: 0x10B} and not peer.closed
    gate.open()
    peer.settle()


def test_the_last_goodbye_is_heard_before_an_idle_connection_is_closed():
    """Requests may have crossed it: the client has to know that it may ask them again."""
    peer = H3Peer(apps.hello)
    peer.fetch()
    peer.drain()
    peer.advance(3)
    goaways = [take_integer(each)[0] for kind, each in control_frames(peer) if kind == GOAWAY]
    assert goaways == [2**62 - 4, 4]
    assert peer.closed_with == 0x100


def test_a_client_that_has_gone_is_not_waited_for_after_the_last_goodbye():
    peer = H3Peer(apps.hello)
    peer.fetch()
    peer.drain()
    peer.here = False
    peer.advance(3)
    assert peer.endpoint.emptied.is_set()


# §6.2 Unidirectional Streams


def test_a_control_stream_must_stay_open():
    peer = H3Peer(apps.never)
    peer.write(peer.control_id, b"", end=True)
    assert peer.closed_with == 0x104


@pytest.mark.parametrize(("kind", "code"), [(0, 0x103), (1, 0x103)])
def test_a_second_control_stream_and_a_push_are_refused(kind, code):
    peer = H3Peer(apps.never)
    peer.uni(bytes([kind]))
    assert peer.closed_with == code


def test_streams_that_nobody_knows_are_stopped():
    peer = H3Peer(apps.hello)
    id = peer.uni(integer(0x21) + b"whatever")
    assert not peer.closed and peer.fetch().status == 200
    stops = [e for e in peer.events if type(e).__name__ == "StopSendingReceived"]
    assert [(e.stream_id, e.error_code) for e in stops] == [(id, 0x103)]


# §7.1 Frame Layout


@pytest.mark.parametrize("cut", [integer(DATA), frame(DATA, b"abc")[:-1]])
def test_a_stream_may_not_end_within_a_frame(cut):
    peer = H3Peer(apps.echo)
    peer.open(peer.request("/", "POST") + cut, end=True)
    assert peer.closed_with == 0x106


# §7.2 Frame Definitions


@pytest.mark.parametrize("kind", [3, 4, 5, 7, 13, 2, 6, 8, 9, 0xF0700, 0xF0701])
def test_frames_of_the_control_stream_are_errors_in_a_request(kind):
    peer = H3Peer(apps.never)
    peer.open(peer.request("/", "POST") + frame(kind, b"\0"))
    assert peer.closed_with == 0x105


@pytest.mark.parametrize("kind", [DATA, HEADERS, 5, 2, 6, 8, 9])
def test_frames_of_a_request_are_errors_on_the_control_stream(kind):
    peer = H3Peer(apps.never)
    peer.write(peer.control_id, frame(kind, b"\0"))
    assert peer.closed_with == 0x105


@pytest.mark.parametrize("kind", [3, 7, 13, 0x21])
def test_frames_about_pushes_and_unknown_ones_are_nothing_to_answer(kind):
    peer = H3Peer(apps.hello)
    peer.write(peer.control_id, frame(kind, b"\0"))
    assert peer.fetch().status == 200


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (frame(GOAWAY, b"\0"), 0x10A),
        (frame(SETTINGS, b"\x06\x10\x06\x10"), 0x109),
        (frame(SETTINGS, b"\x02\x00"), 0x109),
        (frame(SETTINGS, b"\x08\x02"), 0x109),
        (frame(SETTINGS, b"\x06"), 0x106),
        (frame(SETTINGS) + frame(SETTINGS), 0x105),
        (integer(SETTINGS) + integer(2000) + b"x", 0x107),
        (frame(SETTINGS) + frame(GOAWAY, b""), 0x106),
        (frame(SETTINGS) + frame(GOAWAY, b"\0\0"), 0x106),
    ],
)
def test_settings_come_first_once_and_make_sense(first, code):
    peer = H3Peer(apps.never, raw=True)
    peer.uni(b"\0" + first)
    assert peer.closed_with == code


def test_settings_may_come_octet_by_octet():
    peer = H3Peer(apps.hello, raw=True)
    data = frame(SETTINGS, b"\x06\x40\x64\x21\x00") + frame(0x21, b"abc")
    id = peer.uni(b"")
    for octet in b"\0" + data:
        peer.write(id, bytes([octet]))
    assert peer.fetch().status == 200 and not peer.closed


def test_the_server_says_what_it_takes():
    peer = H3Peer(apps.hello, Config(h2_max_header_list_size=2048))
    (kind, payload), *_ = control_frames(peer)
    values = {}
    while payload:
        key, payload = take_integer(payload)
        values[key], payload = take_integer(payload)
    assert kind == SETTINGS and values[6] == 2048 and values[1] == values[7] == 0


# §10.5 Denial-of-Service Considerations


def test_requests_that_are_cancelled_at_once_end_the_connection():
    peer = H3Peer(apps.echo)
    for _ in range(150):
        peer.abandon(peer.begin())
        if peer.closed:
            break
    assert peer.closed_with == 0x107


def test_frames_that_carry_nothing_are_counted():
    peer = H3Peer(apps.echo)
    id = peer.begin()
    for _ in range(12):
        peer.write(id, frame(DATA) * 1000)
    assert peer.closed_with == 0x107


def test_octets_that_carry_nothing_are_counted():
    peer = H3Peer(apps.echo)
    id = peer.begin()
    for _ in range(200):
        peer.write(id, frame(0x21, bytes(50_000)))
        if peer.closed:
            break
    assert peer.closed_with == 0x107
