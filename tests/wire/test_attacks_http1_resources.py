"""Attacks on what a server has little of: time, memory, processor. R-nn: the attack catalogue."""

from __future__ import annotations

import time

import pytest

from tests.support import apps
from tests.support.apps import Recorder, body, start
from tests.support.peers import H1Peer, byte_by_byte, request
from tricorn.config import Config

GET = request()
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
PLENTY = 256 * 1024 + 128 * 1024
"""One read, one answer, and the high-water mark: more never needs to wait for a client."""


# slowloris


def test_r_01_who_sends_nothing_is_closed_after_ten_seconds():
    peer = H1Peer(apps.never)
    peer.advance(9)
    assert not peer.closed
    peer.advance(2)
    assert peer.closed and peer.status in (None, 408)


def test_r_01_dripping_a_head_does_not_prolong_its_time():
    peer = H1Peer(apps.never)
    peer.send(b"GET / HTTP/1.1\r\n")
    for number in range(11):
        assert not peer.closed or number >= 9
        peer.advance(1)
        peer.send(b"X-%d: a\r\n" % number)
    assert peer.closed and peer.status in (None, 408)


def test_r_01_dripping_empty_lines_does_not_prolong_it_either():
    peer = H1Peer(apps.never)
    for _ in range(2):
        peer.send(b"\r\n")
        peer.advance(5)
    peer.advance(1)
    assert peer.closed


def test_r_01_the_time_for_a_second_head_runs_from_its_first_octet():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.advance(60)
    peer.send(b"G")
    for _ in range(9):
        peer.advance(1)
        peer.send(b"E")
    assert not peer.closed
    peer.advance(2)
    assert peer.statuses == [200, 408] and peer.closed


def test_r_01_the_time_for_a_pipelined_head_runs_from_its_turn():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await apps.hello(scope, receive, send)

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET + b"GET ")
    peer.advance(100)
    assert not peer.closed, "the client waits for the server"
    gate.open()
    peer.settle()
    assert peer.statuses == [200]
    peer.advance(11)
    assert peer.statuses == [200, 408] and peer.closed


def test_r_01_a_slow_application_is_not_the_clients_fault():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await apps.hello(scope, receive, send)

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(GET)
    peer.advance(1000)
    gate.open()
    peer.settle()
    assert peer.status == 200 and not peer.closed


def test_r_01_the_time_is_the_operators_to_say():
    peer = H1Peer(apps.never, Config(request_header_timeout=2))
    peer.send(b"GET")
    peer.advance(3)
    assert peer.closed


# slow body


