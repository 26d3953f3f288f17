"""What ASGI's websocket protocol owes to applications that use it in other than the usual ways."""

from __future__ import annotations

import asyncio
import contextvars
import json

import pytest

from tests.server.test_websocket import ACCEPTED, QUIET, Script, echo
from tests.support import apps
from tests.support.peers import errors
from tests.support.websocket import CLOSE, PONG, SOCKETS, TEXT, masked
from tricorn.config import Config
from tricorn.leaving import Leaving
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.logfile import LogFile

PART = 10_000


@pytest.fixture(params=SOCKETS.values(), ids=SOCKETS)
def connect(request):
    return request.param


def text(data):
    return {"type": "websocket.send", "text": data}


def binary(data):
    return {"type": "websocket.send", "bytes": data}


def closing(code, reason):
    return {"type": "websocket.close", "code": code, "reason": reason}


def denial(status, *headers):
    return {"type": "websocket.http.response.start", "status": status, "headers": headers}


def denial_body(data=b"", *, more=False):
    return {"type": "websocket.http.response.body", "body": data, "more_body": more}


async def disconnected(receive):
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    return message


def says(*messages, then=None):
    """Sends these once it has been asked to, and perhaps goes on."""

    async def application(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        for message in messages:
            await send(message)
        if then is not None:
            await then(receive, send)

    return application


def end(socket):
    """The client ends its direction, without a close."""
    if hasattr(socket, "id"):
        socket.peer.part(socket.id, end=True)
    else:
        socket.peer.half_close()


# Opening


def test_what_the_worker_keeps_is_the_websockets_own(connect):
    app = Script()
    socket = connect(app, QUIET, state={"a": 1})
    app.scope["state"]["a"] = 2
    assert socket.peer.context.state == {"a": 1}
    assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}


def test_an_answer_that_would_be_split_is_an_error(connect):
    for field in ((b"x-a", b"1\r\nx-b: 2"), (b"x a", b"1"), (b"Upgrade", b"x")):
        socket = connect(Script(ACCEPTED | {"headers": [field]}), QUIET)
        assert socket.answer.status == 500 and socket.ended
        errors.expect("ApplicationError")


def test_a_second_accept_is_an_error(connect):
    assert connect(Script(ACCEPTED, ACCEPTED), QUIET).code == 1011
    errors.expect("while the websocket is open")


def test_who_accepts_at_once_receives_connect_all_the_same(connect):
    seen = []

    async def hasty(scope, receive, send):
        await send(ACCEPTED)
        await send(text("a"))
        seen.extend([await receive(), await receive()])

    socket = connect(hasty, QUIET)
    socket.close(1000)
    assert [each["type"] for each in seen] == ["websocket.connect", "websocket.disconnect"]


def test_a_client_that_goes_before_it_is_accepted_is_noticed(connect):
    seen = []

    async def late(scope, receive, send):
        await receive()
        seen.append(await receive())
        with pytest.raises(OSError):
            await send(ACCEPTED)
        seen.append("raised")

    connect(late, QUIET).peer.lose()
    assert seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}, "raised"]


# Denying


@pytest.mark.parametrize("steps", [[], [denial_body(b"a", more=True)]])
def test_a_denial_that_is_cut_off_is_not_taken_for_whole(connect, steps):
    socket = connect(says(denial(200), *steps), QUIET)
    errors.expect("neither accepted nor closed")
    assert socket.ended
    if steps:
        peer = socket.peer
        answers = peer.responses() if not hasattr(socket, "id") else [peer.answer(socket.id)]
        assert not any(each.complete for each in answers)
    else:
        assert socket.answer.status == 500


def test_a_denial_may_be_empty(connect):
    socket = connect(says(denial(204), denial_body()), QUIET)
    assert socket.answer.status == 204 and socket.answer.complete


def test_a_denial_may_take_longer_than_accepting(connect):
    async def then(receive, send):
        await asyncio.sleep(20)
        await send(denial_body(b"b"))

    app = says(denial(401), denial_body(b"a", more=True), then=then)
    socket = connect(app, Config(websocket_accept_timeout=10.0))
    socket.peer.advance(25)
    assert socket.answer.body == b"ab" and socket.answer.complete


