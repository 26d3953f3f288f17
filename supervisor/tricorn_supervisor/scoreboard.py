"""Shared memory in which every process publishes numbers that every other process can read.

One row of 64-bit integers per slot, in an anonymous mapping that forked children share. There is no
lock: each field is written by one process at a time and is eight aligned bytes, so that a reader
sees an old value or a new one, never half of each.
"""

import mmap
import time
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum


class State(IntEnum):
    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class Cause(IntEnum):
    """How a process of a worker ended."""

    CLEAN = 0
    RECYCLE = 1
    EXCEPTION = 2
    EXIT = 3
    SIGNAL = 4
    OOM = 5
    HANG = 6
    TIMEOUT = 7


class Fleet(IntEnum):
    """What the master says of all processes together, in the head row."""

    STATE = 16
    GENERATION = 17  # that serves
    WORKERS = 18  # that there should be
    READY = 19  # of them, those that serve
    STARTED = 20  # 1 once all of them were ready at a time


class Field(IntEnum):
    """The columns.

    The master writes the first three and the lane, and the state before and after a child's life.
    """

    PID = 0
    NUMBER = 1
    GENERATION = 2
    STATE = 3
    BEAT = 4  # time.monotonic_ns() when the event loop last turned
    CONNECTIONS = 5
    ACCEPTED = 6
    REQUESTS = 7
    RESPONSES_1XX = 8
    RESPONSES_2XX = 9
    RESPONSES_3XX = 10
    RESPONSES_4XX = 11
    RESPONSES_5XX = 12
    IN_FLIGHT = 13
    DROPPED_LOG_LINES = 14
    ABORTED = 15
    LANE = 16  # of QUIC, plus one; 0 = none
    IN_FLIGHT_1 = 17  # of HTTP/1.0 and 1.1
    IN_FLIGHT_2 = 18
    IN_FLIGHT_3 = 19
    CERTIFICATE_EXPIRY = 20  # seconds since 1970; 0 = none


# Behind the columns are counters whose meaning is the workers' own; they only grow. Those of the
# dead are added up in the head row.
COUNTERS = 24
WIDTH = 192  # whole cache lines, so that neighbours do not write into one
# In the head row, which the master writes:
USED = 0  # how many rows a reader has to look at
SEQUENCE = 23  # odd while the counters of a process that has died are being added up
ENDINGS = 1  # and the columns after it: how many processes have ended, by Cause

ATTEMPTS = 10  # to read between two deaths: 45 ms, and a count takes some microseconds

# A look-up in an Enum costs as much as the write.
_BEAT = int(Field.BEAT)
_STATE = int(Field.STATE)
_READY = int(State.READY)
_CONNECTIONS = int(Field.CONNECTIONS)
_LANE = int(Field.LANE)
_COLUMNS = {field.name.lower(): int(field) for field in Field}


class Row:
    """One process's numbers; `cells` is indexed by Field."""

    __slots__ = ("cells", "slot")

    def __init__(self, slot: int, cells: memoryview) -> None:
        self.slot = slot
        self.cells = cells

    def __getitem__(self, field: int) -> int:
        return self.cells[field]

    def __setitem__(self, field: int, value: int) -> None:
        self.cells[field] = value

    def beat(self, now: int) -> None:
        """The event loop is alive; `now` is time.monotonic_ns()."""
        self.cells[_BEAT] = now

    def publish(self, **values: int) -> None:
        """Write fields by their lower-case names."""
        for name, value in values.items():
            self.cells[_COLUMNS[name]] = value

    def count(self, values: Sequence[int]) -> None:
        """Write the counters, which must not be fewer, or smaller, than the last time."""
        self.cells[COUNTERS : COUNTERS + len(values)] = memoryview(array("q", values))

    def as_dict(self) -> dict[str, int]:
        return dict(zip(_COLUMNS, self.cells.tolist(), strict=False))


