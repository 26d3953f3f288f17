"""Tasks that wait for the same thing, such as room towards a client."""

from __future__ import annotations

import asyncio


class Waiters:
    """Tasks that wait for the same thing."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the next `wake`, whose error it raises."""
        future: asyncio.Future[None] = loop.create_future()
        self._futures.append(future)
        await future

    def wake(self, error: Exception | None = None) -> None:
        futures, self._futures = self._futures, []
        for future in futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