def test_a_denial_waits_for_a_client_that_does_not_read(connect):
    gate, sent = asyncio.Event(), []

    async def then(receive, send):
        await gate.wait()
        for _ in range(200):
            await send(denial_body(bytes(PART), more=True))
            sent.append(PART)
        await send(denial_body())

    socket = connect(says(denial(401), then=then), QUIET)
    socket.peer.stop_reading()
    gate.set()
    socket.peer.settle()
    assert sum(sent) < 400_000
    socket.peer.read()
    assert len(socket.answer.body) == 200 * PART and socket.answer.complete


# Messages


def test_text_or_bytes_may_be_none_beside_the_other(connect):
    steps = [binary(b"a") | {"text": None}, text("b") | {"bytes": None}]
    steps += [binary(bytearray(b"c")), binary(memoryview(b"d"))]
    assert connect(says(ACCEPTED, *steps), QUIET).messages == [b"a", "b", b"c", b"d"]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send"},
        text(b"a"),
        binary("a"),
        text("\ud800"),
        {"type": "http.response.start", "status": 200},
        denial(200),
        {"type": "nonsense"},
    ],
)
def test_a_wrong_message_is_the_applications_error(connect, message):
    assert connect(says(ACCEPTED, message), QUIET).code == 1011
    errors.expect("the application raised")


def test_several_tasks_may_send(connect):
    async def application(scope, receive, send):
        await send(ACCEPTED)
        await asyncio.gather(*[send(binary(bytes([at]) * PART)) for at in range(50)])
        await disconnected(receive)

    socket = connect(application, QUIET)
    assert sorted(socket.messages) == [bytes([at]) * PART for at in range(50)]


def test_each_runs_in_a_context_of_its_own():
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    async def application(scope, receive, send):
        seen.append(variable.get())
        variable.set(variable.get() + 1)
        await send(ACCEPTED)
        await disconnected(receive)
        seen.append(variable.get())

    socket = SOCKETS["HTTP/2-tricorn"](application, QUIET)
    socket.open()
    socket.peer.lose()
    assert seen == [0, 0, 1, 1]


# The end


def test_messages_come_before_the_disconnect_which_stays(connect):
    seen = []

    async def then(receive, send):
        await asyncio.sleep(1)
        for _ in range(4):
            seen.append(await receive())

    socket = connect(says(ACCEPTED, then=then), QUIET)
    socket.send(masked(TEXT, b"a") + masked(TEXT, b"b") + masked(CLOSE))
    socket.peer.advance(2)
    assert [each.get("text", each.get("code")) for each in seen] == ["a", "b", 1005, 1005]


@pytest.mark.parametrize(
    "message, said",
    [
        (closing(None, None), (1000, b"")),
        (closing(4999, "x" * 200), (4999, b"x" * 123)),
        (closing(3000, "é" * 100), (3000, "é".encode() * 61)),
    ],
)
def test_a_close_says_what_fits(connect, message, said):
    (frame,) = connect(says(ACCEPTED, message), QUIET).frames
    assert (int.from_bytes(frame.data[:2], "big"), bytes(frame.data[2:])) == said


@pytest.mark.parametrize("how", ["lost", "closed", "ended"])
def test_nothing_can_be_sent_after_the_disconnect(connect, how):
    seen = []

    async def then(receive, send):
        await disconnected(receive)
        for message in (text("a"), binary(b"b"), closing(1000, ""), ACCEPTED):
            with pytest.raises(OSError):
                await send(message)
            seen.append(message)
        await send(text("and nobody catches it"))

    socket = connect(says(ACCEPTED, then=then), QUIET)
    {"lost": socket.peer.lose, "closed": socket.close, "ended": lambda: end(socket)}[how]()
    assert len(seen) == 4 and socket.messages == []


def test_an_application_that_exits_is_answered_for(connect):
    async def then(receive, send):
        raise SystemExit(3)

    socket = connect(says(then=then), QUIET)
    assert socket.answer.status == 500 and socket.answer.complete and socket.ended
    errors.expect("SystemExit")


