"""http1/connection.py: what a client sees of an application that fails."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.messages import GET, post
from tests.support.peers import H1Peer, byte_by_byte, errors


def test_an_error_before_the_response_is_a_500_and_the_connection_goes_on():
    async def application(scope, receive, send):
        raise ValueError("oops")

    peer = H1Peer(application)
    for _ in range(2):
        answer = peer.fetch()
        assert answer.status == 500 and answer.complete and b"oops" not in answer.body
        errors.expect("ValueError: oops")
    assert not peer.closed


def test_an_error_after_the_head_is_known_but_not_sent_is_a_500():
    async def application(scope, receive, send):
        await send(start(200, (b"x-secret", b"1")))
        raise ValueError("oops")

    peer = H1Peer(application)
    answer = peer.fetch()
    assert answer.status == 500 and answer[b"x-secret"] is None
    errors.expect("oops")


@pytest.mark.parametrize("request_", [GET, b"GET / HTTP/1.0\r\n\r\n"], ids=["1.1", "1.0"])
def test_an_error_in_the_middle_of_the_content_cannot_be_taken_for_its_end(request_):
    async def application(scope, receive, send):
        await send(start())
        await send(body(b"half", more=True))
        raise ValueError("oops")

    peer = H1Peer(application)
    peer.send(request_)
    assert peer.reset and not peer.sent.endswith(b"0\r\n\r\n")
    errors.expect("oops")


def test_an_error_in_the_middle_of_a_declared_length_ends_the_connection():
    async def application(scope, receive, send):
        await send(start(200, (b"content-length", b"10")))
        await send(body(b"half", more=True))
        raise ValueError("oops")

    peer = H1Peer(application)
    peer.send(GET)
    assert not peer.answer().complete and peer.reset
    errors.expect("oops")


def test_an_application_that_returns_without_an_answer_is_a_500():
    peer = H1Peer(apps.sends())
    assert peer.fetch().status == 500 and not peer.closed
    errors.expect("without completing")


def test_an_application_that_returns_in_the_middle_ends_the_connection():
    peer = H1Peer(apps.sends(start(), body(b"half", more=True)))
    peer.send(GET)
    assert peer.reset
    errors.expect("without completing")


def test_an_error_after_the_whole_answer_changes_nothing_for_the_client():
    async def application(scope, receive, send):
        await send(start())
        await send(body(b"fine"))
        raise ValueError("too late")

    peer = H1Peer(application)
    assert peer.fetch().body == b"fine"
    errors.expect("too late")
    assert peer.fetch().body == b"fine"
    errors.expect("too late")


def test_system_exit_in_one_request_ends_only_that_request():
    async def application(scope, receive, send):
        if scope["path"] == "/exit":
            raise SystemExit(1)
        await apps.hello(scope, receive, send)

    peer = H1Peer(application)
    assert peer.fetch("/exit").status == 500
    errors.expect("SystemExit")
    assert peer.fetch().status == 200


def test_a_byte_at_a_time_is_as_good_as_all_at_once_for_a_long_conversation():
    app = apps.Recorder()
    peer = H1Peer(app)
    for _ in range(3):
        peer.send(*byte_by_byte(post(b"Content-Length: 3", content=b"abc")))
    assert peer.statuses == [200] * 3 and [call.body for call in app.calls] == [b"abc"] * 3