class Scoreboard:
    """Create it before the first fork; `slots` is fixed for the life of the mapping."""

    __slots__ = ("_cells", "_connections", "_lanes", "_states", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        memory = mmap.mmap(-1, (slots + 1) * WIDTH * 8)
        self._cells = memoryview(memory).cast("q")
        self._states = self._cells[WIDTH + _STATE :: WIDTH]
        self._connections = self._cells[WIDTH + _CONNECTIONS :: WIDTH]
        self._lanes = self._cells[WIDTH + _LANE :: WIDTH]

    def row(self, slot: int) -> Row:
        if not 0 <= slot < self.slots:
            raise IndexError(slot)
        start = (slot + 1) * WIDTH
        return Row(slot, self._cells[start : start + WIDTH])

    def claim(self, slot: int, number: int, generation: int, lane: int = -1) -> None:
        """The master is about to fork a process for this slot: its row starts from zero."""
        row = self.row(slot)
        for field in range(WIDTH):
            row[field] = 0
        row.publish(number=number, generation=generation, lane=lane + 1, state=State.STARTING)
        self._cells[USED] = max(self._cells[USED], slot + 1)

    def release(self, slot: int) -> None:
        """The master has reaped the process of this slot: what it has counted is kept."""
        self._cells[SEQUENCE] += 1
        self._bequeath(self.row(slot).cells)
        self._states[slot] = State.FREE
        self._lanes[slot] = 0
        used = self._cells[USED]
        while used and self._states[used - 1] == State.FREE:
            used -= 1
        self._cells[USED] = used
        self._cells[SEQUENCE] += 1

    def _bequeath(self, row: memoryview) -> None:
        if any(counted := row[COUNTERS:].tolist()):
            dead = self._cells[COUNTERS:WIDTH].tolist()
            total = [sum(pair) for pair in zip(dead, counted, strict=True)]
            self._cells[COUNTERS:WIDTH] = memoryview(array("q", total))
            row[COUNTERS:] = memoryview(array("q", [0] * len(total)))

    def snapshot(self) -> tuple[list[int], list[list[int]]]:
        """The counters of the dead, and the rows of the living, of one moment.

        So no sum of both is ever smaller than an earlier one, or counts a process twice. Raises
        TimeoutError if the master stands still in the middle of a count.
        """
        for attempt in range(ATTEMPTS):
            before = self._cells[SEQUENCE]
            dead = self._cells[COUNTERS:WIDTH].tolist()
            living = [row.cells.tolist() for row in self.living()]
            if before == self._cells[SEQUENCE] and not before % 2:
                return dead, living
            time.sleep(attempt * 0.001)
        raise TimeoutError("the master stands still while it counts")

    def connections(self) -> tuple[int, int]:
        """How many connections the ready processes hold together, and how many processes these are.

        Called for every accept wake-up: about a microsecond for eight workers.
        """
        used = self._cells[USED]
        states = self._states[:used].tolist()
        counts = self._connections[:used].tolist()
        if states.count(_READY) == used:
            return sum(counts), used
        counted = [count for state, count in zip(states, counts, strict=True) if state == _READY]
        return sum(counted), len(counted)

    def count_ending(self, cause: Cause) -> None:
        self._cells[ENDINGS + cause] += 1

    def endings(self) -> dict[Cause, int]:
        """How many workers have ended for each cause since the start; no count ever goes back."""
        return {cause: self._cells[ENDINGS + cause] for cause in Cause}

    def tell(self, **values: int) -> None:
        """The master writes of the fleet, by lower-case names of Fleet."""
        for name, value in values.items():
            self._cells[Fleet[name.upper()]] = value

    def fleet(self, field: Fleet) -> int:
        """What the master has written of the fleet."""
        return self._cells[field]

    def owns_lane(self, lane: int) -> bool:
        """Whether a process may have connections at this lane of QUIC: not before it is ready."""
        used = self._cells[USED]
        lanes, states = self._lanes[:used].tolist(), self._states[:used].tolist()
        return any(
            held == lane + 1 and state > State.STARTING
            for held, state in zip(lanes, states, strict=True)
        )

    def living(self) -> Iterator[Row]:
        """The rows that belong to a process now."""
        for slot in range(self._cells[USED]):
            if self._states[slot] != State.FREE:
                yield self.row(slot)