# Holding back, and deadlines


async def floods(receive, send):
    await receive()
    while True:
        await send(binary(bytes(PART)))


@pytest.mark.parametrize("message", ["a" * 400_000, "😀" * 100_000, "a" * 100_000 + "😀"])
def test_a_client_is_held_back_by_what_its_messages_take_in_memory(connect, message):
    gate = asyncio.Event()

    async def then(receive, send):
        await gate.wait()
        await disconnected(receive)

    socket = connect(says(ACCEPTED, then=then), QUIET)
    for _ in range(6):
        socket.text(message)
    (stream,) = socket.peer.context.running
    assert len(stream.messages) == 3 and stream.full
    gate.set()
    socket.peer.settle()
    assert not stream.messages and stream.queued == 0


def test_a_send_that_waits_ends_when_the_client_is_lost(connect):
    seen = []

    async def then(receive, send):
        with pytest.raises(OSError):
            await floods(receive, send)
        seen.append("gone")

    socket = connect(says(ACCEPTED, then=then), QUIET)
    socket.peer.stop_reading()
    socket.text("go")
    assert seen == []
    socket.peer.lose()
    assert seen == ["gone"]


def test_a_client_that_never_reads_is_given_up(connect):
    app = says(ACCEPTED, then=floods)
    socket = connect(app, Config(write_timeout=20.0, websocket_ping_interval=0.0))
    socket.peer.stop_reading()
    socket.text("go")
    socket.peer.advance(45)
    assert not socket.peer.context.running


def test_a_client_that_reads_slowly_is_kept(connect):
    socket = connect(says(ACCEPTED, then=floods), Config(write_timeout=20.0))
    socket.peer.stop_reading()
    socket.text("go")
    for _ in range(200):
        socket.peer.read(PART / 2)
        socket.send(masked(PONG))
        socket.peer.advance(1)
    assert socket.peer.context.running
    socket.peer.lose()


def test_any_message_is_a_sign_of_life(connect):
    socket = connect(echo, Config(websocket_ping_interval=20.0, websocket_ping_timeout=10.0))
    for _ in range(10):
        socket.peer.advance(15)
        socket.text("a")
    assert socket.messages == ["a"] * 10 and len(socket.frames) == 10


# Leaving


def test_a_drain_is_spread_over_its_time():
    socket = SOCKETS["HTTP/2-tricorn"](Script(), QUIET)
    ids = [socket.id]
    for _ in range(59):
        socket.open()
        ids.append(socket.id)
    socket.peer.context.leaving = Leaving(1012, 30.0)
    socket.peer.drain()
    counts = []
    for _ in range(33):
        socket.peer.advance(1)
        counts.append(sum(bool(socket.peer.answer(id).body) for id in ids))
        for id in ids:
            if socket.peer.answer(id).body and not socket.peer.answer(id).complete:
                socket.peer.part(id, masked(CLOSE, b"\x03\xf4"))
    assert counts[0] < 20 and 10 < counts[14] < 50 and counts[-1] == 60


def test_one_that_is_accepted_in_a_drain_leaves_as_well(connect):
    async def application(scope, receive, send):
        await asyncio.sleep(2)
        await send(ACCEPTED)
        await disconnected(receive)

    socket = connect(application, QUIET)
    socket.peer.drain()
    socket.peer.advance(5)
    assert socket.accepted and socket.code == 1001


# What is around it


@pytest.mark.parametrize("status", [403, 500, 426])
def test_one_line_in_the_log_of_what_is_refused(connect, tmp_path, status):
    app = {403: says({"type": "websocket.close"}), 500: says(), 426: apps.never}[status]
    log = AccessLog(LogFile(str(tmp_path / "log"), 1), "json")
    options = {"handshake": ()} if status == 426 else {}
    socket = connect(app, QUIET, accesslog=log, **options)
    assert socket.answer.status == status
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["status"] == status
    assert socket.peer.context.stats.responses[status // 100] == 1
    if status == 500:
        errors.expect("neither accepted nor closed")
