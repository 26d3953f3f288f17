"""What an application may rely on that serves WebSockets, whichever version opens them."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.frames import Opcode

from tests.support import apps, frames
from tests.support.messages import BY_EVERY_WAY
from tests.support.peers import errors
from tests.support.websocket import ACCEPT, BINARY, CLOSE, PING, PONG, SOCKETS, TEXT, masked
from tricorn.config import Config
from tricorn.leaving import Leaving
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.logfile import LogFile

ACCEPTED = {"type": "websocket.accept"}
QUIET = Config(websocket_ping_interval=0)


@pytest.fixture(params=SOCKETS.values(), ids=SOCKETS)
def connect(request):
    return request.param


class Script:
    """Accepts, and notes whatever it receives; `steps` are what it sends before."""

    def __init__(self, *steps, after=()):
        self.steps = steps or (ACCEPTED,)
        self.after = after
        self.scope = None
        self.received = []
        self.error = None

    async def __call__(self, scope, receive, send):
        self.scope = scope
        self.received.append(await receive())
        for step in self.steps:
            await send(step)
        while self.received[-1]["type"] != "websocket.disconnect":
            self.received.append(await receive())
        for step in self.after:
            try:
                await send(step)
            except OSError as error:
                self.error = error

    @property
    def messages(self):
        return [each for each in self.received if each["type"] == "websocket.receive"]

    @property
    def disconnect(self):
        assert self.received[-1]["type"] == "websocket.disconnect"
        return self.received[-1]["code"], self.received[-1]["reason"]


async def echo(scope, receive, send):
    await receive()
    await send(ACCEPTED)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send"} | {k: message.get(k) for k in ("text", "bytes")})


# Opening


def test_the_scope_says_what_was_asked_for(connect):
    app = Script()
    socket = connect(app, QUIET, [(b"x-a", b"1"), (b"sec-websocket-protocol", b"a, b")])
    scope = app.scope
    scheme = "wss" if connect is SOCKETS["HTTP/3"] else "ws"
    assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", scheme, "/chat")
    assert scope["query_string"] == b"a=b" and scope["subprotocols"] == ["a", "b"]
    assert (b"x-a", b"1") in scope["headers"] and "method" not in scope
    assert "websocket.http.response" in scope["extensions"]
    assert app.received == [{"type": "websocket.connect"}] and socket.accepted


def test_the_key_is_answered():  # RFC6455§1.3
    assert SOCKETS["HTTP/1.1"](echo).answer[b"sec-websocket-accept"] == ACCEPT


def test_a_subprotocol_and_fields_are_chosen(connect):
    step = ACCEPTED | {"subprotocol": "b", "headers": [(b"x-b", b"2")]}
    socket = connect(Script(step), QUIET, [(b"sec-websocket-protocol", b"a, b")])
    assert socket.answer[b"sec-websocket-protocol"] == b"b" and socket.answer[b"x-b"] == b"2"


@pytest.mark.parametrize(
    "step",
    [
        ACCEPTED | {"subprotocol": "c"},
        ACCEPTED | {"headers": [(b"sec-websocket-accept", b"x")]},
        {"type": "websocket.send", "text": "too early"},
        {"type": "websocket.http.response.start", "status": 99},
        {"type": "websocket.http.response.body", "body": b""},
    ],
)
def test_what_cannot_be_sent_is_an_error_of_the_application(connect, step):
    socket = connect(Script(step), QUIET)
    assert socket.answer.status == 500
    errors.expect("ApplicationError")


def test_close_before_accept_is_forbidden(connect):
    app = Script({"type": "websocket.close"})
    socket = connect(app, QUIET)
    assert socket.answer.status == 403 and app.disconnect[0] == 1006 and socket.ended


@pytest.mark.parametrize("parts", [1, 3])
def test_denial_is_the_response_that_the_application_gives(connect, parts):
    start = {
        "type": "websocket.http.response.start",
        "status": 401,
        "headers": [(b"www-authenticate", b"Basic")],
    }
    body = {"type": "websocket.http.response.body", "body": b"no"}
    steps = [body | {"more_body": at < parts - 1} for at in range(parts)]
    socket = connect(Script(start, *steps), QUIET)
    assert socket.answer.status == 401 and socket.answer.body == b"no" * parts
    assert socket.answer[b"www-authenticate"] == b"Basic" and socket.ended


def test_denial_is_whole_though_the_client_has_ended_its_side(connect):
    gate = asyncio.Event()

    async def denies(scope, receive, send):
        part = {"type": "websocket.http.response.body", "body": b"no"}
        await send({"type": "websocket.http.response.start", "status": 403})
        await send(part | {"more_body": True})
        await gate.wait()
        await send(part)

    socket = connect(denies, QUIET)
    if hasattr(socket, "id"):
        socket.peer.part(socket.id, end=True)
    else:
        socket.peer.half_close()
    gate.set()
    socket.peer.settle()
    assert socket.answer.body == b"nono" and socket.answer.complete
    assert socket.peer.context.stats.aborted == 0


def test_who_sends_when_a_drain_has_closed_has_not_failed(connect):
    gate = asyncio.Event()

    async def pushes(scope, receive, send):
        await send(ACCEPTED)
        await gate.wait()
        await send({"type": "websocket.send", "text": "late"})

    socket = connect(pushes, QUIET)
    socket.peer.drain()
    socket.peer.advance(2)
    assert socket.code == 1001
    gate.set()
    socket.peer.settle()  # and nothing is logged as an error
    assert not socket.peer.context.running


@pytest.mark.parametrize(
    "handshake, status",
    [
        ([], 426),
        ([(b"sec-websocket-version", b"12")], 426),
        ([(b"sec-websocket-version", b"13")] * 2, 426),
        ([(b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"a, a")], 400),
        ([(b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"\xe9")], 400),
        ([(b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"a b")], 400),
    ],
)
def test_what_is_no_handshake_is_refused(connect, handshake, status):  # W-07
    if connect is SOCKETS["HTTP/1.1"]:
        handshake = [(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), *handshake]
    socket = connect(apps.never, QUIET, handshake=handshake)
    assert socket.answer.status == status and socket.ended
    assert socket.answer[b"sec-websocket-version"] == (b"13" if status == 426 else None)


@pytest.mark.parametrize("key", [b"", b"short", b"dGhlIHNhbXBsZSBub25jZR==", b"x" * 24])
def test_a_key_that_is_none_is_refused(key):  # W-07
    fields = [(b"sec-websocket-key", key), (b"sec-websocket-version", b"13")]
    assert SOCKETS["HTTP/1.1"](apps.never, QUIET, handshake=fields).answer.status == 400


@pytest.mark.parametrize("origin, status", [(b"https://A.example", None), (b"https://b", 403)])
def test_pages_from_elsewhere_are_refused(connect, origin, status):  # W-12
    config = Config(websocket_ping_interval=0, websocket_origin=("https://a.example",))
    socket = connect(echo, config, [(b"origin", origin)])
    assert socket.accepted if status is None else socket.answer.status == status


def test_an_application_that_does_not_accept_is_not_waited_for(connect):  # W-13
    async def hesitates(scope, receive, send):
        await receive()
        await receive()

    socket = connect(hesitates, Config(websocket_accept_timeout=10))
    socket.peer.advance(12)
    assert socket.answer.status == 503
    errors.expect("does not accept")


# Messages


def test_messages_go_both_ways(connect):
    socket = connect(echo, QUIET)
    socket.text("hello", "")
    socket.send(masked(BINARY, b"\0\xff"), masked(TEXT, "é".encode() * 40_000))
    assert socket.messages == ["hello", "", b"\0\xff", "é" * 40_000]


def test_fragments_are_one_message(connect):
    app = Script()
    socket = connect(app, QUIET)
    socket.send(masked(0x01, b"a"), masked(0x00, b"b"), masked(PING, b"?"), masked(0x80, b"c"))
    assert app.messages == [{"type": "websocket.receive", "text": "abc"}]
    assert [each.opcode for each in socket.frames] == [Opcode.PONG]


def test_a_slow_application_holds_its_client_back(connect):  # W-15
    opened = []

    async def slow(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        opened.append(asyncio.Event())
        await opened[0].wait()
        got = 0
        while (message := await receive())["type"] == "websocket.receive":
            got += len(message["bytes"])
            await send({"type": "websocket.send", "text": str(got)})

    socket = connect(slow, QUIET)
    for _ in range(100):
        socket.send(masked(BINARY, bytes(50_000)))
    held = socket.peer.held(getattr(socket, "id", 0))
    held += socket.peer.wire.unread if hasattr(socket, "id") and hasattr(socket.peer, "wire") else 0
    assert held > 100 * 50_000 - 16 * 50_000 - 1_000_000
    opened[0].set()
    socket.peer.settle()
    assert socket.messages[-1] == str(100 * 50_000)


def test_a_client_that_does_not_read_holds_its_application_back(connect):  # W-15
    sent = []

    async def floods(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        await receive()
        for _ in range(100):
            await send({"type": "websocket.send", "bytes": bytes(50_000)})
            sent.append(50_000)

    socket = connect(floods, QUIET)
    socket.peer.stop_reading()
    socket.text("go")
    assert 0 < len(sent) < 10
    socket.peer.read()
    assert len(sent) == 100 and len(socket.messages) == 100


def test_small_messages_hold_a_client_back_as_well(connect):  # W-15
    step = []

    async def slow(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        while True:
            step.append(asyncio.Event())
            await step[-1].wait()
            if (await receive())["type"] == "websocket.disconnect":
                return

    socket = connect(slow, QUIET)
    inbound = next(iter(socket.peer.connection.streams.values())).inbound
    for _ in range(40):
        socket.send(masked(TEXT, b"x" * 20) * 2000)
        step[-1].set()
        socket.peer.settle()
    assert len(inbound.data) < 400_000
    socket.peer.lose()
    step[-1].set()
    for _ in range(20):
        socket.peer.settle()
        step[-1].set()


def test_two_tasks_may_receive(connect):
    got = []

    async def twice(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        got.extend(await asyncio.gather(receive(), receive()))

    socket = connect(twice, QUIET)
    socket.text("a", "b")
    assert sorted(each["text"] for each in got) == ["a", "b"]


def test_a_receive_that_is_cancelled_loses_nothing(connect):
    got = []

    async def impatient(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        for _ in range(3):
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
        got.append(await receive())

    socket = connect(impatient, QUIET)
    socket.text("still here")
    assert [each["text"] for each in got] == ["still here"]


# Closing


@pytest.mark.parametrize("code, told", [(1000, 1000), (None, 1005), (4001, 4001)])
def test_client_closes(connect, code, told):
    app = Script(after=[{"type": "websocket.send", "text": "too late"}])
    socket = connect(app, QUIET)
    socket.close(code, "bye" if code else "")
    assert app.disconnect == (told, "bye" if code else "")
    assert socket.code == (code or 1000) and socket.ended
    assert isinstance(app.error, OSError)


def test_application_closes_and_the_client_answers(connect):
    app = Script(ACCEPTED, {"type": "websocket.close", "code": 4002, "reason": "é" * 100})
    socket = connect(app, QUIET)
    assert socket.code == 4002 and not socket.ended
    socket.close(4002)
    assert socket.ended and app.disconnect[0] == 4002


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2000, 5000])
def test_codes_that_cannot_be_sent_are_refused(connect, code):
    socket = connect(Script(ACCEPTED, {"type": "websocket.close", "code": code}), QUIET)
    errors.expect("is not a code that can be sent")
    assert socket.code == 1011


def test_a_client_that_does_not_answer_a_close_is_left(connect):
    socket = connect(Script(ACCEPTED, {"type": "websocket.close"}), QUIET)
    socket.peer.advance(4)
    assert socket.ended


def test_a_close_that_comes_later_is_not_waited_for_either(connect):
    closing = []

    async def closes(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        closing.append(asyncio.Event())
        await closing[0].wait()
        await send({"type": "websocket.close"})

    socket = connect(closes, QUIET)
    socket.peer.advance(5)
    closing[0].set()
    socket.peer.advance(5)
    assert socket.code == 1000 and socket.ended


def test_a_client_that_half_closes_before_it_is_accepted_is_gone():
    socket = SOCKETS["HTTP/1.1"](Script(), QUIET)
    socket.peer.half_close()
    assert socket.ended

    async def never_accepts(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass

    socket = SOCKETS["HTTP/1.1"](never_accepts, QUIET)
    socket.peer.half_close()
    assert socket.peer.closed and not socket.peer.context.running


def test_a_connection_that_half_closes_ends_with_its_websockets():
    app = Script()
    socket = SOCKETS["HTTP/2-tricorn"](app, QUIET)
    socket.peer.half_close()
    assert app.disconnect[0] == 1006 and socket.peer.closed


@pytest.mark.parametrize("ours", [False, True])
def test_a_connection_closes_when_both_have_said_so(ours):  # RFC6455§7.1.1
    steps = [ACCEPTED, {"type": "websocket.close"}] if ours else [ACCEPTED]
    socket = SOCKETS["HTTP/1.1"](Script(*steps), QUIET)
    assert not socket.peer.wire.closing
    socket.close(1000)
    # Not only our direction: TLS has no such thing, and the client would wait for the rest.
    assert socket.code == 1000 and socket.peer.wire.closing


FAILURES = {
    "its header": masked(0x83, b"abc"),
    "no mask": b"\x81\x03abc",
    "its size": masked(BINARY, bytes(70_000)),
    "text": masked(TEXT, b"\xff"),
    "a fragment": masked(0x80, bytes(200)),
    "a ping of too much": masked(PING, bytes(126)),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("octets", FAILURES.values(), ids=FAILURES)
@BY_EVERY_WAY
def test_a_connection_that_failed_closes_when_the_client_answers(secure, octets, way):
    config = Config(websocket_ping_interval=0, websocket_max_message_size=60_000)
    socket = SOCKETS["HTTP/1.1"](Script(), config, half_closable=not secure)
    socket.send(*way(octets + masked(TEXT, b"on its way") + masked(PING)))
    assert socket.code is not None and not socket.peer.wire.closing
    socket.peer.advance(3)
    socket.send(*way(masked(CLOSE, socket.frames[-1].data)))
    assert socket.peer.wire.closing and not socket.peer.reset


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe8\xff"])
def test_a_close_that_is_wrong_is_the_last_that_is_waited_for(payload):
    socket = SOCKETS["HTTP/1.1"](Script(), QUIET, half_closable=False)
    socket.send(masked(CLOSE, payload))
    assert socket.code in (1002, 1007) and socket.peer.wire.closing


def test_a_close_that_crosses_our_failure_is_the_last_that_is_waited_for():
    socket = SOCKETS["HTTP/1.1"](Script(), QUIET, half_closable=False)
    socket.send(masked(0x83) + masked(CLOSE))
    assert socket.code == 1002 and socket.peer.wire.closing


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_does_not_answer_a_failure_is_waited_for(secure):
    socket = SOCKETS["HTTP/1.1"](Script(), QUIET, half_closable=not secure)
    socket.send(masked(0x83))
    socket.peer.advance(4)
    assert not socket.peer.wire.closing
    socket.peer.advance(2)
    assert socket.peer.wire.lost


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_ends_its_side_after_a_failure_is_not_waited_for(secure):
    socket = SOCKETS["HTTP/1.1"](Script(), QUIET, half_closable=not secure)
    socket.send(masked(0x83))
    socket.peer.half_close()
    assert socket.peer.wire.lost and not socket.peer.reset


def test_a_tunnel_that_ends_before_it_is_opened_is_reset():
    async def slow(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass

    socket = SOCKETS["HTTP/2-tricorn"](slow, QUIET)
    socket.peer.part(socket.id, end=True)
    assert socket.peer.resets == {socket.id: frames.CANCEL}


def test_a_lost_client_is_1006(connect):
    app = Script()
    socket = connect(app, QUIET)
    socket.peer.lose()
    assert app.disconnect == (1006, "") and socket.peer.context.stats.aborted == 1


def test_a_client_that_ends_without_a_close_is_1006(connect):
    app = Script()
    socket = connect(app, QUIET)
    if hasattr(socket, "id"):
        socket.peer.part(socket.id, end=True)
    else:
        socket.peer.half_close()
    assert app.disconnect[0] == 1006 and socket.ended


def test_a_stream_that_is_reset_is_1006():  # W-17
    app = Script()
    socket = SOCKETS["HTTP/2-tricorn"](app, QUIET)
    socket.peer.send(frames.rst(socket.id))
    assert app.disconnect[0] == 1006 and socket.peer.goaway is None


def test_an_application_that_returns_has_closed(connect):
    async def returns(scope, receive, send):
        await send(ACCEPTED)

    assert connect(returns, QUIET).code == 1000


def test_an_application_that_raises_is_1011(connect):
    async def raises(scope, receive, send):
        await send(ACCEPTED)
        raise ValueError("no")

    assert connect(raises, QUIET).code == 1011
    errors.expect("ValueError")


def test_an_application_that_raises_before_it_accepts_is_500(connect):
    async def raises(scope, receive, send):
        raise ValueError("no")

    assert connect(raises, QUIET).answer.status == 500
    errors.expect("ValueError")


# Time


def test_a_silent_client_is_pinged_and_given_up(connect):  # W-14
    app = Script()
    socket = connect(app, Config(websocket_ping_interval=20, websocket_ping_timeout=20))
    socket.peer.advance(22)
    assert [each.opcode for each in socket.frames] == [Opcode.PING]
    socket.send(masked(PONG))
    socket.peer.advance(30)
    assert socket.code is None
    socket.peer.advance(20)
    assert socket.code == 1011 and socket.ended and app.disconnect[0] == 1006


def test_pings_go_on_after_a_client_has_been_waited_for(connect):
    async def floods(scope, receive, send):
        await receive()
        await send(ACCEPTED)
        for _ in range(10):
            await send({"type": "websocket.send", "bytes": bytes(50_000)})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    socket = connect(floods, Config(websocket_ping_interval=20, websocket_ping_timeout=20))
    socket.peer.stop_reading()
    socket.peer.advance(5)
    socket.peer.read()
    socket.peer.advance(60)
    assert socket.code == 1011 and socket.ended


def test_a_client_that_reads_now_and_then_is_alive(connect):
    socket = connect(echo, QUIET)
    for _ in range(4):
        socket.peer.stop_reading()
        socket.text("x" * 100)
        socket.peer.advance(2)
        socket.peer.read()
        socket.peer.advance(80)
    assert len(socket.messages) == 4 and socket.code is None


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_drain_says_why(connect, code):  # W-16
    app = Script()
    socket = connect(app, QUIET)
    socket.peer.context.leaving = Leaving(code, 5.0)
    socket.peer.drain()
    socket.peer.advance(7)
    assert socket.code == code
    socket.close(code)
    assert socket.ended and app.disconnect[0] == code


def test_an_application_that_hears_of_the_drain_says_goodbye_itself(connect):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await scope["extensions"]["tricorn.shutdown"]["event"].wait()
        await send({"type": "websocket.send", "text": "goodbye"})
        await send({"type": "websocket.close", "code": 4000})

    socket = connect(app, QUIET)
    socket.peer.context.leaving = Leaving(1001, 5.0)
    socket.peer.drain()
    socket.peer.advance(1)
    assert socket.messages == ["goodbye"] and socket.code == 4000
    socket.close(4000)


def test_messages_are_counted_both_ways(connect):
    socket = connect(echo, QUIET)
    for _ in range(3):
        socket.text("hello")
    stats = socket.peer.context.stats
    assert (stats.messages_received, stats.messages_sent) == (3, 3)
    socket.close(1000)


def test_one_line_in_the_log_for_each(connect, tmp_path):
    file = tmp_path / "log"
    log = AccessLog(LogFile(str(file), 1), "json")
    socket = connect(echo, QUIET, accesslog=log)
    socket.text("hello")
    assert file.read_text() == ""
    socket.close(1000)
    (line,) = file.read_text().splitlines()
    record = json.loads(line)
    assert record["status"] in (101, 200) and record["aborted"] is False
