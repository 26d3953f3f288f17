"""A steady load of numbered requests, half of it over lasting connections."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

PACE = 0.004
"""Seconds between two requests of one client: a load, not a measurement."""
CLIENTS = 8
TIMEOUT = 15.0


class Driven(ABC):
    """A load that runs in a thread of its own, from entering the `with` to leaving it."""

    def __init__(self, first: int) -> None:
        """Entering waits for the `first` answers."""
        self.answered = 0
        self._first = first
        self._goal = 0
        self._ending = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.go_on(self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending = True
        self._thread.join(2 * TIMEOUT)
        assert not self._thread.is_alive()

    def go_on(self, count: int, timeout: float = TIMEOUT) -> None:
        """Waits for `count` more answers."""
        with self._progress:
            self._goal = self.answered + count
            enough = self._progress.wait_for(lambda: self.answered >= self._goal, timeout)
            assert enough, self._complaints()

    def note(self) -> None:
        """One answer more."""
        self.answered += 1
        if self.answered >= self._goal:
            with self._progress:
                self._progress.notify_all()

    @abstractmethod
    async def _all(self) -> None:
        """Asks, until `_ending`."""

    @abstractmethod
    def _complaints(self) -> list[str]:
        """Why there may be too few answers."""


class Load(Driven):
    """Asks from entering the `with` to leaving it; then `answered` and `failures` tell."""

    def __init__(self, where: int | Path) -> None:
        """A port of this machine, or the path of a unix socket."""
        super().__init__(CLIENTS)
        self.failures: list[str] = []
        self._where = where

    def _complaints(self) -> list[str]:
        return self.failures

    async def _all(self) -> None:
        await asyncio.gather(*(self._client(each, bool(each % 2)) for each in range(CLIENTS)))

    async def _client(self, name: int, lasting: bool) -> None:
        number = 0
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._ending:
            number += 1
            target = f"/number/{name}/{number}"
            fresh = connection is None
            try:
                async with asyncio.timeout(TIMEOUT):
                    connection = connection or await self._connect()
                    body, last = await self._ask(*connection, target)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                where = "new" if fresh else "lasting"
                self.failures.append(f"{target} on a {where} connection: {error!r}")
                last = True
            else:
                if body != target.encode():
                    self.failures.append(f"{target} was answered with {body!r}")
                self.note()
            if connection and (last or not lasting):
                connection[1].close()
                connection = None
            await asyncio.sleep(PACE)
        if connection:
            connection[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._where, int):
            return await asyncio.open_connection("127.0.0.1", self._where)
        return await asyncio.open_unix_connection(self._where)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str
    ) -> tuple[bytes, bool]:
        """The body, and whether it was the last on this connection."""
        writer.write(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise ValueError(head)
        length = int(head.partition(b"content-length:")[2].split(None, 1)[0])
        return await reader.readexactly(length), b"connection: close" in head
