"""What one message, or one stop of the loop, may not do to the next: on HTTP/1.1, by raw bytes."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, errors
from tricorn.config import Config
from tricorn.net.tcp import sweep

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


async def fails(scope, receive, send):
    raise ValueError("on purpose")


def test_a_target_with_an_encoded_line_break_writes_no_line_of_its_own(caplog):
    peer = H1Peer(fails)
    with caplog.at_level("ERROR", "tricorn"):
        peer.send(b"GET /%0A[CRITICAL]%20forged HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.status == 500
    errors.expect("on purpose")
    assert "/%0A[CRITICAL]%20forged" in caplog.text
    assert "\n[CRITICAL]" not in caplog.text


@pytest.mark.parametrize("rest", [b"cdeXX", b"cde\r\nzz\r\n", b"cde\r\n0\r\nHost: e\r\n\r\n"])
def test_a_fault_behind_an_answered_request_is_no_second_answer(rest):  # RFC9112§9.3
    app = apps.sends(start(200), body(b"a", more=True), body(b"b"))
    peer = H1Peer(app)
    peer.send(CHUNKED + b"5\r\nab")
    assert peer.statuses == [200] and not peer.closed
    peer.send(rest)
    assert peer.statuses == [200] and peer.closed


@pytest.mark.parametrize(
    "waiting",
    [
        GET,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_the_end_of_the_client_is_told_to_a_request_that_waited_for_its_turn(waiting):
    heard = []

    async def listens(gate, scope, receive, send):
        if not heard:
            await gate.wait()
            heard.append("first")
        else:
            while (await receive())["type"] != "http.disconnect":
                pass
            heard.append("end")
        await send(start(200))
        await send(body(b"delivered"))

    gate = apps.Gate(listens)
    peer = H1Peer(gate)
    peer.send(GET + waiting)
    peer.half_close()
    gate.open()
    peer.settle()
    assert heard == ["first", "end"]
    assert peer.statuses == [200, 200] and peer.closed and not peer.reset


def test_an_unsent_answer_is_not_idle():
    peer = H1Peer(apps.answers(b"x" * 50_000))
    peer.stop_reading()
    peer.send(GET)
    (connection,) = peer.context.connections
    assert not connection.idle
    peer.read()
    assert connection.idle


def test_a_drained_connection_that_waited_for_room_ends():
    peer = H1Peer(apps.answers(b"x" * 100_000))
    peer.stop_reading()
    peer.send(GET)
    peer.drain()
    peer.read()
    assert peer.status == 200 and peer.closed and not peer.reset


def test_nobody_is_late_because_the_loop_stood_still():
    peer = H1Peer(apps.hello)
    peer.send(GET[:10])
    # No sweep and no reading meanwhile: a blocking application, or a suspended machine.
    sweep(peer.context, peer.context.now + 60)
    peer.send(GET[10:])
    assert peer.status == 200 and not peer.closed


def test_an_empty_line_after_a_request_does_not_shorten_the_idle_time():  # RFC9112§2.2
    peer = H1Peer(apps.hello, Config(keep_alive=75.0, request_header_timeout=10.0))
    peer.send(GET)
    peer.send(b"\r\n")
    peer.advance(60)
    assert peer.statuses == [200] and not peer.closed
    peer.advance(20)
    assert peer.statuses == [200] and peer.closed


def test_a_file_with_a_header_that_cannot_be_sent_is_a_500(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    peer = H1Peer(
        apps.sends(
            start(200, (b"x", b"a\r\nb")), {"type": "http.response.pathsend", "path": str(path)}
        )
    )
    peer.send(GET)
    assert peer.status == 500
    errors.expect("control character")


def test_a_body_that_was_never_asked_for_is_not_waited_for_without_end():
    async def answers_first(scope, receive, send):
        await send(start(200))
        await send(body(b"a", more=True))
        while (await receive())["type"] != "http.disconnect":
            pass

    peer = H1Peer(answers_first)
    peer.send(EXPECTING)
    peer.advance(45)
    assert peer.closed
