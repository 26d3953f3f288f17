"""ASGI applications for the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tricorn.connection import Application, Field, Message, Scope

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def start(status: int = 200, *headers: Field, trailers: bool = False) -> Message:
    message: Message = {"type": "http.response.start", "status": status, "headers": list(headers)}
    if trailers:
        message["trailers"] = True
    return message


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def trailers(*headers: Field, more: bool = False) -> Message:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


def sends(*messages: Message) -> Application:
    """Reads nothing, sends these messages."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(dict(message))

    return application


def answers(data: bytes = b"", status: int = 200, *headers: Field) -> Application:
    """Reads nothing, answers with one part."""
    return sends(start(status, *headers), body(data))


hello = answers(b"hello", 200, (b"content-type", b"text/plain"))


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails the test, by an error in the log, where it is called."""
    raise AssertionError(f"the application was called for {scope['method']} {scope['path']}")


async def read(receive: Receive) -> bytes | None:
    """The whole body, None if it never came whole."""
    data = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message["body"]
        data += part
        if not message["more_body"]:
            return data


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body of the request, once it is whole."""
    data = await read(receive)
    if data is not None:
        await send(start())
        await send(body(data))


@dataclass
class Call:
    """What one call of an application has seen."""

    scope: Scope
    body: bytes = b""
    ended: bool = False
    """It was given the end of the body."""
    disconnected: bool = False
    trailers: list[Field] = field(default_factory=list)
    error: BaseException | None = None
    """What `send` raised after the disconnect."""


@dataclass
class Recorder:
    """Reads the body, then answers with it; notes what it has seen."""

    calls: list[Call] = field(default_factory=list)
    reply: bytes = b"seen"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope)
        self.calls.append(call)
        while not call.ended and not call.disconnected:
            message = await receive()
            if message["type"] == "http.disconnect":
                call.disconnected = True
            else:
                call.body += message["body"]
                call.ended = not message["more_body"]
                call.trailers = list(message.get("trailers", ()))
        if call.disconnected:
            # An application that does not care: nothing of what it sends may get out.
            try:
                await send(start())
                await send(body(b"too late"))
            except OSError as error:
                call.error = error
            return
        await send(start())
        await send(body(self.reply))

    @property
    def call(self) -> Call:
        assert len(self.calls) == 1, f"called {len(self.calls)} times"
        return self.calls[0]

    @property
    def targets(self) -> list[str]:
        return [call.scope["path"] for call in self.calls]


class Script:
    """An application made of a function, which notes things in `seen`."""

    def __init__(self, steps: Callable[[list[Any], Receive, Send], Awaitable[None]]) -> None:
        self.steps = steps
        self.seen: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.steps(self.seen, receive, send)


class Gate:
    """An application that does one step each time the test opens the gate."""

    def __init__(self, steps: Callable[[Gate, Scope, Receive, Send], Awaitable[None]]) -> None:
        self.steps = steps
        self._opened: asyncio.Semaphore | None = None
        self.seen: list[Any] = []
        """For the application to note in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._opened = self._opened or asyncio.Semaphore(0)
        await self.steps(self, scope, receive, send)

    async def wait(self) -> None:
        assert self._opened is not None
        await self._opened.acquire()

    def open(self) -> None:
        """Lets the application go on; takes effect when the loop runs again."""
        if self._opened is not None:
            self._opened.release()


async def late_echo(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
    """The steps of a Gate: sends the body back, but reads nothing until it is opened."""
    await gate.wait()
    await echo(scope, receive, send)
