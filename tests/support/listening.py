"""A worker's accept loop and its connections, on a real event loop inside the test's process."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from tricorn.asgi.exchange import Exchange
from tricorn.config import Config
from tricorn.connection import Application, Context
from tricorn.fields import Defaults
from tricorn.net.accept import Acceptor
from tricorn.observe.stats import Stats
from tricorn.versions import versions_of
from tricorn.worker import new_loop
from tricorn_supervisor.scoreboard import Field, Scoreboard, State

T = TypeVar("T")

PATIENCE = 10.0
LOOPS = ("uvloop", "asyncio")


def run(loop: str, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a test on one of the LOOPS, and fails it for what was raised into the loop."""
    running = new_loop(loop)
    raised: list[dict[str, Any]] = []
    running.set_exception_handler(lambda _, context: raised.append(context))
    try:
        result = running.run_until_complete(asyncio.wait_for(main(), PATIENCE))
        running.run_until_complete(running.shutdown_default_executor())
    finally:
        running.close()
    assert not raised, raised
    return result


class Site:
    """Listens on a port of the system's choice; `board` shows `siblings` workers beside ours."""

    def __init__(
        self,
        application: Application,
        config: Config,
        encryption: ssl.SSLContext | None,
        siblings: int,
    ) -> None:
        self.context = Context(
            application=application,
            config=config,
            loop=asyncio.get_running_loop(),
            streams={None: Exchange},
            defaults=Defaults(server=False, date=False, fixed=()),
            stats=Stats(),
            worker=1,
            now=time.monotonic(),
        )
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.listener.setblocking(False)
        self.address: tuple[str, int] = self.listener.getsockname()
        self.board = Scoreboard(siblings + 1)
        for slot in range(siblings + 1):
            self.board.claim(slot, slot + 1, 1)
            self.board.row(slot)[Field.STATE] = State.READY
        self.acceptor = Acceptor(
            self.context,
            versions_of(config, self.context.defaults),
            [(self.listener, encryption is not None)],
            encryption,
            self.board,
            self.board.row(0),
        )

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, **options)

    async def fetch(self, target: str = "/") -> bytes:
        """Over a connection of its own, to its end."""
        reader, writer = await self.connect()
        writer.write(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        try:
            return await reader.read()
        finally:
            await close(writer)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Turns the loop until something has happened that nobody is told of."""
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):  # the other side was faster
        await writer.wait_closed()


@asynccontextmanager
async def site(
    application: Application,
    config: Config | None = None,
    *,
    encryption: ssl.SSLContext | None = None,
    siblings: int = 0,
    opened: bool = True,
) -> AsyncIterator[Site]:
    """Afterwards every connection has ended, which is waited for."""
    found = Site(application, config or Config(), encryption, siblings)
    if opened:
        found.acceptor.open()
    try:
        yield found
    finally:
        found.context.draining = True
        found.acceptor.close()
        for connection in list(found.context.connections):
            connection.eof()
            connection.wire.abort()
        if found.acceptor.held:
            await asyncio.wait_for(found.acceptor.emptied.wait(), PATIENCE)
        tasks = [stream.task for stream in found.context.running if stream.task]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