def test_r_02_a_body_that_stalls_is_given_up():
    app = Recorder()
    peer = H1Peer(app)
    peer.send(UPLOAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 50_000)
    peer.advance(29)
    assert not peer.closed
    peer.advance(2)
    assert peer.status == 408 and peer.closed and not peer.reset
    assert app.call.disconnected and isinstance(app.call.error, OSError)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_r_02_a_body_that_drips_is_given_up(framing):
    app = Recorder()
    peer = H1Peer(app)
    if framing == "length":
        peer.send(UPLOAD + b"Content-Length: 100000\r\n\r\n")
    else:
        peer.send(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        peer.send(b"x" * 20 if framing == "length" else b"14\r\n" + b"x" * 20 + b"\r\n")
        peer.advance(1)
    assert peer.status == 408 and peer.closed and app.call.disconnected


def test_r_02_a_body_that_is_slow_but_fast_enough_is_taken():
    app = Recorder()
    peer = H1Peer(app)
    peer.send(UPLOAD + b"Content-Length: 40000\r\n\r\n")
    for _ in range(100):
        peer.send(b"x" * 400)
        peer.advance(1)
    assert peer.status == 200 and len(app.call.body) == 40_000


def test_r_02_the_clock_stands_while_the_application_does_not_read():
    gate = apps.Gate(apps.late_echo)
    peer = H1Peer(gate)
    peer.send(UPLOAD + b"Content-Length: 200000\r\n\r\n", *[b"x" * 10_000] * 9)
    assert peer.wire.paused
    peer.advance(500)
    assert not peer.closed
    gate.open()
    peer.settle()
    peer.advance(20)
    assert not peer.closed, "the client has a few seconds again"
    peer.send(b"x" * 110_000)
    assert peer.status == 200


def test_r_02_an_answered_upload_that_goes_on_dripping_is_given_up():
    peer = H1Peer(apps.sends(start(), body(b"a", more=True), body(b"b")))
    peer.send(UPLOAD + b"Content-Length: 100000\r\n\r\n")
    for _ in range(10):
        peer.send(b"x")
        peer.advance(1)
    assert peer.closed


def test_r_02_time_outs_of_bodies_may_be_turned_off():
    peer = H1Peer(apps.echo, Config(read_timeout=0, read_rate_min=0))
    peer.send(UPLOAD + b"Content-Length: 2\r\n\r\nx")
    peer.advance(1000)
    peer.send(b"y")
    assert peer.answer("POST").body == b"xy"


# heads; the limits themselves are in test_rfc9112


@pytest.mark.slow
@pytest.mark.parametrize(
    "data, statuses",
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
        (request(headers=[(b"x", b"a" * 9000)]), [431]),
        (request(headers=[(b"x-%d" % n, b"") for n in range(100)]), [431]),
        (request(headers=[(b"x-%d" % n, b"a" * 400) for n in range(90)]), [431]),
    ],
    ids=["line", "field", "fields", "head"],
)
def test_r_04_more_than_the_limits_is_refused(data, statuses):
    for segments in ([data], byte_by_byte(data)):
        with H1Peer(apps.never) as peer:
            peer.send(*segments)
            assert peer.statuses == statuses and peer.closed


