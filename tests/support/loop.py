"""An event loop without waiting: it stops when nothing is ready, and its time is ours."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class Clock:
    """Monotonic seconds that pass only when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now


class IdleSelector(selectors.DefaultSelector):
    """Stops the loop where it would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.idle: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> Any:
        if timeout != 0:
            self.idle()
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs until nothing is ready; what is scheduled for later waits for the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        selector = IdleSelector()
        super().__init__(selector)
        selector.idle = self.stop

    def time(self) -> float:
        return self.clock.now

    def settle(self) -> None:
        """Runs every callback and task until all of them wait for something."""
        self.run_forever()

    def run_in_executor(  # type: ignore[override]  # its type variables are typeshed's own
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Runs `func` here and now: threads would make the order of things a matter of luck."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
