"""RFC 9220: WebSocket by extended CONNECT over HTTP/3, in the order of its sections."""

from __future__ import annotations

import pytest

from tests.server.test_websocket import QUIET, Script, echo
from tests.support import apps
from tests.support.h3peer import H3Peer, frame, integer, take_frame, take_integer
from tests.support.websocket import CLOSE, STREAMS, TEXT, Http3Socket, masked
from tests.wire.test_rfc8441 import CONNECT as OVER_HTTP2
from tricorn.config import Config

ENABLE_CONNECT_PROTOCOL = 0x08
CONNECT = [(name, b"https" if name == b":scheme" else value) for name, value in OVER_HTTP2]
CANCELLED, MESSAGE_ERROR = 0x10C, 0x10E


def ask(fields, app=echo, *, end=False, **options):
    """A client that has opened stream 0 with these fields."""
    peer = H3Peer(app, QUIET, streams=STREAMS, **options)
    peer.open(peer.head(fields), end=end)
    return peer


def without(name):
    return [each for each in CONNECT if each[0] != name]


def settings_of(peer):
    _, data = take_integer(peer.control)
    _, payload, _ = take_frame(data)
    found = {}
    while payload:
        name, payload = take_integer(payload)
        found[name], payload = take_integer(payload)
    return found


# 3. Websockets Upgrade over HTTP/3: the setting


def test_it_is_announced():
    assert settings_of(Http3Socket(echo, QUIET).peer)[ENABLE_CONNECT_PROTOCOL] == 1


def test_it_is_not_announced_by_a_server_without():
    peer = H3Peer(apps.hello)
    assert ENABLE_CONNECT_PROTOCOL not in settings_of(peer)
    peer.open(peer.head(CONNECT))
    assert peer.resets == {0: MESSAGE_ERROR} and not peer.closed


@pytest.mark.parametrize("value", [0, 1])
def test_a_client_may_say_that_it_knows_it(value):  # RFC8441§3: it means nothing to a server
    peer = H3Peer(echo, QUIET, streams=STREAMS, raw=True)
    said = integer(ENABLE_CONNECT_PROTOCOL) + integer(value)
    peer.uni(b"\0" + frame(4, said))
    peer.open(peer.head(CONNECT))
    assert peer.streams[0].status == 200


def test_it_may_be_used_before_the_settings_have_come():  # RFC9114§7.2.4.2
    peer = H3Peer(echo, QUIET, streams=STREAMS, raw=True)
    peer.open(peer.head(CONNECT))
    assert peer.streams[0].status == 200


# The request (RFC8441§4)


@pytest.mark.parametrize("name", [b":scheme", b":path", b":method"])
def test_what_lacks_a_field_is_malformed(name):
    peer = ask(without(name), apps.never)
    assert peer.resets == {0: MESSAGE_ERROR} and not peer.closed


@pytest.mark.parametrize("name", [b":scheme", b":path", b":protocol", b":method"])
def test_what_has_a_field_twice_is_malformed(name):
    (twice,) = [each for each in CONNECT if each[0] == name]
    assert ask([twice, *CONNECT], apps.never).resets == {0: MESSAGE_ERROR}


def test_a_field_behind_ordinary_ones_is_malformed():
    fields = [*without(b":protocol"), (b":protocol", b"websocket")]
    assert ask(fields, apps.never).resets == {0: MESSAGE_ERROR}


def test_another_method_is_malformed():
    assert ask([(b":method", b"GET"), *CONNECT[1:]], apps.never).resets == {0: MESSAGE_ERROR}


@pytest.mark.parametrize("protocol", [b"", b"\xff", b"a b"])
def test_what_is_no_protocol_is_malformed(protocol):
    fields = [CONNECT[0], (b":protocol", protocol), *CONNECT[2:]]
    assert ask(fields, apps.never).resets == {0: MESSAGE_ERROR}


@pytest.mark.parametrize("protocol", [b"connect-udp", b"webtransport"])
def test_another_protocol_is_501(protocol):
    peer = ask([CONNECT[0], (b":protocol", protocol), *CONNECT[2:]], apps.never)
    assert peer.streams[0].status == 501 and peer.streams[0].complete and not peer.closed


def test_connect_without_a_protocol_is_for_a_proxy():  # RFC9114§4.4
    fields = [(b":method", b"CONNECT"), (b":authority", b"x")]
    assert ask(fields, apps.never).streams[0].status == 501


@pytest.mark.parametrize("name", [b"connection", b"upgrade", b"transfer-encoding"])
def test_the_fields_of_an_upgrade_are_malformed(name):  # RFC9114§4.2
    assert ask([*CONNECT, (name, b"websocket")], apps.never).resets == {0: MESSAGE_ERROR}


def test_a_key_means_nothing():
    answer = ask([*CONNECT, (b"sec-websocket-key", b"nonsense")]).streams[0]
    assert answer.status == 200 and answer[b"sec-websocket-accept"] is None


