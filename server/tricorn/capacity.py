"""How many client connections one worker holds, whatever they came over."""

from __future__ import annotations

from collections.abc import Callable

from tricorn_supervisor.scoreboard import Field, Row


class Capacity:
    """A number with a limit; `row` shows it to the other workers."""

    __slots__ = ("_freed", "_row", "held", "limit")

    def __init__(self, limit: int, row: Row, freed: Callable[[], None] = lambda: None) -> None:
        """`freed` is called each time that a connection has ended."""
        self.limit = limit
        self.held = 0
        self._row = row
        self._freed = freed

    @property
    def room(self) -> int:
        return self.limit - self.held

    def take(self) -> None:
        self.held += 1
        self._row[Field.CONNECTIONS] = self.held

    def release(self) -> None:
        self.held -= 1
        self._row[Field.CONNECTIONS] = self.held
        self._freed()
