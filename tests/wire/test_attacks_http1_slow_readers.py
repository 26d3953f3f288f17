"""R-03 of the attack catalogue: clients that do not read what they have asked for."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, request
from tricorn.config import Config

GET = request()
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
PLENTY = 256 * 1024 + 128 * 1024
"""One read, one answer, and the high-water mark: more never needs to wait for a client."""


def endless(part: bytes) -> apps.Application:
    async def application(scope, receive, send):
        await send(start())
        while True:
            await send(body(part, more=True))

    return application


def test_r_03_a_stream_waits_for_a_client_that_does_not_read():
    peer = H1Peer(endless(b"x" * 8192))
    peer.stop_reading()
    peer.send(GET)
    assert peer.wire.most < 128 * 1024


def test_r_03_a_client_that_reads_nothing_for_a_minute_is_given_up():
    peer = H1Peer(endless(b"x" * 8192))
    peer.stop_reading()
    peer.send(GET)
    peer.advance(59)
    assert not peer.wire.lost
    peer.advance(3)
    assert peer.wire.lost and peer.reset


def test_r_03_a_client_that_reads_slowly_is_not():
    peer = H1Peer(endless(b"x" * 8192))
    peer.stop_reading()
    peer.send(GET)
    for _ in range(10):
        peer.advance(30)
        peer.read(1000)
    assert not peer.wire.lost and peer.wire.most < 128 * 1024


SLOW_READERS = {
    "keep-alive": GET,
    "close": request(headers=[(b"connection", b"close")]),
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "early": UPLOAD + b"Content-Length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("data", SLOW_READERS.values(), ids=SLOW_READERS)
def test_r_03_a_large_answer_is_not_cut_while_it_is_being_read(data):
    peer = H1Peer(apps.answers(b"x" * 5_000_000))
    peer.stop_reading()
    peer.send(data)
    for _ in range(110):
        peer.read(50_000)
        peer.advance(1)
    answer = peer.responses()[0]
    assert len(answer.body) == 5_000_000 and answer.complete and not peer.reset


@pytest.mark.parametrize("data", SLOW_READERS.values(), ids=SLOW_READERS)
def test_r_03_a_large_answer_that_nobody_reads_is_given_up(data):
    peer = H1Peer(apps.answers(b"x" * 5_000_000))
    peer.stop_reading()
    peer.send(data)
    peer.advance(63)
    assert peer.wire.lost


@pytest.mark.parametrize("size", [1_000, 60_000, 100_000])
def test_r_03_the_time_of_an_idle_connection_runs_once_the_answer_was_read(size):
    peer = H1Peer(apps.answers(b"x" * size), Config(keep_alive=2))
    peer.stop_reading()
    peer.send(GET)
    peer.advance(20)
    peer.read()
    assert not peer.reset and len(peer.answer().body) == size
    peer.advance(61)
    assert peer.closed and not peer.reset


def test_r_03_pipelined_requests_wait_for_a_client_that_does_not_read():
    app = apps.answers(b"x" * 60_000)
    peer = H1Peer(app)
    peer.stop_reading()
    peer.send(GET * 500)
    assert peer.wire.most < PLENTY
    for _ in range(600):
        peer.read(60_000)
    peer.read()
    assert peer.wire.most < PLENTY
    assert peer.sent.count(b"HTTP/1.1 200 OK\r\n") == 500, "in the end all are answered"


def test_r_03_requests_one_by_one_wait_for_a_client_that_does_not_read():
    peer = H1Peer(apps.answers(b"x" * 60_000))
    peer.stop_reading()
    for _ in range(50):
        peer.send(GET)
    assert peer.wire.most < PLENTY


def test_r_03_who_only_asks_and_never_reads_is_given_up():
    peer = H1Peer(apps.answers(b"x" * 60_000))
    peer.stop_reading()
    for _ in range(50):
        peer.send(GET)
        peer.advance(5)
    assert peer.wire.lost and peer.reset


def test_r_03_a_worker_that_stops_does_not_serve_what_waits_for_room():
    peer = H1Peer(apps.answers(b"x" * 100_000))
    peer.stop_reading()
    peer.send(GET)
    peer.send(GET)
    peer.drain()
    peer.read()
    peer.advance(2)
    assert peer.statuses[0] == 200 and peer.closed and not peer.reset


def test_r_03_a_client_that_ends_while_its_answer_waits_for_room_gets_all_of_it():
    peer = H1Peer(apps.answers(b"x" * 100_000))
    peer.stop_reading()
    peer.send(GET)
    peer.half_close()
    peer.read()
    assert peer.answer().complete and peer.closed and not peer.reset


@pytest.mark.parametrize("late", [b"67890", b"6"], ids=["whole", "still-partly"])
def test_r_03_the_rest_of_an_upload_does_not_end_the_time_for_reading(late):
    # The deadline of a body that arrives must not replace that of an answer that nobody reads.
    peer = H1Peer(endless(b"x" * 8192), Config(read_rate_min=0))
    peer.stop_reading()
    peer.send(UPLOAD + b"Content-Length: 10\r\n\r\n12345")
    peer.advance(5)
    peer.send(late)
    peer.advance(70)
    assert peer.wire.lost


def test_r_03_an_upload_that_goes_on_does_not_prolong_the_time_for_reading():
    peer = H1Peer(endless(b"x" * 8192))
    peer.stop_reading()
    peer.send(UPLOAD + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(100):
        peer.send(b"x" * 500)
        peer.advance(1)
    assert peer.wire.lost


def test_r_03_a_slow_reader_may_upload_meanwhile():
    async def application(scope, receive, send):
        await send(start())
        while (message := await receive())["more_body"]:
            await send(body(message["body"] * 20, more=True))
        await send(body(b""))

    peer = H1Peer(application)
    peer.stop_reading()
    peer.send(UPLOAD + b"Content-Length: 200000\r\n\r\n")
    for _ in range(100):
        peer.send(b"x" * 2000)
        peer.read(50_000)
        peer.advance(1)
    peer.read()
    assert len(peer.answer("POST").body) > 3_900_000
