"""Which stream writes next, on a connection where more than one waits for room.

A connection passes on what its peer says of priorities, in either language: `Priority` (RFC9218)
or `Dependency` (RFC7540§5.3). The scheduler in charge listens to the one that it speaks. Every
connection starts with the `UrgencyScheduler`; `TreeScheduler.after` takes over from it when the
peer has spoken the other language and has not sent SETTINGS_NO_RFC7540_PRIORITIES=1.

Only streams that have to wait need to be known here. What is said of others is ignored: late
events are normal, not errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tricorn.priorities import DEFAULT, UNSTATED, URGENCIES, Dependency, Preference, Priority

if TYPE_CHECKING:
    from priority.priority import PriorityTree

TREE_LIMIT = 100  # RFC9113§6.5.2 wants no fewer streams; `priority` 2.0 gives up at deeper chains
"""Streams in a tree. Its operations take time in proportion to them: with 100 siblings about 100 µs
for a dependency that changes, and as much for a turn when nearly all of them are blocked."""


class Scheduler(ABC):
    """Says whose turn it is. A turn is what the caller makes of it, say up to 16 KiB."""

    __slots__ = ()

    @abstractmethod
    def open(self, id: int, preference: Preference) -> None:
        """A stream may have to wait; it is not ready yet. Opening it again is adjusting it."""

    @abstractmethod
    def close(self, id: int) -> None:
        """The stream has ended, or need not wait any more."""

    @abstractmethod
    def adjust(self, id: int, preference: Preference) -> None:
        """The peer or the application has changed its mind; ignored in the other language."""

    @abstractmethod
    def ready(self, id: int) -> None:
        """It has octets that may go out now."""

    @abstractmethod
    def blocked(self, id: int) -> None:
        """It has none, or its own window is closed."""

    @abstractmethod
    def next(self) -> int | None:
        """The stream that has this turn; it stays ready. None if no stream is."""


class UrgencyScheduler(Scheduler):
    """RFC 9218: the most urgent first; those that are less urgent wait until none of them is ready.

    That less urgent streams may wait for ever is what RFC9218§10 recommends, and the client's own
    choice. Streams of the same urgency never starve each other, but for the order that their
    client asked for: see `Level`.
    """

    __slots__ = ("able", "levels", "priorities")

    def __init__(self) -> None:
        self.priorities: dict[int, Priority] = {}
        self.able: set[int] = set()
        """The streams that are ready."""
        self.levels: list[Level | None] = [None] * URGENCIES

    def open(self, id: int, preference: Preference) -> None:
        if id in self.priorities:
            self.adjust(id, preference)
        else:
            self.priorities[id] = preference if isinstance(preference, Priority) else DEFAULT

    def close(self, id: int) -> None:
        self.blocked(id)
        self.priorities.pop(id, None)

    def adjust(self, id: int, preference: Preference) -> None:
        before = self.priorities.get(id)
        # A stream whose priority stays the same keeps its place in the round.
        if before is None or before == preference or not isinstance(preference, Priority):
            return
        waiting = id in self.able
        self.blocked(id)
        self.priorities[id] = preference
        if waiting:
            self.ready(id)

    def ready(self, id: int) -> None:
        priority = self.priorities.get(id)
        if priority is None or id in self.able:
            return
        self.able.add(id)
        level = self.levels[priority.urgency]
        if level is None:
            level = self.levels[priority.urgency] = Level()
        level.enter(id, priority.incremental)

    def blocked(self, id: int) -> None:
        if id not in self.able:
            return
        self.able.remove(id)
        priority = self.priorities[id]
        if level := self.levels[priority.urgency]:
            level.leave(id, priority.incremental)

    def next(self) -> int | None:
        for level in self.levels:
            if level is not None and level.round:
                return level.next()
        return None


class Level:
    """The ready streams of one urgency.

    Incremental streams take turns; the others are sent one after another, in the order of their
    ids (RFC9218§10). Where there are both, the queue of the others counts as one more incremental
    stream. Serving whichever came first would keep the incremental ones from being of use early,
    or the queue from ever coming to its end; and this way nobody's share shrinks because of how
    many responses are queued that can only be used whole. No incremental stream waits for more
    turns than there are others, and neither does the head of the queue.
    """

    __slots__ = ("queue", "round")

    QUEUE = -1
    """The queue's place in the round: no stream has this id."""

    def __init__(self) -> None:
        self.round: dict[int, None] = {}
        """Whose turn it is, and whose it will be; empty if nobody is ready."""
        self.queue: list[int] = []
        """Non-incremental streams, in order."""

    def enter(self, id: int, incremental: bool) -> None:
        if incremental:
            self.round[id] = None
        else:
            insort(self.queue, id)
            self.round[self.QUEUE] = None

    def leave(self, id: int, incremental: bool) -> None:
        if incremental:
            del self.round[id]
            return
        del self.queue[bisect_left(self.queue, id)]
        if not self.queue:
            del self.round[self.QUEUE]

    def next(self) -> int:
        turns = self.round
        id = next(iter(turns))
        if len(turns) > 1:
            del turns[id]
            turns[id] = None
        return self.queue[0] if id == self.QUEUE else id


