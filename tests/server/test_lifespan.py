"""asgi/lifespan.py: startup before the first request, shutdown after the last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator

import pytest

from tests.support import apps
from tests.support.loop import Clock, VirtualLoop
from tests.support.peers import H1Peer, errors
from tricorn.asgi.lifespan import Lifespan, LifespanFailed

color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")
COMPLETE = {"type": "lifespan.startup.complete"}
DONE = {"type": "lifespan.shutdown.complete"}


class Stage:
    """Runs a lifespan to its end; a timer fires as soon as nothing else is left to do."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)

    def run(self, coroutine):
        task = self.loop.create_task(coroutine)
        for _ in range(100):
            self.loop.settle()
            if task.done():
                return task.result()
            self.clock.now += 1
        raise AssertionError("it never ends")

    def tasks(self):
        self.loop.settle()
        return asyncio.all_tasks(self.loop)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    left = stage.tasks()
    for task in left:
        task.cancel()
    stage.loop.settle()
    stage.loop.close()
    errors.none()
    assert not left, f"tasks are left: {left}"


def playing(*answers, noted=None):
    """An application that answers each message of the lifespan with one of these, then returns."""

    async def application(scope, receive, send):
        for answer in answers:
            message = await receive()
            if noted is not None:
                noted.append((scope, message["type"]))
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                await send(answer)

    return application


async def without(scope, receive, send):
    assert scope["type"] == "http"


def test_startup_and_shutdown_reach_the_application(stage):
    noted: list = []
    lifespan = Lifespan(playing(COMPLETE, DONE, noted=noted), "auto")
    stage.run(lifespan.startup(5))
    assert [kind for _, kind in noted] == ["lifespan.startup"]
    stage.run(lifespan.shutdown(5))
    assert [kind for _, kind in noted] == ["lifespan.startup", "lifespan.shutdown"]
    scope = noted[0][0]
    assert scope["type"] == "lifespan" and scope["asgi"]["version"] == "3.0"
    assert scope["asgi"]["spec_version"] == "2.0" and scope["state"] is lifespan.state


def test_an_application_without_lifespan_is_fine(stage):
    lifespan = Lifespan(without, "auto")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))
    assert not lifespan.supported


def test_an_application_that_ignores_lifespan_is_fine(stage):
    lifespan = Lifespan(playing(), "auto")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))


@pytest.mark.parametrize("application", [without, playing(), playing(None)])
def test_with_lifespan_on_it_has_to_be_supported(stage, application):
    with pytest.raises(LifespanFailed):
        stage.run(Lifespan(application, "on").startup(5))


def test_with_lifespan_off_the_application_is_not_asked(stage):
    noted: list = []
    lifespan = Lifespan(playing(COMPLETE, noted=noted), "off")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))
    assert not noted


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_startup_that_failed_says_why(stage, mode):
    failed = {"type": "lifespan.startup.failed", "message": "no database"}
    with pytest.raises(LifespanFailed, match="no database"):
        stage.run(Lifespan(playing(failed), mode).startup(5))


def test_a_startup_that_failed_need_not_say_why(stage):
    with pytest.raises(LifespanFailed):
        stage.run(Lifespan(playing({"type": "lifespan.startup.failed"}), "auto").startup(5))


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_startup_that_raised_carries_the_traceback(stage, mode):
    with pytest.raises(LifespanFailed) as raised:
        stage.run(Lifespan(playing(KeyError("oops")), mode).startup(5))
    assert "KeyError" in raised.value.sentence and "Traceback" in raised.value.detail


def test_a_startup_that_exits_is_a_failure_and_no_exit(stage):
    async def application(scope, receive, send):
        await receive()
        raise SystemExit(3)

    with pytest.raises(LifespanFailed):
        stage.run(Lifespan(application, "auto").startup(5))


