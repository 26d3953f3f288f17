"""Clients in memory: they send bytes, the server answers, nothing waits and no socket is open.

`Peer` is what every version has in common: a worker's context, a loop that is driven until nothing
is ready, a clock. When a test ends, each peer that it made goes away; then no task may be left,
and no error may have been logged that the test did not expect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import pytest

from tests.support.answers import Answer, http1_answers
from tests.support.loop import Clock, VirtualLoop
from tests.support.wire import MemoryWire
from tricorn.asgi.exchange import Exchange
from tricorn.config import Config
from tricorn.connection import Application, Connection, Context, Endpoints, Field, Request, Stream
from tricorn.fields import Defaults
from tricorn.net.tcp import sweep
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.stats import Stats
from tricorn.versions import versions_of

DATE = 784111777.0  # RFC9110§5.6.7: Sun, 06 Nov 1994 08:49:37 GMT
STEP = 1.0
"""Seconds between two sweeps."""

Streams = dict[str | None, Callable[[Connection, int, Request], Stream]]


class Errors(logging.Handler):
    """What the server and asyncio log as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def expect(self, text: str) -> None:
        """One error with `text` in it has been logged, and is as it should be."""
        for record in self.records:
            if text in self._text(record):
                self.records.remove(record)
                return
        raise AssertionError(
            f"no error says {text!r}, there are {list(map(self._text, self.records))}"
        )

    def none(self) -> None:
        texts = [self._text(record) for record in self.records]
        self.records.clear()
        assert not texts, "unexpected errors in the log:\n" + "\n".join(texts)

    @staticmethod
    def _text(record: logging.LogRecord) -> str:
        return logging.Formatter().format(record)


errors = Errors()
unfinished: list[Peer] = []


@pytest.fixture(autouse=True)
def every_peer_ends_clean() -> Iterator[None]:
    """For conftest.py: see the module's docstring."""
    errors.records.clear()
    unfinished.clear()
    loggers = [logging.getLogger(name) for name in ("tricorn", "asyncio")]
    for logger in loggers:
        logger.addHandler(errors)
    try:
        yield
        with ExitStack() as ending:
            if unfinished:
                ending.callback(errors.none)
            for peer in unfinished:
                ending.callback(peer.finish)
    finally:
        for logger in loggers:
            logger.removeHandler(errors)


