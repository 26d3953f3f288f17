"""Schedulers: whatever happens in whatever order, the turn goes to a stream that may have it."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tricorn.priorities import DEFAULT, Dependency, Preference, Priority, override, parse_priority
from tricorn.scheduler import TREE_LIMIT, Scheduler, TreeScheduler, UrgencyScheduler

FEW = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)

# Few streams, so that they meet.
IDS = st.integers(1, 9)
PRIORITIES = st.builds(Priority, st.integers(0, 7) | st.integers(3, 4), st.booleans())
DEPENDENCIES = st.builds(
    Dependency, st.integers(0, 10), st.integers(1, 256) | st.integers(-1, 300), st.booleans()
)


class Histories(RuleBasedStateMachine):
    """What every scheduler keeps, against a model: what was said, and who is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = self.make()
        self.preferences: dict[int, Preference] = {}
        self.able: set[int] = set()

    def make(self) -> Scheduler:
        raise NotImplementedError

    def understood(self, preference: Preference) -> bool:
        raise NotImplementedError

    default: Preference

    @rule(wanted=st.dictionaries(IDS, PRIORITIES | DEPENDENCIES))
    def open(self, wanted: dict[int, Preference]) -> None:
        for id, preference in wanted.items():
            self.scheduler.open(id, preference)
            if self.understood(preference):
                self.preferences[id] = preference
            else:
                self.preferences.setdefault(id, self.default)

    @rule(wanted=st.dictionaries(IDS, PRIORITIES) | st.dictionaries(IDS, DEPENDENCIES))
    def adjust(self, wanted: dict[int, Preference]) -> None:
        for id, preference in wanted.items():
            self.scheduler.adjust(id, preference)
            if id in self.preferences and self.understood(preference):
                self.preferences[id] = preference

    @rule(id=IDS)
    def close(self, id: int) -> None:
        self.scheduler.close(id)
        self.preferences.pop(id, None)
        self.able.discard(id)

    @rule(ids=st.sets(IDS, min_size=3))
    def ready(self, ids: set[int]) -> None:
        for id in ids:
            self.scheduler.ready(id)
        self.able |= ids & self.preferences.keys()

    @rule(id=IDS)
    def blocked(self, id: int) -> None:
        self.scheduler.blocked(id)
        self.able.discard(id)

    @rule(count=st.integers(1, 30))
    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    @invariant()
    def turn(self) -> None:
        id = self.scheduler.next()
        assert id in self.able if self.able else id is None
        if id is not None:
            self.fair(id)

    def fair(self, id: int) -> None:
        """Whether this turn was rightly its own."""
        raise NotImplementedError

    def bounded(self) -> None:
        """Whether it knows what it has to, and no more."""
        raise NotImplementedError


class UrgencyHistories(Histories):
    default = DEFAULT
    scheduler: UrgencyScheduler

    def make(self) -> UrgencyScheduler:
        return UrgencyScheduler()

    def understood(self, preference: Preference) -> bool:
        return isinstance(preference, Priority)

    def fair(self, id: int) -> None:
        incremental, queue = self.peers()
        assert id in incremental or id == min(queue)

    @precondition(lambda self: self.able)
    @rule()
    def everybody_has_a_turn_in_each_round(self) -> None:
        incremental, queue = self.peers()
        served = {self.scheduler.next() for _ in range(len(incremental) + bool(queue))}
        assert served == set(incremental) | set(sorted(queue)[:1])

    @invariant()
    def bounded(self) -> None:
        levels = [level for level in self.scheduler.levels if level]
        queues = sum(bool(level.queue) for level in levels)
        assert sum(len(level.queue) + len(level.round) for level in levels) - queues == len(
            self.able
        )
        assert self.scheduler.priorities == self.preferences

    def peers(self) -> tuple[list[int], list[int]]:
        """The ready streams of the highest urgency, incremental and not."""
        told = {id: self.preferences[id] for id in self.able}
        most = min(priority.urgency for priority in told.values())
        peers = [id for id in told if told[id].urgency == most]
        return (
            [id for id in peers if told[id].incremental],
            [id for id in peers if not told[id].incremental],
        )