@pytest.mark.parametrize("message", [{}, {"type": "nonsense"}, DONE, {"type": None}])
def test_a_startup_that_answers_nonsense_has_failed(stage, message):
    with pytest.raises(LifespanFailed):
        stage.run(Lifespan(playing(message), "auto").startup(5))


async def stubborn(scope, receive, send):
    await asyncio.Event().wait()


def test_a_startup_that_takes_too_long_has_failed_and_is_ended(stage):
    lifespan = Lifespan(stubborn, "auto")
    with pytest.raises(LifespanFailed, match="5 seconds"):
        stage.run(lifespan.startup(5))
    assert not stage.tasks(), "every task has an owner that ends it"


def test_a_startup_may_take_for_ever_if_the_operator_says_so(stage):
    async def application(scope, receive, send):
        await receive()
        await asyncio.sleep(90)
        await send(COMPLETE)
        await receive()

    lifespan = Lifespan(application, "auto")
    stage.run(lifespan.startup(0))
    stage.run(lifespan.shutdown(5))


def test_a_startup_that_is_cancelled_ends_the_application_too(stage):
    lifespan = Lifespan(stubborn, "auto")
    task = stage.loop.create_task(lifespan.startup(50))
    stage.loop.settle()
    task.cancel()
    assert not stage.tasks()


def test_a_shutdown_that_takes_too_long_is_logged_and_ended(stage):
    async def application(scope, receive, send):
        await receive()
        await send(COMPLETE)
        await asyncio.Event().wait()

    lifespan = Lifespan(application, "auto")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))
    errors.expect("longer than 5 seconds")
    assert not stage.tasks()


@pytest.mark.parametrize(
    "answer", [{"type": "lifespan.shutdown.failed", "message": "oops"}, KeyError("oops")], ids=repr
)
def test_a_shutdown_that_failed_is_logged(stage, answer):
    lifespan = Lifespan(playing(COMPLETE, answer), "auto")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))
    errors.expect("oops")


def test_a_lifespan_that_fails_between_startup_and_shutdown_is_not_silent(stage):
    async def application(scope, receive, send):
        await receive()
        await send(COMPLETE)
        raise KeyError("background task")

    lifespan = Lifespan(application, "auto")
    stage.run(lifespan.startup(5))
    stage.loop.settle()
    stage.run(lifespan.shutdown(5))
    errors.expect("background task")


def test_a_shutdown_without_a_startup_is_nothing(stage):
    stage.run(Lifespan(playing(COMPLETE), "auto").shutdown(5))


def test_what_the_application_does_after_the_last_message_is_ended(stage):
    async def application(scope, receive, send):
        await playing(COMPLETE, DONE)(scope, receive, send)
        await asyncio.Event().wait()

    lifespan = Lifespan(application, "auto")
    stage.run(lifespan.startup(5))
    stage.run(lifespan.shutdown(5))
    assert not stage.tasks()


def test_state_and_variables_of_the_lifespan_reach_every_request(stage):
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "a pool"
            color.set("blue")
            await send(COMPLETE)
            await receive()
            await send(DONE)
            return
        seen.append((scope["state"]["pool"], color.get()))
        color.set("red")
        scope["state"]["pool"] = "mine"
        await apps.hello(scope, receive, send)

    seen: list = []
    lifespan = Lifespan(application, "auto")
    stage.run(lifespan.startup(5))
    peer = H1Peer(application, state=lifespan.state)
    peer.context.variables = lifespan.variables
    for _ in range(3):
        peer.fetch()
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert seen == [("a pool", "blue")] * 5, "requests are isolated from each other"
    stage.run(lifespan.shutdown(5))
    assert color.get() == "none"


def test_requests_do_not_see_the_variables_of_who_reads_from_the_connection():
    async def application(scope, receive, send):
        seen.append(color.get())
        await apps.hello(scope, receive, send)

    seen: list = []
    peer = H1Peer(application)
    token = color.set("of another task")
    try:
        peer.fetch()
    finally:
        color.reset(token)
    assert seen == ["none"]
