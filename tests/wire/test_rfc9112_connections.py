"""RFC 9112 §9, connections: persistence, pipelining, time-outs, tear-down; in the RFC's order."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.messages import BY_EVERY_WAY, GET, chunked, get, post
from tests.support.peers import H1Peer
from tricorn.config import Config

# 9.3. Persistence


def test_a_connection_carries_one_request_after_another():
    peer = H1Peer(apps.hello)
    for _ in range(5):
        answer = peer.fetch()
        assert answer.status == 200 and answer.persistent
    assert not peer.closed


@pytest.mark.parametrize(
    "option", [b"close", b"Close", b"keep-alive, close", b"close, te", b"CLOSE"]
)
def test_connection_close_ends_the_connection_after_the_response(option):
    peer = H1Peer(apps.hello)
    peer.send(get(b"Connection: " + option))
    assert not peer.answer().persistent and peer.closed and not peer.reset


def test_what_follows_a_request_with_connection_close_is_not_served():  # RFC9112§9.6
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(get(b"Connection: close") + GET)
    assert len(app.calls) == 1 and peer.statuses == [200] and peer.closed


def test_the_application_may_close_the_connection():
    peer = H1Peer(apps.answers(b"bye", 200, (b"Connection", b"close")))
    assert not peer.fetch().persistent and peer.closed


def test_http_1_0_does_not_persist_by_itself():
    peer = H1Peer(apps.hello)
    peer.send(b"GET / HTTP/1.0\r\n\r\n")
    assert peer.answer().body == b"hello" and peer.closed and not peer.reset


def test_http_1_0_persists_if_asked():
    peer = H1Peer(apps.hello)
    for _ in range(3):
        peer.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    assert [each[b"connection"] for each in peer.responses()] == [b"keep-alive"] * 3
    assert not peer.closed


def test_keep_alive_may_be_turned_off():
    peer = H1Peer(apps.hello, Config(keep_alive=0))
    assert not peer.fetch().persistent and peer.closed


def test_the_last_of_the_allowed_requests_says_so():
    peer = H1Peer(apps.hello, Config(keep_alive_max_requests=3))
    assert [peer.fetch().persistent for _ in range(3)] == [True, True, False]
    assert peer.closed


# 9.3.2. Pipelining


@BY_EVERY_WAY
def test_pipelined_requests_are_answered_in_order(way):
    app = apps.Recorder()
    peer = H1Peer(app)
    requests = b"".join(
        get(target=b"/a")
        + post(b"Content-Length: 2", content=b"bb")
        + chunked(b"2\r\ncc\r\n0\r\n\r\n")
        + get(target=b"/d")
        for _ in range(3)
    )
    peer.send(*way(requests))
    assert peer.statuses == [200] * 12
    assert app.targets == ["/a", "/", "/", "/d"] * 3
    assert [call.body for call in app.calls] == [b"", b"bb", b"cc", b""] * 3


def test_the_second_request_waits_for_the_answer_to_the_first():
    async def steps(gate, scope, receive, send):
        gate.seen.append(scope["path"])
        await gate.wait()
        await send(start())
        await send(body(scope["raw_path"]))

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(get(target=b"/1") + get(target=b"/2"))
    assert gate.seen == ["/1"] and not peer.sent
    gate.open()
    peer.settle()
    assert gate.seen == ["/1", "/2"]
    gate.open()
    peer.settle()
    assert [each.body for each in peer.responses()] == [b"/1", b"/2"]


def test_nothing_is_read_while_a_request_waits_for_its_turn():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET, GET, GET, GET)
    assert peer.wire.paused and peer.wire.unread == 2 * len(GET)
    for _ in range(4):
        gate.open()
        peer.settle()
    assert peer.statuses == [200] * 4 and not peer.wire.paused


def test_two_thousand_pipelined_requests_are_answered_without_recursion():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(GET * 2000)
    assert len(app.calls) == 2000 and peer.sent.count(b"HTTP/1.1 200 OK\r\n") == 2000


def test_a_refused_request_after_a_good_one_comes_after_its_answer():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(GET + b"GARBAGE\r\n\r\n" + GET)
    assert peer.statuses == [200, 400] and peer.closed and len(app.calls) == 1


# 9.5. Failures and Timeouts


def test_an_idle_connection_is_closed_silently_in_the_end():
    peer = H1Peer(apps.hello, Config(keep_alive=20))
    peer.fetch()
    peer.advance(19)
    assert not peer.closed
    peer.advance(2)
    assert peer.closed and not peer.reset and peer.statuses == [200]


# 9.6. Tear-down


def test_a_client_that_ends_its_direction_gets_its_answer_and_then_the_end():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body(b"late"))

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET)
    peer.half_close()
    assert not peer.sent and not peer.closed
    gate.open()
    peer.settle()
    assert peer.answer().body == b"late"
    assert peer.closed and not peer.reset, "the client waits for the end"


def test_a_client_that_ends_its_direction_gets_the_answers_to_all_its_requests():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET * 3)
    peer.half_close()
    for _ in range(3):
        gate.open()
        peer.settle()
    assert peer.statuses == [200] * 3 and peer.closed and not peer.reset


def test_a_client_that_ends_its_direction_between_requests_is_closed():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.half_close()
    assert peer.closed and not peer.reset


def test_a_client_that_ends_in_the_middle_of_a_head_is_closed():
    peer = H1Peer(apps.never)
    peer.send(GET[:-2])
    peer.half_close()
    assert peer.closed and 200 not in peer.statuses


def test_the_answer_to_a_truncated_upload_ends_the_connection_at_once():
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.half_close()
    assert peer.closed, "the rest of the body cannot come any more"


def test_over_a_transport_that_cannot_half_close_the_end_is_a_disconnect():
    app = apps.Recorder()
    peer = H1Peer(app, half_closable=False)
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.half_close()
    assert app.call.disconnected and isinstance(app.call.error, OSError)
    assert peer.sent == b""


@pytest.mark.parametrize("content", [b"x" * 5, b"x" * 100_000])
def test_the_answer_to_an_unread_body_is_not_lost_in_a_reset(content):
    # RFC9112§9.6: end our direction, read on for a while, then close.
    peer = H1Peer(apps.hello)
    peer.send(post(b"Content-Length: 250000", content=content))
    assert peer.answer("POST").body == b"hello" and not peer.answer("POST").persistent
    assert peer.closed and not peer.reset and not peer.wire.closing
    peer.send(b"x" * 50_000)
    assert not peer.reset and not peer.wire.paused
    peer.advance(6)
    assert peer.wire.closing


def test_lingering_ends_when_the_client_ends():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    assert peer.closed and not peer.wire.closing
    peer.half_close()
    assert peer.wire.closing and not peer.reset


def test_lingering_takes_five_seconds_at_most_and_ends_without_a_reset():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.advance(4)
    assert not peer.wire.closing
    peer.advance(2)
    assert peer.wire.closing and not peer.reset


def test_lingering_takes_a_bounded_number_of_octets():
    peer = H1Peer(apps.never)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.send(*[b"x" * 65536] * 5)
    assert peer.wire.closing


def test_over_a_transport_that_cannot_half_close_lingering_ends_too():
    peer = H1Peer(apps.never, half_closable=False)
    peer.send(b"GARBAGE\r\n\r\n")
    peer.advance(6)
    assert peer.closed and peer.status == 400 and not peer.reset


def test_an_upload_that_the_application_ignores_does_not_stop_the_connection():
    # The whole of it has arrived, so the next request is where it should be.
    peer = H1Peer(apps.hello)
    for _ in range(3):
        before = len(peer.sent)
        peer.send(post(b"Content-Length: 100000", content=b"x" * 100_000))
        answer = peer.answer("POST", since=before)
        assert answer.status == 200
        if not answer.persistent:
            assert peer.closed
            return


def test_an_unread_rest_of_a_body_is_discarded_or_ends_the_connection():  # RFC9112§9.3
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    first = peer.answer("POST")
    assert first.body == b"ab"
    if first.persistent:
        peer.send(b"67890" + GET)
        assert peer.statuses == [200, 200]
    else:
        assert peer.closed


def test_a_worker_that_stops_says_so_in_the_next_answer():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.drain()
    assert not peer.closed, "a request may be on its way"
    assert not peer.fetch().persistent and peer.closed


def test_a_worker_that_stops_closes_what_stays_idle():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.drain()
    peer.advance(2)
    assert peer.closed and not peer.reset


def test_a_worker_that_stops_closes_a_connection_that_has_asked_for_nothing_yet():
    peer = H1Peer(apps.never)
    peer.drain()
    peer.advance(2)
    assert peer.closed


def test_a_worker_that_stops_finishes_a_request_that_has_begun_to_arrive():
    peer = H1Peer(apps.echo)
    peer.send(post(b"Content-Length: 2", content=b"a"))
    peer.drain()
    peer.send(b"b")
    answer = peer.answer("POST")
    assert answer.body == b"ab" and not answer.persistent and peer.closed


def test_a_worker_that_stops_finishes_a_head_that_has_begun_to_arrive():
    peer = H1Peer(apps.hello)
    peer.send(GET[:9])
    peer.drain()
    peer.send(GET[9:])
    assert not peer.answer().persistent and peer.closed


def test_a_worker_that_stops_serves_one_pipelined_request_and_closes():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await send(start())
        await send(body())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET * 2)
    peer.drain()
    gate.open()
    peer.settle()
    assert [each.persistent for each in peer.responses()] == [False] and peer.closed


def test_a_worker_that_stops_does_not_wait_for_who_was_sending_an_unread_body():
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(post(b"Content-Length: 10", content=b"12345"))
    peer.drain()
    peer.send(b"67890")
    peer.advance(2)
    assert peer.closed
