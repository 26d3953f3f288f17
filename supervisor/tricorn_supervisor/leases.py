"""Decides which lane a worker has, and what the routing of datagrams is to be.

Theory. A lane is held by a process from before its fork until it is reaped. One that dies untold
leaves its lane vacant: its number's replacement takes it, and answers what was queued meanwhile; a
lane that nobody is to inherit is free, and the next process takes the lowest. A process owns the
connections of its lane from when it is ready: until then those of a dead one go to its siblings,
which tell clients at once that they are gone. A free lane may be
taken again and again, but none is ever removed: closing a socket would renumber the others.

The choice among live lanes has one share for each number 1..N, and a change of one worker must
leave the other shares where they are: handshakes are under way that still depend on the choice. So
the share of a worker that is missing goes to a sibling, and comes back with its replacement.
"""

import errno
from collections.abc import Collection
from dataclasses import dataclass, field

from tricorn_supervisor.child import NEVER, Child, Stage
from tricorn_supervisor.steering import MOST_LANES


@dataclass(frozen=True, slots=True)
class Table:
    """What `steering.route` and `steering.program` route by."""

    live: tuple[int, ...]
    owned: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Leases:
    holders: dict[int, Child] = field(init=False, default_factory=dict)  # by lane
    vacant: dict[int, int] = field(init=False, default_factory=dict)  # lane by number

    def claim(self, child: Child) -> int:
        """The lane of a process that is about to be forked. Raises OSError if all are held."""
        lane = self.vacant.pop(child.number, None)
        if lane is None:
            taken = {*self.holders, *self.vacant.values()}
            lane = next((lane for lane in range(MOST_LANES) if lane not in taken), None)
        if lane is None:
            raise OSError(errno.EAGAIN, f"all {MOST_LANES} lanes are taken")
        self.holders[lane] = child
        return lane

    def lane_of(self, child: Child) -> int | None:
        return next((lane for lane, holder in self.holders.items() if holder is child), None)

    def release(self, child: Child) -> None:
        """This process is gone, or was never forked."""
        lane = self.lane_of(child)
        if lane is None:
            return
        del self.holders[lane]
        if child.stage is not Stage.LEAVING:
            self.vacant[child.number] = lane

    def settle(self, workers: int) -> None:
        """Free the lanes that no replacement will ask for, now that so many are wanted."""
        staying = {child.number for child in self._staying()}
        self.vacant = {
            number: lane
            for number, lane in self.vacant.items()
            if number <= workers and number not in staying
        }

    def table(self, workers: int, generations: Collection[int]) -> Table:
        """The routing of an address that the workers of these generations serve."""
        held = {
            lane: child for lane, child in self.holders.items() if child.generation in generations
        }
        serving = [
            (lane, child)
            for lane, child in sorted(held.items(), key=lambda each: _age(each[1]))
            if child.stage is Stage.READY and child.kill_at == NEVER
        ]
        # A worker that does not answer takes no handshake. If none answers, any of them may soon.
        answering = [each for each in serving if not each[1].dumped]
        # A canary takes the share of the worker that it is to replace, and gives it back if it
        # fails.
        ready = {child.number: lane for lane, child in answering or serving}
        standing = [ready[number] for number in sorted(ready) if number <= workers]
        live = [
            ready.get(number, standing[number % len(standing)]) if standing else -1
            for number in range(1, workers + 1)
        ]
        owned = {lane for lane, child in held.items() if child.stage is not Stage.STARTING}
        if not standing:
            # Nobody takes new connections now: let them wait for who will first.
            starting = held.keys() - owned
            live = sorted({*starting, *self.vacant.values()}) or sorted(held) or [0]
        return Table(tuple(live), tuple(sorted({*owned, *live})))

    def _staying(self) -> list[Child]:
        return [child for child in self.holders.values() if child.stage is not Stage.LEAVING]


def _age(child: Child) -> tuple[int, float]:
    return child.generation, child.started
