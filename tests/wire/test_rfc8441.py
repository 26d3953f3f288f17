"""RFC 8441: WebSocket by extended CONNECT, in the order of its sections."""

from __future__ import annotations

import pytest

from tests.server.test_websocket import QUIET, Script, echo
from tests.support import apps, frames
from tests.support.h2peer import H2Peer
from tests.support.websocket import SOCKETS, STREAMS, TEXT, masked

HTTP2 = SOCKETS["HTTP/2-tricorn"]
CONNECT = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":authority", b"x"),
    (b":path", b"/"),
    (b"sec-websocket-version", b"13"),
]


def ask(fields, app=echo, *, end=False):
    peer = H2Peer(app, QUIET, streams=STREAMS)
    peer.send(frames.headers(1, fields, end=end))
    return peer


def without(name):
    return [each for each in CONNECT if each[0] != name]


# 3. The SETTINGS_ENABLE_CONNECT_PROTOCOL SETTINGS Parameter


def test_it_is_announced():
    assert HTTP2(echo, QUIET).peer.settings[frames.ENABLE_CONNECT_PROTOCOL] == 1


def test_it_is_not_announced_by_a_server_without():
    assert frames.ENABLE_CONNECT_PROTOCOL not in H2Peer(apps.hello).settings


# 4. The Extended CONNECT Method


@pytest.mark.parametrize("name", [b":scheme", b":path", b":method"])
def test_what_lacks_a_field_is_malformed(name):
    assert ask(without(name), apps.never).resets == {1: frames.PROTOCOL_ERROR}


def test_another_method_is_malformed():
    fields = [(b":method", b"GET"), *CONNECT[1:]]
    assert ask(fields, apps.never).resets == {1: frames.PROTOCOL_ERROR}


def test_another_protocol_is_501():
    fields = [CONNECT[0], (b":protocol", b"connect-udp"), *CONNECT[2:]]
    assert ask(fields, apps.never).answer(1).status == 501


def test_a_tunnel_that_ends_at_once_is_malformed():
    assert ask(CONNECT, apps.never, end=True).resets == {1: frames.PROTOCOL_ERROR}


# 5. Using Extended CONNECT to Bootstrap the WebSocket Protocol


def test_it_is_answered_with_200_and_no_key():
    socket = HTTP2(echo, QUIET)
    assert socket.answer.status == 200 and socket.answer[b"sec-websocket-accept"] is None
    for name in (b"connection", b"upgrade", b"content-length"):
        assert socket.answer[name] is None


def test_the_scope_is_that_of_a_websocket():
    app = Script()
    HTTP2(app, QUIET)
    assert app.scope["type"] == "websocket" and app.scope["http_version"] == "2"


def test_many_websockets_share_a_connection_with_requests():
    socket = HTTP2(echo, QUIET)
    peer = socket.peer
    ids = [socket.id]
    for id in range(peer.next, peer.next + 20, 2):
        peer.send(frames.headers(id, CONNECT, end=False))
        ids.append(id)
    for id in ids:
        peer.part(id, masked(TEXT, b"%d" % id))
    for id in ids:
        text = b"%d" % id
        assert peer.answer(id).body == bytes((0x81, len(text))) + text


def test_its_end_is_the_end_of_its_stream_only():
    socket = HTTP2(echo, QUIET)
    socket.close(1000)
    assert socket.code == 1000 and socket.ended and socket.peer.goaway is None


def test_content_is_no_body_that_could_be_late():
    socket = HTTP2(echo, QUIET)
    socket.peer.advance(120)
    socket.text("still there")
    assert socket.messages == ["still there"]