def test_r_04_a_head_without_end_is_not_kept():
    peer = H1Peer(apps.never)
    peer.send(b"GET / HTTP/1.1\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 100)
    assert peer.status == 431 and peer.connection.held == b""


# bodies


def test_r_05_a_body_that_declares_too_much_is_refused_at_once():
    peer = H1Peer(apps.never, Config(max_request_body_size=1000))
    peer.send(UPLOAD + b"Content-Length: 1001\r\n\r\n")
    assert peer.status == 413 and peer.closed
    peer = H1Peer(apps.echo, Config(max_request_body_size=1000))
    assert peer.fetch(method="POST", body=b"x" * 1000).status == 200


def test_r_05_a_chunked_body_is_cut_where_it_becomes_too_large():
    app = Recorder()
    peer = H1Peer(app, Config(max_request_body_size=1000))
    peer.send(
        UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 20
    )
    assert peer.status == 413 and peer.closed and app.call.disconnected
    assert len(app.call.body) <= 1000


def test_r_05_memory_of_heads_does_not_get_around_the_limit():
    peer = H1Peer(apps.echo, Config(max_request_body_size=10))
    head = UPLOAD + b"Content-Length: 10\r\n\r\n"
    for _ in range(3):
        peer.send(head + b"0123456789")
    assert peer.statuses == [200] * 3
    peer.send(head.replace(b"10", b"11"))
    assert peer.status == 413


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_r_05_what_the_application_does_not_read_stays_with_the_client(framing):
    gate = apps.Gate(apps.late_echo)
    peer = H1Peer(gate)
    part = b"x" * 16_384
    if framing == "length":
        peer.send(UPLOAD + b"Content-Length: 1638400\r\n\r\n", *[part] * 100)
    else:
        parts = [b"4000\r\n" + part + b"\r\n"] * 100
        peer.send(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n", *parts, b"0\r\n\r\n")
    assert peer.wire.paused and peer.wire.unread > 90 * 16_384
    gate.open()
    peer.settle()
    assert peer.wire.unread == 0 and len(peer.answer("POST").body) == 1_638_400


def test_r_05_reading_goes_on_when_half_of_it_was_consumed():
    async def steps(gate, scope, receive, send):
        while True:
            await gate.wait()
            message = await receive()
            gate.seen.append(len(message["body"]))
            if not message["more_body"]:
                break
        await apps.hello(scope, receive, send)

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(UPLOAD + b"Content-Length: 200000\r\n\r\n", *[b"x" * 20_000] * 10)
    assert peer.wire.paused and peer.wire.unread > 0
    while not peer.sent:
        gate.open()
        peer.settle()
    assert sum(gate.seen) == 200_000 and max(gate.seen) <= 64 * 1024 + 20_000
    assert len(gate.seen) > 2 and not peer.wire.paused


# tiny chunks and tiny segments


def cost(*segments: bytes) -> float:
    """Seconds of processor time for a connection that gets these segments."""
    peer = H1Peer(apps.echo)
    peer.wire.arrive(segments)
    began = time.process_time()
    peer.settle()
    return time.process_time() - began


def test_r_06_ten_thousand_tiny_chunks_cost_little_or_are_refused():
    data = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
    assert cost(data) < 0.5


def test_r_06_small_chunks_of_an_honest_client_are_taken():
    data = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\nabcd\r\n" * 10_000 + b"0\r\n\r\n"
    peer = H1Peer(apps.echo)
    peer.send(data)
    assert len(peer.answer("POST").body) == 40_000


def test_r_06_small_chunks_reach_the_application_joined():
    async def application(scope, receive, send):
        while (message := await receive())["more_body"]:
            parts.append(message["body"])
        await apps.hello(scope, receive, send)

    parts: list[bytes] = []
    peer = H1Peer(application)
    peer.send(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\nabcd\r\n" * 1000)
    peer.send(b"0\r\n\r\n")
    assert len(parts) < 5 and b"".join(parts) == b"abcd" * 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        request(headers=[(b"x-%d" % n, b"a" * 300) for n in range(90)]),
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 5000,
        UPLOAD + b"Content-Length: 30000\r\n\r\n" + b"x" * 30_000,
        UPLOAD
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"1f40\r\n"
        + b"x" * 8000
        + b"\r\n0\r\n\r\n",
    ],
    ids=["head", "head-without-end", "length", "chunks"],
)
def test_r_06_one_octet_a_segment_costs_little(data):
    assert cost(*byte_by_byte(data)) < 3.0


# lingering close, in test_rfc9112 9.6


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n" + b"x" * 200_000,
        UPLOAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + b"x" * 200_000,
        request(headers=[(b"x", b"a" * 9000)]) + b"x" * 200_000,
    ],
)
def test_r_07_an_error_is_not_lost_in_a_reset(data):
    peer = H1Peer(apps.never)
    peer.send(data)
    assert peer.answer().complete and peer.closed and not peer.reset
    assert peer.wire.unread == 0, "or the kernel would send a reset"


# keep-alive


def test_r_09_an_idle_connection_is_closed_after_75_seconds():
    peer = H1Peer(apps.hello)
    peer.fetch()
    peer.advance(74)
    assert not peer.closed and peer.connection.idle
    peer.advance(2)
    assert peer.closed


def test_r_09_an_idle_connection_keeps_next_to_nothing():
    peer = H1Peer(apps.echo)
    peer.fetch(method="POST", body=b"x" * 100_000)
    assert peer.connection.held == b"" and peer.connection.body is None
    assert not peer.connection.streams and not peer.context.running


def test_memories_do_not_grow_with_what_clients_send():
    peer = H1Peer(apps.hello)
    for number in range(5000):
        peer.send(request(f"/{number}", headers=[(b"x-%d" % number, b"%d" % number)]))
    heads = peer.connection.heads
    for memory in (heads.lines, heads.special, heads.whole):
        assert len(memory.young) <= memory.limit and len(memory.old) <= memory.limit
