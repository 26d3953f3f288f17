"""RFC9113§8.4, and §6.6: responses that the client has not asked for."""

from __future__ import annotations

import pytest
from hyperframe.frame import PushPromiseFrame

from tests.support import apps, frames
from tests.support.apps import body, start
from tests.support.frames import GET
from tests.support.peers import errors
from tests.wire.states import NOTHING, connected, connection, cost, holds, stream
from tricorn.config import Config

# 8.4. Server Push


def pushes(*, path: str = "/pushed", headers: tuple = ()):
    async def application(scope, receive, send):
        if "http.response.push" in scope["extensions"]:
            await send({"type": "http.response.push", "path": path, "headers": list(headers)})
        await send(start())
        await send(body(scope["path"].encode()))

    return application


PUSHING = Config(server_push=True)


def test_a_push_is_promised_on_the_stream_that_asked_before_its_answer():
    peer = connected(pushes(headers=((b"accept", b"*/*"),)), PUSHING)
    peer.send(frames.headers(1))
    (promise,) = peer.of(PushPromiseFrame)
    assert (promise.stream_id, promise.promised_stream_id) == (1, 2)
    assert peer.promised[2] == [*GET[:3], (b":path", b"/pushed"), (b"accept", b"*/*")]
    kinds = [(each.type, each.stream_id) for each in peer.frames]
    assert kinds.index((frames.PUSH_PROMISE, 1)) < kinds.index((frames.HEADERS, 1))
    assert peer.answer(2).body == b"/pushed" and peer.answer(1).body == b"/"


def test_a_pushed_request_pushes_nothing_itself():  # §6.6, §8.4.1
    peer = connected(pushes(), PUSHING)
    peer.send(frames.headers(1), frames.headers(3))
    promises = peer.of(PushPromiseFrame)
    assert [(each.stream_id, each.promised_stream_id) for each in promises] == [(1, 2), (3, 4)]


@pytest.mark.parametrize("settings", [{frames.ENABLE_PUSH: 0}, {frames.MAX_CONCURRENT_STREAMS: 0}])
def test_nothing_is_pushed_to_who_takes_none(settings):
    peer = connected(pushes(), PUSHING, settings=settings)
    assert peer.fetch().complete and not peer.promised


def test_nothing_is_pushed_unless_the_operator_allows_it():
    peer = connected(pushes())
    assert peer.fetch().complete and not peer.promised


def test_nothing_is_pushed_to_who_is_leaving():
    peer = connected(pushes(), PUSHING)
    peer.send(frames.headers(1) + frames.goaway())
    assert peer.answer(1).complete and not peer.promised


def test_no_more_is_pushed_than_the_client_takes_at_once():
    async def application(scope, receive, send):
        if scope["path"] != "/":
            await holds({"path": "/"}, receive, send)
            return
        for number in range(3):
            push = {"type": "http.response.push", "path": f"/{number}", "headers": []}
            await send(push)
        await send(start())
        await send(body())

    peer = connected(application, PUSHING, settings={frames.MAX_CONCURRENT_STREAMS: 2})
    peer.send(frames.headers(1))
    assert list(peer.promised) == [2, 4]


def test_a_client_may_refuse_a_push():
    app = apps.Recorder()
    peer = connected(pushes(), PUSHING)
    peer.generous = False
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    peer.send(frames.headers(1))
    peer.send(frames.rst(2), frames.window_update(2, 9))
    assert peer.goaway is None and peer.streams[2].body == b""
    assert not app.calls


@pytest.mark.parametrize("path", ["pushed", "", "/a b", "*"])
def test_what_cannot_be_asked_for_cannot_be_pushed(path):
    peer = connected(pushes(path=path), PUSHING)
    peer.send(frames.headers(1))
    assert not peer.promised and peer.answer(1).status == 500
    errors.expect("cannot be pushed")


# 5.1. Stream States: reserved, and half-closed (remote)


def promised():
    """A connection on which stream 2 was promised, and nothing is answered."""

    async def application(scope, receive, send):
        if scope["path"] == "/":
            await send({"type": "http.response.push", "path": "/pushed", "headers": []})
        if scope["path"] != "/other":
            scope = {"path": "/"}
        await holds(scope, receive, send)

    peer = connected(application, PUSHING)
    peer.send(frames.headers(1))
    assert list(peer.promised) == [2] and not peer.resets
    return peer


STREAM_CLOSED = stream(frames.STREAM_CLOSED)
PROTOCOL = connection(frames.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "data, expected",
    [
        (frames.data(2, b"x"), STREAM_CLOSED),
        (frames.data(2, end=True), STREAM_CLOSED),
        (frames.headers(2, [(b"x", b"y")]), PROTOCOL),
        (frames.headers(2), PROTOCOL),
        (frames.priority(2, 1), NOTHING),
        (frames.priority_update(2, b"u=1"), NOTHING),
        (frames.rst(2), NOTHING),
        (frames.window_update(2, 1), NOTHING),
        (frames.window_update(2, 0), stream(frames.PROTOCOL_ERROR)),
        (frames.window_update(2, 2**31 - 1), stream(frames.FLOW_CONTROL_ERROR)),
        (frames.data(4), PROTOCOL),
        (frames.rst(4), PROTOCOL),
        (frames.window_update(4, 1), PROTOCOL),
    ],
)
def test_a_frame_of_a_pushed_stream(data, expected):
    assert cost(promised(), data, 2) == expected


def test_goaway_counts_the_streams_of_the_client_only():  # §6.8
    peer = promised()
    peer.send(frames.ping(stream=1))
    assert peer.goaways == [(1, frames.PROTOCOL_ERROR)]


def test_a_push_may_be_the_last_stream_of_a_connection():
    peer = connected(pushes(), PUSHING, settings={frames.INITIAL_WINDOW_SIZE: 0})
    peer.generous = False
    peer.send(frames.headers(1))
    peer.send(frames.window_update(1, 9), frames.goaway())
    assert peer.answer(1).complete and not peer.closed
    peer.send(frames.window_update(2, 9))
    assert peer.answer(2).complete and peer.closed