@pytest.mark.parametrize(
    "name, value",
    [(b"sec-websocket-version", b"8"), (b"sec-websocket-protocol", b"\xff")],
)
def test_a_handshake_that_is_refused_costs_its_stream_only(name, value):
    peer = ask([*without(name), (name, value)], apps.never)
    peer.part(0, masked(TEXT, b"a"))
    assert peer.streams[0].status in (400, 426) and peer.streams[0].complete
    assert not peer.closed and not peer.context.running


def test_a_tunnel_that_ends_at_once_is_malformed():
    assert ask(CONNECT, apps.never, end=True).resets == {0: MESSAGE_ERROR}


def test_a_tunnel_that_ends_before_it_is_opened_is_reset():
    async def hesitates(gate, scope, receive, send):
        await gate.wait()

    gate = apps.Gate(hesitates)
    peer = ask(CONNECT, gate)
    peer.part(0, end=True)
    assert peer.resets == {0: CANCELLED} and not peer.closed
    gate.open()


# The tunnel


def test_the_scope_is_that_of_a_websocket():
    app = Script()
    Http3Socket(app, QUIET)
    assert app.scope["type"] == "websocket" and app.scope["http_version"] == "3"
    assert app.scope["scheme"] == "wss"


def test_many_websockets_share_a_connection_with_requests():
    peer = ask(CONNECT)
    ids = [0, *(peer.open(peer.head(CONNECT)) for _ in range(10))]
    for id in ids:
        peer.part(id, masked(TEXT, b"%d" % id))
    for id in ids:
        text = b"%d" % id
        assert peer.streams[id].body == bytes((0x81, len(text))) + text


def test_unknown_frames_within_a_tunnel_are_passed_over():  # RFC9114§9
    socket = Http3Socket(echo, QUIET)
    text = masked(TEXT, b"hello")
    grease = frame(0x21, b"xyz")
    socket.peer.write(socket.id, frame(0, text[:3]) + grease + frame(0, text[3:]))
    assert socket.messages == ["hello"]


def test_a_tunnel_counts_as_a_request():
    peer = H3Peer(echo, Config(quic_max_concurrent_streams=2), streams=STREAMS)
    ids = [peer.open(peer.head(CONNECT)) for _ in range(2)]
    peer.open(peer.head(CONNECT))
    assert sorted(peer.streams) == ids, "the third waits for credit"
    peer.part(0, masked(CLOSE), end=True)
    assert peer.streams[8].status == 200


# The end of a tunnel: FIN for that of TCP, H3_REQUEST_CANCELLED for its reset


def test_its_end_is_the_end_of_its_stream_only():
    socket = Http3Socket(echo, QUIET)
    socket.close(1000)
    assert socket.code == 1000 and socket.answer.complete and socket.answer.reset is None
    assert not socket.peer.closed
    again = socket.peer.open(socket.peer.head(CONNECT))
    assert socket.peer.streams[again].status == 200


def test_the_end_of_the_clients_stream_is_a_connection_that_broke():
    app = Script()
    socket = Http3Socket(app, QUIET)
    socket.peer.part(socket.id, end=True)
    assert app.disconnect[0] == 1006 and socket.ended and not socket.peer.closed


def test_trailers_end_a_tunnel_as_well():
    app = Script()
    socket = Http3Socket(app, QUIET)
    socket.peer.part(socket.id, end=True, trailers=[(b"x-a", b"1")])
    assert app.disconnect[0] == 1006 and socket.ended and not socket.peer.closed


def test_a_reset_is_a_connection_that_broke():
    app = Script()
    socket = Http3Socket(app, QUIET)
    socket.peer.abandon(socket.id)
    assert app.disconnect[0] == 1006
    assert not socket.peer.closed and not socket.peer.context.running


def test_one_direction_that_is_reset_takes_the_other_with_it():
    app = Script()
    socket = Http3Socket(app, QUIET)
    socket.peer.quic.reset_stream(socket.id, CANCELLED)
    socket.peer.settle()
    assert app.disconnect[0] == 1006 and socket.answer.reset == CANCELLED


def test_one_that_fails_costs_its_stream_only():
    socket = Http3Socket(echo, QUIET)
    peer = socket.peer
    other = peer.open(peer.head(CONNECT))
    peer.part(other, b"\xff\x80\0\0\0\0")
    assert peer.streams[other].complete and not peer.closed
    socket.text("still there")
    assert socket.messages == ["still there"]


def test_a_connection_that_closes_ends_all_its_tunnels():
    seen = []

    async def notes(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        seen.append((await receive())["code"])

    peer = ask(CONNECT, notes)
    peer.open(peer.head(CONNECT))
    peer.close()
    assert seen == [1006, 1006] and not peer.context.running


def test_a_fault_of_framing_ends_the_connection_with_its_tunnels():
    app = Script()
    socket = Http3Socket(app, QUIET)
    socket.peer.write(socket.id, frame(4))  # SETTINGS on a request stream
    assert socket.peer.closed_with == 0x105 and app.disconnect[0] == 1006
