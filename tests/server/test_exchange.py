"""asgi/exchange.py: what an application may rely on in `receive` and `send`, in any version."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import apps
from tests.support.apps import Script, body, start
from tests.support.peers import H1Peer, errors, request
from tricorn.connection import ApplicationError

GET = request()
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"


async def messages(receive, count):
    return [(await receive())["type"] for _ in range(count)]


# Receive


def test_a_request_without_a_body_is_one_message():
    async def steps(seen, receive, send):
        seen.append(await receive())
        await apps.hello({}, receive, send)

    script = Script(steps)
    H1Peer(script).fetch()
    assert script.seen == [{"type": "http.request", "body": b"", "more_body": False}]


def test_the_parts_of_a_body_come_as_they_arrive():
    async def steps(seen, receive, send):
        while not seen or seen[-1]["more_body"]:
            seen.append(await receive())
        await apps.hello({}, receive, send)

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(HALF)
    assert script.seen == [{"type": "http.request", "body": b"12345", "more_body": True}]
    peer.send(b"67890")
    assert script.seen[1] == {"type": "http.request", "body": b"67890", "more_body": False}


def test_receive_after_the_body_waits_until_the_client_is_gone():
    async def steps(seen, receive, send):
        await receive()
        seen.append("waiting")
        seen.append(await receive())

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(GET)
    assert script.seen == ["waiting"]
    peer.lose()
    assert script.seen == ["waiting", {"type": "http.disconnect"}]


def test_receive_after_the_response_is_a_disconnect():
    async def steps(seen, receive, send):
        await receive()
        await apps.hello({}, receive, send)
        seen.extend(await messages(receive, 3))

    script = Script(steps)
    peer = H1Peer(script)
    assert peer.fetch().body == b"hello" and not peer.closed
    assert script.seen == ["http.disconnect"] * 3


def test_who_listens_while_it_answers_hears_when_the_answer_is_complete():
    async def steps(seen, receive, send):
        await receive()

        async def listen():
            seen.append((await receive())["type"])

        listener = asyncio.ensure_future(listen())
        await asyncio.sleep(0)
        await apps.hello({}, receive, send)
        await listener

    script = Script(steps)
    H1Peer(script).fetch()
    assert script.seen == ["http.disconnect"]


def test_two_may_listen_at_once():
    async def steps(seen, receive, send):
        await receive()
        results = await asyncio.gather(receive(), receive())
        seen.extend(result["type"] for result in results)

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(GET)
    peer.lose()
    assert script.seen == ["http.disconnect"] * 2


def test_a_disconnect_in_the_middle_of_a_body_never_looks_like_its_end():
    async def steps(seen, receive, send):
        for _ in range(4):
            seen.append(await receive())

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(HALF)
    peer.lose()
    assert [each["type"] for each in script.seen] == ["http.request"] + ["http.disconnect"] * 3
    assert script.seen[0]["more_body"]


def test_a_whole_body_is_delivered_even_if_the_client_is_gone_meanwhile():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        gate.seen.append(await receive())
        gate.seen.append(await receive())

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(HALF + b"67890")
    peer.lose()
    gate.open()
    peer.settle()
    assert gate.seen[0]["body"] == b"1234567890" and not gate.seen[0]["more_body"]
    assert gate.seen[1]["type"] == "http.disconnect"


def test_what_came_of_a_body_before_the_client_left_need_not_be_delivered_but_no_end_is():
    async def steps(gate, scope, receive, send):
        await gate.wait()
        gate.seen.extend([await receive(), await receive()])

    gate = apps.Gate(steps)
    peer = H1Peer(gate)
    peer.send(HALF)
    peer.lose()
    gate.open()
    peer.settle()
    assert all(each["type"] == "http.disconnect" or each["more_body"] for each in gate.seen)
    assert gate.seen[1]["type"] == "http.disconnect"


def test_a_cancelled_receive_loses_nothing():
    async def steps(seen, receive, send):
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        seen.append("cancelled")
        seen.append(await apps.read(receive))
        await apps.hello({}, receive, send)

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(HALF[:-5])
    peer.send(b"12345", b"67890")
    assert script.seen == ["cancelled", b"1234567890"] and peer.status == 200


# Send


@pytest.mark.parametrize(
    "message", [start(), body(b"x"), body(b"x", more=True), {"type": "nonsense"}]
)
def test_send_raises_an_oserror_once_the_client_is_gone(message):
    async def steps(seen, receive, send):
        await receive()
        await receive()
        for _ in range(2):
            try:
                await send(message)
            except Exception as error:
                seen.append(error)

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(GET)
    peer.lose()
    assert len(script.seen) == 2 and all(isinstance(each, OSError) for each in script.seen)


def test_send_that_waits_for_room_raises_when_the_client_goes():
    async def steps(seen, receive, send):
        await send(start())
        try:
            while True:
                await send(body(b"x" * 10_000, more=True))
        except OSError as error:
            seen.append(error)
            raise

    script = Script(steps)
    peer = H1Peer(script)
    peer.stop_reading()
    peer.send(GET)
    assert not script.seen
    peer.lose()
    assert len(script.seen) == 1


def test_an_application_that_fails_because_the_client_is_gone_is_no_error():
    peer = H1Peer(apps.sends(start(), *[body(b"x" * 50_000, more=True)] * 9))
    peer.stop_reading()
    peer.send(GET)
    peer.lose()
    # H1Peer would find an error in the log.
    assert peer.context.stats.aborted == 1


def test_an_application_that_fails_for_another_reason_is_one_even_then():
    async def steps(seen, receive, send):
        await receive()
        await receive()
        raise KeyError("a bug")

    peer = H1Peer(Script(steps))
    peer.send(GET)
    peer.lose()
    errors.expect("a bug")


@pytest.mark.parametrize(
    "before, message",
    [
        ([], body(b"x")),
        ([start()], start()),
        ([start(), body(b"x", more=True)], start()),
        ([start(), body(b"x")], start()),
        ([start(), body(b"x")], body(b"y")),
        ([start(), body(b"x")], body(b"")),
        ([start(), body(b"x")], apps.trailers()),
        ([start()], apps.trailers()),
        ([start(), body(b"x", more=True)], apps.trailers()),
        ([start(trailers=True), body(b"x", more=True)], apps.trailers()),
        ([start(trailers=True), body(b"x")], body(b"more")),
        ([start(trailers=True), body(b"x")], body(b"more", more=True)),
        ([start(trailers=True), body(b"x"), apps.trailers()], apps.trailers()),
        ([start(), body(b"x", more=True)], {"type": "http.response.early_hint", "links": []}),
        ([start(), body(b"x", more=True)], {"type": "http.response.pathsend", "path": "/dev/null"}),
        ([], {"type": "http.response.pathsend", "path": "/dev/null"}),
        ([start()], {"type": "http.request"}),
        ([start()], {"type": "lifespan.startup.complete"}),
    ],
)
def test_what_comes_out_of_order_is_an_application_error(before, message):
    async def steps(seen, receive, send):
        for each in before:
            await send(each)
        with pytest.raises(ApplicationError):
            await send(message)
        seen.append("raised")

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(request(headers=[(b"te", b"trailers"), (b"connection", b"te")]))
    assert script.seen == ["raised"]
    if not before or before[-1].get("more_body", True) or before[0].get("trailers"):
        errors.records.clear()  # it returned without completing the response


def test_an_application_may_go_on_after_an_application_error():
    async def steps(seen, receive, send):
        with pytest.raises(ApplicationError):
            await send(body(b"too early"))
        await apps.hello({}, receive, send)

    assert H1Peer(Script(steps)).fetch().body == b"hello"


def test_the_messages_of_an_application_are_not_changed():
    fields = [[b"X-A", b" 1 "], (b"x-b", b"2")]
    message = {"type": "http.response.start", "status": 200, "headers": fields}
    peer = H1Peer(apps.sends(message, body(b"x")))
    peer.fetch()
    assert fields == [[b"X-A", b" 1 "], (b"x-b", b"2")]


@pytest.mark.parametrize(
    "shape", [list, tuple, iter, dict.fromkeys], ids=["list", "tuple", "iter", "keys"]
)
@pytest.mark.parametrize("more", [False, True])
def test_headers_may_be_any_iterable(shape, more):
    async def application(scope, receive, send):
        message = start() | {"headers": shape([(b"x-a", b"1"), (b"x-b", b"2")])}
        await send(message)
        await send(body(b"x", more=more))
        if more:
            await send(body(b""))

    answer = H1Peer(application).fetch()
    assert (answer[b"x-a"], answer[b"x-b"]) == (b"1", b"2")


def test_missing_keys_have_the_defaults_of_the_specification():
    peer = H1Peer(
        apps.sends({"type": "http.response.start", "status": 200}, {"type": "http.response.body"})
    )
    answer = peer.fetch()
    assert answer.status == 200 and answer.body == b"" and answer.complete


def test_the_task_that_is_cancelled_leaves_no_half_answer():
    async def steps(seen, receive, send):
        await send(start())
        await send(body(b"half", more=True))
        seen.append(asyncio.current_task())
        await receive()
        await receive()

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(GET)
    script.seen[0].cancel()
    peer.settle()
    assert peer.reset


def test_the_task_that_is_cancelled_before_its_answer_says_500():
    async def steps(seen, receive, send):
        seen.append(asyncio.current_task())
        await receive()
        await receive()

    script = Script(steps)
    peer = H1Peer(script)
    peer.send(GET)
    script.seen[0].cancel()
    peer.settle()
    assert peer.status == 500


# Accounts


def test_every_response_is_counted_once_by_its_class():
    peer = H1Peer(apps.answers(b"x", 404))
    peer.fetch()
    peer.fetch()
    peer.send(b"GARBAGE\r\n\r\n")
    assert peer.context.stats.responses == [0, 0, 0, 0, 3, 0]
    assert peer.context.stats.aborted == 0


def test_a_response_that_is_broken_off_is_counted_once_and_as_aborted():
    peer = H1Peer(apps.sends(start(), body(b"half", more=True)))
    peer.send(GET)
    errors.expect("without completing")
    assert peer.context.stats.responses == [0, 0, 1, 0, 0, 0]
    assert peer.context.stats.aborted == 1


def test_what_was_refused_in_the_middle_of_a_body_is_counted_by_its_status():
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(HALF)
    peer.advance(40)
    assert peer.status == 408
    assert peer.context.stats.responses[4] == 1 and sum(peer.context.stats.responses) == 1