class House:
    """What the connections of one worker share."""

    def __init__(
        self,
        application: Application,
        config: Config,
        *,
        streams: Streams | None = None,
        accesslog: AccessLog | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.clock = Clock()
        self.loop = VirtualLoop(self.clock)
        self.failures: list[str] = []
        self.loop.set_exception_handler(self._failed)
        served: Streams = {None: Exchange}
        fixed = [line.split(": ", 1) for line in config.header]
        defaults = Defaults(
            server=config.server_header,
            date=config.date_header,
            fixed=tuple((name.lower().encode(), value.encode()) for name, value in fixed),
        )
        defaults.refresh(DATE)
        self.context = Context(
            application=application,
            config=config,
            loop=self.loop,
            streams=served | (streams or {}),
            defaults=defaults,
            stats=Stats(),
            worker=1,
            accesslog=accesslog,
            state={} if state is None else state,
            now=self.clock.now,
        )
        self.versions = versions_of(config, defaults)
        self.peers: list[Peer] = []

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def settle(self) -> None:
        """Runs until every task waits. What was raised into the loop fails the test."""
        self.loop.settle()
        failures, self.failures = self.failures, []
        assert not failures, "raised into the loop: " + "; ".join(failures)

    def close(self) -> None:
        if self.loop.is_closed():
            return
        try:
            self.settle()
            left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
            names = [str(task) for task in left]
            for task in left:
                task.cancel()
            with suppress(AssertionError):
                self.settle()
            assert not names, f"tasks are left: {names}"
            assert not self.context.running, "streams are counted as running, without a task"
            assert not self.context.connections, "connections are left"
        finally:
            self.loop.close()


class Peer(ABC):
    """One client connection. `beside` another one, it is served by the same worker."""

    def __init__(
        self,
        application: Application | None = None,
        config: Config | None = None,
        *,
        beside: Peer | None = None,
        **shared: Any,
    ) -> None:
        if beside is None:
            assert application is not None
            self.house = House(application, config or Config(), **shared)
        else:
            self.house = beside.house
        self.context = self.house.context
        self.loop = self.house.loop
        self.house.peers.append(self)
        unfinished.append(self)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        # What went wrong already is what the test has to show.
        with suppress(AssertionError) if kind else nullcontext():
            self.finish()

    @abstractmethod
    def fetch(
        self,
        target: str = "/",
        method: str = "GET",
        headers: Sequence[Field] = (),
        body: bytes | None = None,
        trailers: Sequence[Field] = (),
    ) -> Answer:
        """A whole request; the whole response."""

    @abstractmethod
    def ask(self, target: str = "/", method: str = "GET", headers: Sequence[Field] = ()) -> int:
        """A whole request without a body; its number, for the following."""

    @abstractmethod
    def begin(self, target: str = "/", method: str = "POST", headers: Sequence[Field] = ()) -> int:
        """The head of a request whose body is to follow."""

    @abstractmethod
    def part(
        self, id: int, data: bytes = b"", *, end: bool = False, trailers: Sequence[Field] = ()
    ) -> None:
        """A part of its body."""

    @abstractmethod
    def held(self, id: int) -> int:
        """Octets of it that the server has made the client keep back."""

    @abstractmethod
    def result(self, id: int) -> Answer | None:
        """What has come of the response so far."""

    @abstractmethod
    def abandon(self, id: int) -> None:
        """The client gives this one request up, in the way that its version has for that."""

    @abstractmethod
    def lose(self) -> None:
        """The client is gone, without a word."""

    def settle(self) -> None:
        self.house.settle()

    def advance(self, seconds: float) -> None:
        """Time passes: the sweep looks at every deadline once a second, and timers fire."""
        end = self.house.clock.now + seconds
        while (now := self.house.clock.now) < end:
            self.house.clock.now = now = min(now + STEP, end)
            sweep(self.context, now)
            self.settle()

    def drain(self) -> None:
        """The worker finishes what is open, and takes nothing new."""
        self.context.draining = True
        self.context.shutdown["event"].set()
        for connection in list(self.context.connections):
            connection.drain()
        self.settle()

    def finish(self) -> None:
        """Goes away; the last one of a house looks whether anything is left in it."""
        if self in unfinished:
            unfinished.remove(self)
            try:
                self.lose()
            finally:
                self.house.peers.remove(self)
                if not self.house.peers:
                    self.house.close()


class TcpPeer(Peer):
    """A client with a byte stream to the server. `version` is what TCP or TLS found out."""

    def __init__(
        self,
        version: str,
        application: Application | None = None,
        config: Config | None = None,
        *,
        beside: Peer | None = None,
        endpoints: Endpoints | None = None,
        half_closable: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(application, config, beside=beside, **shared)
        self.wire = MemoryWire(
            self.context,
            self.house.versions,
            endpoints or Endpoints(("192.0.2.1", 50000), ("192.0.2.2", 80), "http"),
            half_closable=half_closable,
        )
        self.wire.switch(version)

    @property
    def connection(self) -> Connection:
        assert self.wire.connection is not None, "it is lost"
        return self.wire.connection

    # What the client does

    def send(self, *segments: bytes) -> None:
        """Each segment is read in a turn of its own; then everything runs that can."""
        self.wire.arrive(segments)
        self.settle()

    def half_close(self) -> None:
        self.wire.end()
        self.settle()

    def lose(self) -> None:
        self.wire.lose()
        self.settle()

    def stop_reading(self) -> None:
        self.wire.window = 0

    def read(self, octets: float = float("inf")) -> None:
        """Takes so many octets more, of what waits now and of what will come."""
        self.wire.read(octets)
        self.settle()

    # What the client sees

    @property
    def sent(self) -> bytes:
        """All that the server sent and the client has read."""
        return bytes(self.wire.sent)

    @property
    def closed(self) -> bool:
        """The client sees the end of the server's direction, and can tell nothing more to it."""
        ended = self.wire.shut or self.wire.closing or self.wire.lost
        return ended and not self.wire.waiting

    @property
    def reset(self) -> bool:
        return self.wire.reset


class H1Peer(TcpPeer):
    """A client that speaks HTTP/1.1, or something like it."""

    def __init__(
        self,
        application: Application | None = None,
        config: Config | None = None,
        **options: Any,
    ) -> None:
        super().__init__("http/1.1", application, config, **options)
        self.methods: list[str] = []
        """Of what was asked by `ask` and `begin`."""
        self.sized = False

    def fetch(
        self,
        target: str = "/",
        method: str = "GET",
        headers: Sequence[Field] = (),
        body: bytes | None = None,
        trailers: Sequence[Field] = (),
    ) -> Answer:
        before = len(self.sent)
        self.send(request(target, method, headers, body, trailers))
        return self.answer(method, since=before)

    def ask(self, target: str = "/", method: str = "GET", headers: Sequence[Field] = ()) -> int:
        self.methods.append(method)
        self.send(request(target, method, headers))
        return len(self.methods)

    def begin(self, target: str = "/", method: str = "POST", headers: Sequence[Field] = ()) -> int:
        self.methods.append(method)
        self.sized = any(name == b"content-length" for name, _ in headers)
        framing = [] if self.sized else [(b"transfer-encoding", b"chunked")]
        self.send(request(target, method, [*headers, *framing]))
        return len(self.methods)

    def part(
        self, id: int, data: bytes = b"", *, end: bool = False, trailers: Sequence[Field] = ()
    ) -> None:
        if not self.sized:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if end:
                lines = b"".join(b"%b: %b\r\n" % each for each in trailers)
                data += b"0\r\n" + lines + b"\r\n"
        self.send(data)

    def held(self, id: int) -> int:
        return self.wire.unread

    def result(self, id: int) -> Answer | None:
        answers = self.responses(*self.methods)
        return answers[id - 1] if len(answers) >= id else None

    def abandon(self, id: int) -> None:
        self.lose()

    def responses(self, *methods: str, since: int = 0) -> list[Answer]:
        """What h11 makes of it, knowing the methods of the requests (GET where it does not)."""
        names = [method.encode() for method in methods]
        ended = self.closed and not self.reset
        return http1_answers(self.sent[since:], names, ended=ended)

    def answer(self, method: str = "GET", *, since: int = 0) -> Answer:
        """The only response."""
        answers = self.responses(method, since=since)
        assert len(answers) == 1, f"{len(answers)} responses: {self.sent[since:][:500]!r}"
        return answers[0]

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.responses()]

    @property
    def status(self) -> int | None:
        """Of the last response."""
        statuses = self.statuses
        return statuses[-1] if statuses else None


def request(
    target: str = "/",
    method: str = "GET",
    headers: Sequence[Field] = (),
    body: bytes | None = None,
    trailers: Sequence[Field] = (),
) -> bytes:
    """The bytes of an ordinary request; with trailers the body is chunked."""
    fields = [(b"host", b"x"), *headers]
    content = b"" if body is None else body
    if trailers:
        fields.append((b"transfer-encoding", b"chunked"))
        content = (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + b"0\r\n"
        content += b"".join(b"%b: %b\r\n" % each for each in trailers) + b"\r\n"
    elif body is not None:
        fields.append((b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%b: %b\r\n" % each for each in fields)
    return f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + lines + b"\r\n" + content


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def split_randomly(data: bytes, seed: int | str) -> list[bytes]:
    """In two to nine pieces, the same ones for the same seed."""
    if len(data) < 2:
        return [data]
    choice = random.Random(f"{seed}")
    count = min(choice.randint(1, 8), len(data) - 1)
    cuts = sorted(choice.sample(range(1, len(data)), count))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


DRIPPED = 10_000
"""Octets up to which it matters that they come one by one; it takes its time."""
WAYS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "whole": lambda data: [data],
    "byte-by-byte": lambda data: [*byte_by_byte(data[:DRIPPED]), data[DRIPPED:]],
    "split": lambda data: split_randomly(data, len(data)),
}
"""How bytes may arrive. It must not matter."""