class TreeHistories(Histories):
    default = Dependency()
    scheduler: TreeScheduler

    def make(self) -> TreeScheduler:
        return TreeScheduler()

    def understood(self, preference: Preference) -> bool:
        return isinstance(preference, Dependency)

    @initialize(others=st.sampled_from([0, 0, TREE_LIMIT - 5]))
    def fill(self, others: int) -> None:
        for id in range(1001, 1001 + others):
            self.open({id: Dependency(exclusive=id % 9 == 0)})

    def fair(self, id: int) -> None:
        parents = self.scheduler.parents
        while id := parents.get(id, 0):
            assert id not in self.able, "a stream went before the one it depends on"

    @invariant()
    def bounded(self) -> None:
        parents, others = self.scheduler.parents, self.scheduler.others.priorities
        assert len(parents) <= TREE_LIMIT
        assert parents.keys() | others.keys() == self.preferences.keys()
        assert not parents.keys() & others.keys()
        streams = self.scheduler.tree._streams
        found = [(child.stream_id, id) for id in streams for child in streams[id].children]
        assert sorted(found) == sorted(parents.items())
        assert streams.keys() == parents.keys() | {0}


UrgencyHistories.TestCase.settings = FEW
TreeHistories.TestCase.settings = FEW
TestUrgencies = UrgencyHistories.TestCase
TestTree = TreeHistories.TestCase


@pytest.mark.slow
@pytest.mark.parametrize("machine", [UrgencyHistories, TreeHistories])
def test_the_same_for_more_histories(machine):
    run_state_machine_as_test(machine, settings=settings(FEW, max_examples=100))
    for seed in range(20):
        long_history(machine(), Random(seed), 2000)


def long_history(machine: Histories, random: Random, steps: int) -> None:
    """More of the same, with less thought: here streams live long enough to meet."""

    def some() -> int:
        return random.randint(1, 9)

    def said() -> Preference:
        if random.random() < 0.2:
            return Priority(random.randint(2, 4), random.random() < 0.5)
        return Dependency(some() - random.randint(0, 1), some() * 20, random.random() < 0.3)

    for _ in range(steps):
        match random.randrange(8):
            case 0 | 1:
                machine.open({some(): said()})
            case 2 | 3:
                machine.adjust({some(): said()})
            case 4:
                machine.close(some())
            case 5 | 6:
                machine.ready({some(), some()})
            case _:
                machine.blocked(some())
        machine.turn()
        machine.bounded()


@pytest.mark.parametrize("machine", [UrgencyHistories, TreeHistories])
def test_whose_turn_it_is_in_long_histories(machine):
    long_history(machine(), Random(9218), 2000)


@FEW
@given(st.randoms(use_true_random=False))
def test_nobody_waits_longer_because_others_come_and_go(random: Random):
    scheduler = UrgencyScheduler()
    scheduler.open(0, Priority(incremental=True))
    scheduler.ready(0)
    waited = 0
    for _ in range(100):
        id, priority = random.randint(1, 9), Priority(3, random.random() < 0.7)
        scheduler.open(id, priority)
        random.choice((scheduler.ready, scheduler.ready, scheduler.blocked, scheduler.close))(id)
        waited = 0 if scheduler.next() == 0 else waited + 1
        assert waited < 10


@FEW
@given(st.lists(st.integers(1, 256), min_size=1, max_size=8))
def test_siblings_have_their_share_within_one_round(weights: list[int]):
    scheduler = TreeScheduler()
    for id, weight in enumerate(weights, 1):
        scheduler.open(id, Dependency(weight=weight))
        scheduler.ready(id)
    count = 4 * sum(weights)
    turns = Counter(scheduler.next() for _ in range(count))
    for id, weight in enumerate(weights, 1):
        assert turns[id] == pytest.approx(4 * weight, abs=len(weights) + 1)


@FEW
@given(st.dictionaries(IDS, PRIORITIES), st.sets(IDS), st.dictionaries(IDS, DEPENDENCIES))
def test_tree_takes_over_whatever_there_is(streams, able, dependencies):
    former = UrgencyScheduler()
    for id, priority in streams.items():
        former.open(id, priority)
    for id in able:
        former.ready(id)
    scheduler = TreeScheduler.after(former, dependencies)
    assert scheduler.parents.keys() == streams.keys()
    assert scheduler.able == able & streams.keys()


SCRAPS = [b"u", b"i", b"a", b"=", b";", b",", b" ", b"\t", b"(", b")", b'"', b"%", b":", b"?", b"@"]
SCRAPS += [b"-", b".", b"0", b"1", b"7", b"9", b"u=2", b"i=?0", b", ", b"\\", b"A", b"\xff", b"*"]


@FEW
@given(st.lists(st.sampled_from(SCRAPS), max_size=12).map(b"".join), PRIORITIES)
def test_any_value_is_some_priority(value, requested):
    assert override(parse_priority(value), value) == parse_priority(value)
    assert override(override(requested, value), value) == override(requested, value)