class TreeScheduler(Scheduler):
    """RFC7540§5.3: a stream waits for the one it depends on; siblings share by their weights.

    The tree holds no more than TREE_LIMIT streams, all of them open: dependencies on others count
    as none at all, which is the default (RFC7540§5.3.1). Streams that find the tree full take
    every other turn among themselves, until they end. When a stream ends, its dependents move up
    with the weights they have.
    """

    __slots__ = ("able", "elsewhere", "others", "parents", "tree", "weights")

    tree: PriorityTree

    def __init__(self) -> None:
        # Most peers never need it.
        from priority.priority import PriorityTree

        self.tree = PriorityTree(TREE_LIMIT + 1)  # the root counts
        self.parents: dict[int, int] = {}
        self.weights: dict[int, int] = {}
        self.able: set[int] = set()
        """The streams in the tree that are ready."""
        self.others = UrgencyScheduler()
        """The streams for which there was no room."""
        self.elsewhere = False
        """The last turn went to one of the others."""

    @classmethod
    def after(
        cls, former: UrgencyScheduler, dependencies: Mapping[int, Dependency]
    ) -> TreeScheduler:
        """One that goes on with the streams of `former`, which is not to be used any more."""
        self = cls()
        ids = sorted(former.priorities)
        for id in ids:
            self.open(id, dependencies.get(id, Dependency()))
            if id in former.able:
                self.ready(id)
        for id in ids:
            # What a stream depends on may have come after it.
            if id in dependencies and dependencies[id].parent > id:
                self.adjust(id, dependencies[id])
        return self

    def open(self, id: int, preference: Preference) -> None:
        if id in self.parents or id in self.others.priorities:
            self.adjust(id, preference)
            return
        if len(self.parents) >= TREE_LIMIT:
            self.others.open(id, UNSTATED)
            return
        place = self.place(id, preference if isinstance(preference, Dependency) else Dependency())
        self.tree.insert_stream(id, place.parent, place.weight, place.exclusive)
        self.tree.block(id)
        self.note(id, place)

    def close(self, id: int) -> None:
        self.others.close(id)
        if id not in self.parents:
            return
        self.tree.remove_stream(id)
        self.able.discard(id)
        del self.weights[id]
        above = self.parents.pop(id)
        for child, parent in self.parents.items():
            if parent == id:
                self.parents[child] = above

    def adjust(self, id: int, preference: Preference) -> None:
        if id not in self.parents or not isinstance(preference, Dependency):
            return
        place = self.place(id, preference)
        if place == Dependency(self.parents[id], self.weights[id]):
            return
        if self.depends(place.parent, id):
            # RFC7540§5.3.3: then that one moves up first, with what depends on it. `priority` 2.0
            # would leave its dependents in two places at once, and serve them after their end.
            self.move(place.parent, Dependency(self.parents[id], self.weights[place.parent]))
        self.move(id, place)

    def ready(self, id: int) -> None:
        if id not in self.parents:
            self.others.ready(id)
        elif id not in self.able:
            self.able.add(id)
            self.tree.unblock(id)

    def blocked(self, id: int) -> None:
        if id not in self.parents:
            self.others.blocked(id)
        elif id in self.able:
            self.able.remove(id)
            self.tree.block(id)

    def next(self) -> int | None:
        if self.others.able:
            self.elsewhere = not self.elsewhere
            if self.elsewhere or not self.able:
                return self.others.next()
        # The tree looks at blocked streams too, and raises if there are no others: ask it only
        # where there is a choice.
        if len(self.able) < 2:
            return next(iter(self.able), None)
        return self.tree.next()

    def place(self, id: int, wanted: Dependency) -> Dependency:
        """Where a stream goes in the tree as it is; the library is asked for nothing else."""
        if wanted.parent == id or (wanted.parent and wanted.parent not in self.parents):
            return Dependency()
        if not 1 <= wanted.weight <= 256:
            return Dependency(wanted.parent, min(max(wanted.weight, 1), 256), wanted.exclusive)
        return wanted

    def depends(self, id: int, ancestor: int) -> bool:
        while id:
            if id == ancestor:
                return True
            id = self.parents[id]
        return False

    def move(self, id: int, place: Dependency) -> None:
        self.tree.reprioritize(id, place.parent, place.weight, place.exclusive)
        self.note(id, place)

    def note(self, id: int, place: Dependency) -> None:
        if place.exclusive:
            for sibling, parent in self.parents.items():
                if parent == place.parent:
                    self.parents[sibling] = id
        self.parents[id] = place.parent
        self.weights[id] = place.weight
