"""RFC 9110 §10.1.1, Expect: who may be asked for a body, and when."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.apps import body, start
from tests.support.peers import H1Peer, request

EXPECTING = request(method="POST", headers=[(b"expect", b"100-continue")], body=b"abc")[:-3]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def reads_after(gate: apps.Gate) -> apps.Application:
    """Reads the body when the gate opens, and answers with it."""
    gate.steps = apps.late_echo
    return gate


async def nothing(gate, scope, receive, send):
    """For `Gate`, until it is told something else."""


def test_100_is_sent_when_the_application_asks_for_the_body():
    gate = apps.Gate(nothing)
    peer = H1Peer(reads_after(gate))
    peer.send(EXPECTING)
    assert peer.sent == b""
    gate.open()
    peer.settle()
    assert peer.sent == CONTINUE
    peer.send(b"abc")
    answer = peer.answer("POST")
    assert answer.body == b"abc" and answer.informational == [(100, [])]
    assert peer.sent.count(CONTINUE) == 1 and not peer.closed


def test_100_is_sent_for_a_chunked_body_too():
    peer = H1Peer(apps.echo)
    peer.send(
        request(
            method="POST",
            headers=[(b"expect", b"100-Continue"), (b"transfer-encoding", b"chunked")],
        )
    )
    assert peer.sent == CONTINUE
    peer.send(b"1\r\na\r\n0\r\n\r\n")
    assert peer.answer("POST").body == b"a"


def test_no_100_where_the_body_is_there_already():
    peer = H1Peer(apps.echo)
    peer.send(EXPECTING + b"abc")
    assert CONTINUE not in peer.sent and peer.answer("POST").body == b"abc"


def test_no_100_for_a_request_without_a_body():
    peer = H1Peer(apps.echo)
    peer.fetch(headers=[(b"expect", b"100-continue")])
    assert CONTINUE not in peer.sent


def test_no_100_for_http_1_0():
    peer = H1Peer(apps.echo)
    peer.send(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert peer.sent == b""
    peer.send(b"abc")
    assert peer.answer("POST").body == b"abc"


@pytest.mark.parametrize(
    "app",
    [apps.answers(b"no", 403), apps.sends(start(403), body(b"n", more=True), body(b"o"))],
    ids=["at-once", "in-parts"],
)
def test_who_was_not_told_to_continue_may_not_reuse_the_connection(app):
    # The client may send the body or leave it out: nobody knows what its next octets are.
    peer = H1Peer(app)
    peer.send(EXPECTING)
    answer = peer.answer("POST")
    assert answer.status == 403 and answer.informational == []
    assert not answer.persistent and peer.closed and not peer.reset


def test_a_final_answer_is_not_followed_by_100():
    async def application(scope, receive, send):
        await send(start(403))
        await send(body(b"no", more=True))
        await receive()

    peer = H1Peer(application)
    peer.send(EXPECTING)
    peer.lose()
    assert CONTINUE not in peer.sent


def test_the_time_for_a_body_runs_only_once_it_was_asked_for():
    gate = apps.Gate(nothing)
    peer = H1Peer(reads_after(gate))
    peer.send(EXPECTING)
    peer.advance(50)
    assert peer.sent == b"", "the client waits for us"
    gate.open()
    peer.settle()
    assert peer.sent == CONTINUE
    peer.advance(32)
    assert peer.status == 408 and peer.closed
