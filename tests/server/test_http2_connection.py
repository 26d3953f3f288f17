"""Our engine of HTTP/2: mistakes of applications, and clients that do not read."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import apps, frames
from tests.support.apps import body, start
from tests.support.frames import GET
from tests.support.h2peer import H2Peer
from tests.support.peers import errors
from tests.support.websocket import Http2Socket
from tricorn.config import Config


@pytest.mark.parametrize("length", [b"1", b"500"])
@pytest.mark.parametrize("table", [4096, 0])
def test_a_length_that_is_not_true_leaves_the_table_as_it_was(length, table):
    async def application(scope, receive, send):
        wrong = (b"content-length", length if scope["path"] == "/bad" else b"5")
        await send(start(200, (b"x-once", scope["path"].encode()), wrong))
        await send(body(b"hello"))

    peer = H2Peer(application, settings={frames.HEADER_TABLE_SIZE: table})
    for path in ("/a", "/bad", "/bad", "/a", "/b", "/b"):
        answer = peer.fetch(path)  # the peer decodes every block
        assert answer.status in (200, 500)
    if length == b"500":
        errors.expect("ApplicationError")
        errors.expect("ApplicationError")
    else:
        errors.expect("more than its Content-Length")
        errors.expect("more than its Content-Length")


def test_who_reads_no_heads_is_not_given_more_of_them():
    field = (b"x-large", b"y" * 1500)
    peer = H2Peer(apps.answers(b"", 204, field))
    peer.fetch()
    peer.stop_reading()
    asked = 0
    while not peer.wire.unread and asked < 3000:
        id = peer.next
        peer.next += 20
        peer.send(b"".join(frames.headers(id + 2 * each) for each in range(10)))
        asked += 10
    assert asked < 3000
    assert peer.wire.most < 600_000
    peer.read()
    assert peer.fetch().status == 204


def test_unread_uploads_leave_credit_for_the_others():
    gate = asyncio.Event()

    async def application(scope, receive, send):
        if scope["path"] == "/slow":
            await gate.wait()
        await apps.echo(scope, receive, send)

    peer = H2Peer(application)
    for _ in range(40):
        id = peer.begin("/slow")
        peer.part(id, bytes(70_000), end=True)
    assert peer.fetch("/", "POST", body=b"hello").body == b"hello"
    gate.set()
    peer.settle()
    assert all(len(answer.body) in (5, 70_000) for answer in peer.streams.values())


def test_tunnels_that_have_ended_leave_room_for_new_ones():
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    config = Config(h2_max_concurrent_streams=3, websocket_ping_interval=0)
    socket = Http2Socket(application, config)
    for _ in range(10):
        assert socket.accepted
        socket.close(1000)
        assert socket.code == 1000 and socket.ended
        socket.open()


def test_nothing_is_read_for_a_stream_that_was_reset(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(3_000_000))
    sent = []

    async def application(scope, receive, send):
        await send(start())
        try:
            await send({"type": "http.response.pathsend", "path": str(file)})
        except OSError:
            sent.append("gone")
            raise

    peer = H2Peer(application)
    peer.generous = False
    id = peer.ask()
    peer.send(frames.rst(id))
    assert sent == ["gone"]


def test_what_is_pushed_is_none_of_the_clients_requests():
    async def application(scope, receive, send):
        if scope["path"] == "/":
            for number in range(3):
                push = {"type": "http.response.push", "path": f"/{number}", "headers": []}
                await send(push)
        await send(start())
        await send(body(b"x" * 100))

    config = Config(server_push=True, h2_max_concurrent_streams=3)
    peer = H2Peer(application, config, settings={frames.INITIAL_WINDOW_SIZE: 0})
    peer.generous = False
    peer.send(frames.headers(1, GET))
    assert len(peer.promised) == 3
    peer.send(frames.headers(3, [*GET[:3], (b":path", b"/other")]))
    assert 3 not in peer.resets
    peer.grant(3, 100)
    assert peer.answer(3).complete
