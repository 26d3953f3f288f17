"""RFC 8441: WebSocket by extended CONNECT, in the order of its sections."""

from __future__ import annotations

import pytest

from tests.server.test_websocket import ACCEPTED, QUIET, Script, echo
from tests.support import apps, frames
from tests.support.h2peer import H2Peer
from tests.support.websocket import BINARY, CLOSE, SOCKETS, STREAMS, TEXT, masked
from tricorn.config import Config

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


@pytest.mark.parametrize("protocol", [b"", b"\xff", b"a b"])
def test_what_is_no_protocol_is_malformed(protocol):
    fields = [CONNECT[0], (b":protocol", protocol), *CONNECT[2:]]
    assert ask(fields, apps.never).resets == {1: frames.PROTOCOL_ERROR}


def test_connect_without_a_protocol_is_for_a_proxy():  # RFC9110§9.3.6
    fields = [(b":method", b"CONNECT"), (b":authority", b"x")]
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


def test_the_fields_of_an_upgrade_mean_nothing():
    peer = ask([*CONNECT, (b"sec-websocket-key", b"nonsense")])
    assert peer.answer(1).status == 200 and peer.answer(1)[b"sec-websocket-accept"] is None


@pytest.mark.parametrize(
    "name, value",
    [(b"sec-websocket-version", b"8"), (b"sec-websocket-protocol", b"\xff")],
)
def test_a_handshake_that_is_refused_costs_its_stream_only(name, value):
    peer = ask([*without(name), (name, value)], apps.never)
    peer.part(1, masked(TEXT, b"a"))
    assert peer.answer(1).status in (400, 426) and peer.answer(1).complete
    assert peer.goaway is None and not peer.context.running


def test_one_that_fails_costs_its_stream_only():
    socket = HTTP2(echo, QUIET)
    peer = socket.peer
    peer.send(frames.headers(peer.next, CONNECT, end=False))
    peer.part(peer.next, b"\xff\x80\0\0\0\0")
    assert peer.answer(peer.next).complete and peer.goaway is None
    socket.text("still there")
    assert socket.messages == ["still there"]


def test_trailers_end_a_tunnel_as_well():
    app = Script()
    socket = HTTP2(app, QUIET)
    socket.peer.part(socket.id, end=True, trailers=[(b"x-a", b"1")])
    assert app.disconnect[0] == 1006 and socket.ended and socket.peer.goaway is None


def test_a_tunnel_counts_as_a_stream():
    peer = H2Peer(echo, Config(h2_max_concurrent_streams=2), streams=STREAMS)
    for id in (1, 3, 5):
        peer.send(frames.headers(id, CONNECT, end=False))
    assert peer.resets == {5: frames.REFUSED_STREAM}
    peer.part(1, masked(CLOSE))
    peer.send(frames.headers(7, CONNECT, end=False))
    assert peer.answer(7).status == 200


def test_what_bounds_requests_does_not_bound_tunnels():
    app = Script()
    config = Config(
        max_request_body_size=1000, read_rate_min=1000, read_timeout=5, keep_alive_max_requests=2
    )
    socket = HTTP2(app, config)
    for at in range(5):
        socket.send(masked(BINARY, bytes(900)))
        socket.peer.advance(10)
        if at < 2:  # the last request that the connection serves, and one more
            socket.peer.send(frames.headers(3 + 2 * at, CONNECT, end=False))
    assert len(app.messages) == 5 and socket.code is None


def test_frames_are_cut_by_the_window_only():
    async def answers(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": bytes(100_000)})

    socket = HTTP2(answers, QUIET, settings={frames.INITIAL_WINDOW_SIZE: 10})
    peer = socket.peer
    peer.generous = False
    socket.text("go")
    assert len(socket.answer.body) == 10
    peer.grant(socket.id, 5)
    assert len(socket.answer.body) == 15
    peer.grant(socket.id, 100_000)
    peer.grant(0, 100_000)
    assert socket.messages == [bytes(100_000)]


def test_content_is_no_body_that_could_be_late():
    socket = HTTP2(echo, QUIET)
    socket.peer.advance(120)
    socket.text("still there")
    assert socket.messages == ["still there"]
