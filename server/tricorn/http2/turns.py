"""What the peer says of priorities, and the scheduler that follows from it.

A connection listens to RFC 9218 and to RFC 7540's tree; a peer that has spoken the first language
once is not taken at its word in the second any more.
"""

from __future__ import annotations

from tricorn.priorities import DEFAULT, UNSTATED, Dependency, Preference, Priority, override
from tricorn.scheduler import Scheduler, TreeScheduler, UrgencyScheduler

MOST_STATED = 200
"""Streams, open or to come, of which a peer's wish is kept."""


class Turns:
    """Whose turn it is to send, on one connection. Knows only streams that had to wait."""

    __slots__ = ("extensible", "scheduler", "stated", "tree", "waiting")

    def __init__(self, language: str) -> None:
        self.extensible = language == "rfc9218"
        self.tree = language != "off"
        """The peer may still be heard in the language of the tree."""
        self.scheduler: Scheduler = UrgencyScheduler()
        self.stated: dict[int, Preference] = {}
        self.waiting: set[int] = set()
        """The streams that the scheduler knows."""

    def state(self, id: int, preference: Preference) -> None:
        """The peer has said how it wants stream `id`, which may not be open yet, to be treated."""
        if isinstance(preference, Priority):
            if not self.extensible:
                return
            self.forgo_tree()
        elif not self.tree:
            return
        elif isinstance(self.scheduler, UrgencyScheduler):
            self.scheduler = TreeScheduler.after(self.scheduler, {})
        if id not in self.stated and len(self.stated) >= MOST_STATED:
            del self.stated[next(iter(self.stated))]  # it may be of a stream that never came
        self.stated[id] = preference
        self.scheduler.adjust(id, preference)

    def forgo_tree(self) -> None:
        """The peer speaks RFC 9218, or has said that it means nothing by a tree (§2.1)."""
        self.tree = False
        if isinstance(self.scheduler, TreeScheduler):
            waiting = [(id, id in self.scheduler.able) for id in sorted(self.waiting)]
            self.scheduler = UrgencyScheduler()
            self.stated = {k: v for k, v in self.stated.items() if isinstance(v, Priority)}
            for id, able in waiting:
                self.scheduler.open(id, self.stated.get(id, UNSTATED))
                if able:
                    self.scheduler.ready(id)

    def wait(self, id: int, asked: Priority | None, answered: bytes | None) -> None:
        """Stream `id` has to wait: `asked` is its request's priority, `answered` the response's."""
        if self.extensible and not self.tree:
            preference = self.stated.get(id, asked or DEFAULT)
        else:
            preference = self.stated.get(id, UNSTATED)
        if self.extensible and answered is not None and isinstance(preference, Priority):
            preference = override(preference, answered)  # RFC9218§8
        self.scheduler.open(id, preference)
        if isinstance(self.scheduler, TreeScheduler):
            # The tree did not know it when others came that depend on it.
            for other in self.waiting:
                wish = self.stated.get(other)
                if isinstance(wish, Dependency) and wish.parent == id:
                    self.scheduler.adjust(other, wish)
        self.waiting.add(id)

    def forget(self, id: int) -> None:
        """The stream has ended, or need not wait any more."""
        if id in self.waiting:
            self.waiting.remove(id)
            self.scheduler.close(id)

    def close(self, id: int) -> None:
        """The stream has ended."""
        self.forget(id)
        self.stated.pop(id, None)
