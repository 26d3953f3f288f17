"""RFC 6455, in the order of its sections; what is malicious is in test_attacks_websocket.py."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode

from tests.server.test_websocket import ACCEPTED, QUIET, Script, echo
from tests.support import apps
from tests.support.messages import BY_EVERY_WAY
from tests.support.peers import H1Peer
from tests.support.websocket import (
    ACCEPT,
    BINARY,
    CLOSE,
    KEY,
    PING,
    PONG,
    SOCKETS,
    STREAMS,
    TEXT,
    masked,
)

HTTP1 = SOCKETS["HTTP/1.1"]
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % KEY
)


@pytest.fixture(params=SOCKETS.values(), ids=SOCKETS)
def connect(request):
    return request.param


def shake(octets, app=echo, way=lambda data: [data]):
    peer = H1Peer(app, QUIET, streams=STREAMS)
    peer.send(*way(octets))
    return peer


# 3. WebSocket URIs


@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e", "/?", "/%2F", "http://x/chat?a=b"])
def test_the_resource_is_any_target(target):
    app = Script()
    shake(HANDSHAKE.replace(b"/chat", target.encode(), 1), app)
    assert app.scope["query_string"] == target.partition("?")[2].encode()


# 4.1, 4.2. Opening Handshake


@BY_EVERY_WAY
def test_the_handshake_may_come_in_pieces(way):
    answer = shake(HANDSHAKE, way=way).answer()
    assert answer.status == 101 and answer[b"sec-websocket-accept"] == ACCEPT
    assert answer[b"upgrade"] == b"websocket" and answer[b"connection"] == b"upgrade"


@pytest.mark.parametrize(
    "old, new",
    [
        (b"Upgrade: websocket", b"uPGRADE: WebSocket"),
        (b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
        (b"Upgrade: websocket", b"Upgrade: other, websocket"),
        (b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: upgrade"),
        (b"Connection: Upgrade", b"Connection: upgrade\r\nConnection: keep-alive"),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key:  \t"),
    ],
)
def test_fields_are_compared_as_they_should_be(old, new):  # §4.2.1
    assert shake(HANDSHAKE.replace(old, new)).answer().status == 101


@pytest.mark.parametrize(
    "old, new",
    [
        (b"Connection: Upgrade\r\n", b""),
        (b"Upgrade: websocket\r\n", b""),
        (b"Upgrade: websocket", b"Upgrade: websockets"),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_what_asks_for_no_upgrade_is_an_ordinary_request(old, new):
    peer = shake(HANDSHAKE.replace(old, new, 1), apps.hello)
    assert peer.answer().status == 200 and peer.answer().body == b"hello"


@pytest.mark.parametrize(
    "old, new",
    [
        (b"GET", b"POST"),
        (b"Host: x\r\n", b""),
        (b"Host: x", b"Host: x\r\nContent-Length: 5"),
        (b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked"),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: x"),
        (b"Sec-WebSocket-Key", b"Sec-WebSocket-Kex"),
    ],
)
def test_what_is_no_handshake_is_400_and_closes(old, new):
    peer = shake(HANDSHAKE.replace(old, new, 1), apps.never)
    assert peer.answer().status == 400 and peer.closed


def test_a_failed_handshake_leaves_no_tunnel():
    peer = shake(HANDSHAKE.replace(b"13", b"8"), apps.never)
    assert peer.answer().status == 426 and peer.closed
    peer.send(HANDSHAKE)
    assert len(peer.responses()) == 1


@BY_EVERY_WAY
def test_frames_that_follow_the_handshake_at_once_are_read(way):
    peer = shake(HANDSHAKE + masked(TEXT, b"early"), way=way)
    assert peer.answer().body == b"\x81\x05early"


# 5.2, 5.3. Base Framing Protocol, Masking


@BY_EVERY_WAY
@pytest.mark.parametrize(
    "octets, answer",
    [
        ("818537fa213d7f9f4d5158", b"\x81\x05Hello"),
        ("018337fa213d7f9f4d 808237fa213d5b95", b"\x81\x05Hello"),
        ("898537fa213d7f9f4d5158", b"\x8a\x05Hello"),
        ("8a8537fa213d7f9f4d5158", b""),
    ],
)
def test_the_examples_of_the_rfc_are_read(connect, octets, answer, way):  # §5.7
    socket = connect(echo, QUIET)
    socket.send(*way(bytes.fromhex(octets)))
    assert socket.answer.body == answer


@BY_EVERY_WAY
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_sizes_of_every_length_come_back(connect, size, way):
    socket = connect(echo, QUIET)
    socket.send(*way(masked(BINARY, b"x" * size)))
    assert socket.messages == [b"x" * size]


def test_frames_of_a_server_are_not_masked_and_as_short_as_can_be(connect):
    socket = connect(echo, QUIET)
    for size in (125, 126, 65_535, 65_536):
        socket.send(masked(BINARY, b"x" * size))
    heads = [
        b"\x82\x7d",
        b"\x82\x7e\x00\x7e",
        b"\x82\x7e\xff\xff",
        b"\x82\x7f" + (65_536).to_bytes(8),
    ]
    sizes = (125, 126, 65_535, 65_536)
    wanted = b"".join(head + b"x" * size for head, size in zip(heads, sizes, strict=True))
    assert socket.answer.body == wanted


# 5.4. Fragmentation


@BY_EVERY_WAY
def test_a_message_may_come_in_fragments(connect, way):
    app = Script()
    socket = connect(app, QUIET)
    parts = masked(0x01, "é".encode()[:1]) + masked(0x00, "é".encode()[1:]) + masked(0x00)
    socket.send(*way(parts + masked(0x80, b"!") + masked(TEXT, b"next")))
    assert [each["text"] for each in app.messages] == ["é!", "next"]


def test_a_close_may_come_between_fragments(connect):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(masked(0x01, b"a") + masked(CLOSE, b"\x03\xe8"))
    assert app.messages == [] and app.disconnect[0] == 1000 and socket.ended


# 5.5. Control Frames


@BY_EVERY_WAY
def test_a_ping_is_answered_with_its_own_data(connect, way):
    socket = connect(Script(), QUIET)
    socket.send(*way(masked(PING, b"x" * 125)))
    (pong,) = socket.frames
    assert pong.opcode is Opcode.PONG and pong.data == b"x" * 125


def test_a_pong_that_nobody_asked_for_is_ignored(connect):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(masked(PONG, b"x"))
    assert socket.frames == [] and app.messages == []


@BY_EVERY_WAY
def test_a_close_is_answered_with_its_code(connect, way):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(*way(masked(CLOSE, b"\x0b\xb8bye")))
    assert socket.code == 3000 and socket.ended and app.disconnect == (3000, "bye")


def test_nothing_follows_a_close(connect):  # §5.5.1
    async def talks(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        while (await receive())["type"] == "websocket.receive":
            pass
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "too late"})

    socket = connect(talks, QUIET)
    socket.close(1000)
    assert [each.opcode for each in socket.frames] == [Opcode.CLOSE]


@BY_EVERY_WAY
def test_what_follows_a_close_is_ignored(connect, way):  # §5.5.1, W-11
    app = Script()
    socket = connect(app, QUIET)
    socket.send(*way(masked(TEXT, b"a") + masked(CLOSE) + masked(TEXT, b"b") + masked(0x83)))
    assert [each["text"] for each in app.messages] == ["a"]
    assert app.disconnect[0] == 1005 and socket.code == 1000


def test_what_crosses_our_close_is_dropped(connect):  # §1.4
    app = Script(ACCEPTED, {"type": "websocket.close"})
    socket = connect(app, QUIET)
    socket.text("crossing")
    socket.send(masked(PING, b"?"))
    assert app.messages == [] and len(socket.frames) == 1
    socket.close(1000)
    assert socket.ended


# 7. Closing the Connection


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 3000, 4999])
def test_codes_that_may_be_sent_are_heard(connect, code):
    app = Script()
    connect(app, QUIET).close(code)
    assert app.disconnect[0] == code


# 9. Extensions


def test_an_extension_that_is_not_known_is_not_answered(connect):
    socket = connect(Script(), QUIET, [(b"sec-websocket-extensions", b"mux; max-channels=4")])
    assert socket.accepted and socket.answer[b"sec-websocket-extensions"] is None
