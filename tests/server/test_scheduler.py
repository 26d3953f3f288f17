"""scheduler.py and priorities.py: what is said of priorities, and whose turn it is after that."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from tricorn.priorities import (
    DEFAULT,
    REMEMBERED_VALUES,
    UNSTATED,
    Dependency,
    Priority,
    override,
    parse_priority,
    remembered,
)
from tricorn.scheduler import TREE_LIMIT, Scheduler, TreeScheduler, UrgencyScheduler

SHARED = Priority(incremental=True)


def ready(scheduler: Scheduler, **streams: Priority | Dependency) -> None:
    """Opens streams, named as in s1=..., and makes them ready, in the order given."""
    for name, preference in streams.items():
        scheduler.open(int(name[1:]), preference)
        scheduler.ready(int(name[1:]))


def turns(scheduler: Scheduler, count: int) -> list[int | None]:
    return list(islice(iter(scheduler.next, object()), count))


@pytest.fixture(params=[UrgencyScheduler, TreeScheduler])
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    return request.param()


# What is said.


@pytest.mark.parametrize(
    "value, urgency, incremental",
    [
        (b"", 3, False),
        (b"   ", 3, False),
        (b"u=0", 0, False),
        (b"u=7", 7, False),
        (b"u=3, i", 3, True),
        (b"u=5,i", 5, True),
        (b"u=5\t ,\t i", 5, True),
        (b" u=1 ", 1, False),
        (b"i", 3, True),
        (b"i=?1", 3, True),
        (b"i=?0", 3, False),
        (b"i, u=2", 2, True),
        (b"u=1;foo", 1, False),
        (b"u=1; foo=x", 1, False),
        (b"i;u=1", 3, True),
        (b"i=?0;a=1;b=:aGk=:, u=6", 6, False),
        (b"u=03", 3, False),
        (b"u=-0", 0, False),
        (b"u=1, u=4", 4, False),
        (b"i, i=?0", 3, False),
    ],
)
def test_priority_field(value, urgency, incremental):  # RFC9218§4
    assert parse_priority(value) == Priority(urgency, incremental)


@pytest.mark.parametrize(
    "value",
    [
        b"u=8",
        b"u=-1",
        b"u=999999999999999",
        b"u=1.0",
        b"u",
        b"u=?1",
        b'u="1"',
        b"u=:MQ==:",
        b"u=one",
        b"u=(1)",
        b"u=@1",
        b"i=1",
        b"i=()",
        b'i="?1"',
        b"u=1, u=9",
        b"u=1, u",
        b"i, i=yes",
    ],
)
def test_parameter_of_another_type_or_out_of_range_has_its_default(value):  # RFC9218§4
    assert parse_priority(value) == DEFAULT
    assert parse_priority(b"u=6, i, " + value) != Priority(6, True)


@pytest.mark.parametrize(
    "unknown",
    [
        b"a",
        b"*a.b-c_d=1",
        b"ui=1",
        b"i2",
        b"u.=0",
        b"urgency=1",
        b'a="u=1, i \\" \\\\"',
        b"a=tok/en:x",
        b"a=*",
        b"a=-1.125",
        b"a=:aGVsbG8=:",
        b"a=()",
        b'a=( 1 b;c  "c";d=?0 );e',
        b"a=@1659578233",
        b'a=%"f%c3%bc"',
        b"a;u=1;i",
    ],
)
def test_unknown_parameter_is_ignored(unknown):  # RFC9218§4
    assert parse_priority(b"u=2, " + unknown + b", i") == Priority(2, True)


@pytest.mark.parametrize(
    "bad",
    [
        b",",
        b"a,",
        b"a,,b",
        b"A",
        b"1",
        b"a=",
        b"a =1",
        b"a= 1",
        b"a=1 2",
        b"a=1.",
        b"a=.1",
        b"a=1.1234",
        b"a=1234567890123.1",
        b"a=1234567890123456",
        b"a=+1",
        b"a=--1",
        b"a=?2",
        b"a=?",
        b'a="',
        b'a="\\a"',
        b'a="\xc3\xbc"',
        b"a=:a-:",
        b"a=:",
        b"a=(1",
        b"a=(1,2)",
        b'a=("b""c")',
        b"a=((1))",
        b"a;B",
        b"a;",
        b"a ;b",
        b"a;b=(1)",
        b'a=%"%C3"',
        b"a=@1.5",
        b"a b",
        b"a\0",
        b"a\r\n",
    ],
)
def test_value_that_is_no_dictionary_is_ignored_as_a_whole(bad):  # RFC9651§4.2
    assert parse_priority(b"u=1, i, " + bad) == DEFAULT
    assert override(Priority(5, True), b"u=1, " + bad) == Priority(5, True)


def test_long_value_is_parsed_but_not_remembered():
    value = b"u=1, " + b"a, " * 5000 + b"i"
    assert parse_priority(value) == Priority(1, True)
    assert value not in remembered.young


def test_values_that_never_repeat_do_not_fill_the_memory():
    for number in range(10 * REMEMBERED_VALUES):
        parse_priority(b"u=1, a=%d" % number)
    assert len(remembered.young) + len(remembered.old) <= 2 * REMEMBERED_VALUES


@pytest.mark.parametrize(
    "request_priority, value, merged",
    [
        (Priority(5, True), b"u=1", Priority(1, True)),
        (Priority(5, True), b"i=?0", Priority(5, False)),
        (Priority(5, False), b"i", Priority(5, True)),
        (Priority(5, True), b"", Priority(5, True)),
        (Priority(5, True), b"u=8, i=?0", Priority(5, False)),
        (Priority(5, True), b"u=3, i=?0", DEFAULT),
    ],
)
def test_response_overrides_only_what_it_names(request_priority, value, merged):  # RFC9218§8
    assert override(request_priority, value) == merged


# What both have in common.


def test_nobody_has_a_turn_where_nobody_is_ready(scheduler):
    assert scheduler.next() is None
    scheduler.open(1, DEFAULT)
    assert scheduler.next() is None


def test_what_is_said_of_unknown_streams_is_ignored(scheduler):
    for late in (scheduler.ready, scheduler.blocked, scheduler.close):
        late(7)
    scheduler.adjust(7, Priority(0))
    scheduler.adjust(7, Dependency(weight=1))
    assert scheduler.next() is None


def test_saying_the_same_twice_changes_nothing(scheduler):
    for _ in range(2):
        ready(scheduler, s1=DEFAULT)
    assert turns(scheduler, 2) == [1, 1]
    scheduler.blocked(1)
    scheduler.blocked(1)
    assert scheduler.next() is None


def test_closed_stream_has_no_more_turns_though_it_was_ready(scheduler):
    ready(scheduler, s1=DEFAULT, s3=DEFAULT)
    scheduler.close(1)
    assert turns(scheduler, 2) == [3, 3]
    scheduler.ready(1)
    assert turns(scheduler, 2) == [3, 3]
    scheduler.close(3)
    assert scheduler.next() is None


def test_blocked_stream_is_passed_over_until_it_is_ready(scheduler):
    ready(scheduler, s1=SHARED, s3=SHARED)
    scheduler.blocked(1)
    assert turns(scheduler, 3) == [3, 3, 3]
    scheduler.ready(1)
    assert set(turns(scheduler, 2)) == {1, 3}


# RFC 9218.


def test_more_urgent_streams_come_first():  # RFC9218§10
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=Priority(7), s3=Priority(0), s5=Priority(3, True))
    assert turns(scheduler, 2) == [3, 3]
    scheduler.close(3)
    assert turns(scheduler, 2) == [5, 5]
    scheduler.blocked(5)
    assert turns(scheduler, 2) == [1, 1]
    scheduler.ready(5)
    assert turns(scheduler, 2) == [5, 5]


def test_streams_of_one_urgency_come_in_the_order_of_their_ids():  # RFC9218§10
    scheduler = UrgencyScheduler()
    ready(scheduler, s5=DEFAULT, s1=DEFAULT, s3=DEFAULT)
    assert turns(scheduler, 2) == [1, 1]
    scheduler.close(1)
    assert turns(scheduler, 2) == [3, 3]
    scheduler.close(3)
    assert turns(scheduler, 2) == [5, 5]


def test_earlier_stream_goes_on_when_it_is_ready_again():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=DEFAULT, s3=DEFAULT)
    scheduler.blocked(1)
    assert scheduler.next() == 3
    scheduler.ready(1)
    assert turns(scheduler, 2) == [1, 1]


def test_incremental_streams_take_turns():  # RFC9218§10
    scheduler = UrgencyScheduler()
    ready(scheduler, s5=SHARED, s1=SHARED, s3=SHARED)
    assert turns(scheduler, 7) == [5, 1, 3, 5, 1, 3, 5]


def test_queue_of_others_has_one_turn_in_each_round_of_incremental_streams():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=DEFAULT, s3=SHARED, s5=DEFAULT, s7=SHARED)
    assert turns(scheduler, 6) == [1, 3, 7, 1, 3, 7]
    scheduler.close(1)
    assert turns(scheduler, 6) == [5, 3, 7, 5, 3, 7]
    scheduler.close(5)
    assert turns(scheduler, 4) == [3, 7, 3, 7]


def test_streams_of_a_client_that_states_no_priority_share():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=UNSTATED, s3=UNSTATED)
    assert turns(scheduler, 4) == [1, 3, 1, 3]


def test_stream_is_adjusted_while_it_waits():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=DEFAULT, s3=DEFAULT, s5=SHARED)
    scheduler.adjust(3, Priority(1))
    assert turns(scheduler, 2) == [3, 3]
    scheduler.adjust(3, SHARED)
    assert turns(scheduler, 6) == [1, 5, 3, 1, 5, 3]


def test_adjusting_does_not_make_a_stream_ready():
    scheduler = UrgencyScheduler()
    scheduler.open(1, DEFAULT)
    scheduler.adjust(1, Priority(0, True))
    assert scheduler.next() is None
    ready(scheduler, s3=Priority(1))
    scheduler.ready(1)
    assert scheduler.next() == 1


def test_adjusting_to_the_same_keeps_the_place_in_the_round():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=SHARED, s3=SHARED)
    scheduler.adjust(1, Priority(3, True))
    assert turns(scheduler, 2) == [1, 3]


def test_dependencies_mean_nothing_to_urgencies():  # RFC9218§2.1
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=Dependency(3), s3=Priority(2))
    scheduler.adjust(3, Dependency(1))
    assert turns(scheduler, 2) == [3, 3]


def test_state_of_urgencies_is_bounded_by_the_streams_that_are_open():
    scheduler = UrgencyScheduler()
    ready(scheduler, s1=Priority(0))
    for id in range(3, 2003, 2):
        ready(scheduler, **{f"s{id}": Priority(id % 8, id % 3 == 0)})
        scheduler.adjust(id, Priority((id + 1) % 8, id % 5 == 0))
        scheduler.close(id)
    assert len(scheduler.priorities) == len(scheduler.able) == 1
    assert sum(len(level.queue) + len(level.round) for level in scheduler.levels if level) == 2


# RFC 7540.


def test_stream_waits_for_the_one_it_depends_on():  # RFC7540§5.3.1
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency(1), s5=Dependency(3))
    assert turns(scheduler, 2) == [1, 1]
    scheduler.blocked(1)
    assert turns(scheduler, 2) == [3, 3]
    scheduler.close(3)
    assert turns(scheduler, 2) == [5, 5]
    scheduler.ready(1)
    assert turns(scheduler, 2) == [1, 1]


def test_siblings_share_by_weight():  # RFC7540§5.3.2
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(weight=192), s3=Dependency(weight=64))
    assert Counter(turns(scheduler, 400)) == {1: 300, 3: 100}


def test_weight_is_adjusted_while_a_stream_waits():
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency())
    assert Counter(turns(scheduler, 40)) == {1: 20, 3: 20}
    scheduler.adjust(3, Dependency(weight=48))
    assert Counter(turns(scheduler, 400))[3] == pytest.approx(300, abs=2)


def test_exclusive_dependency_takes_the_siblings_as_dependents():  # RFC7540§5.3.1
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency(), s5=Dependency(exclusive=True))
    assert turns(scheduler, 2) == [5, 5]
    scheduler.blocked(5)
    assert set(turns(scheduler, 2)) == {1, 3}


def test_dependency_on_an_unknown_stream_is_the_default():  # RFC7540§5.3.1
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency(99, weight=256, exclusive=True))
    assert Counter(turns(scheduler, 40)) == {1: 20, 3: 20}
    scheduler.adjust(3, Dependency(99, weight=1))
    assert Counter(turns(scheduler, 40)) == {1: 20, 3: 20}
    assert 99 not in scheduler.tree._streams


def test_stream_that_depends_on_itself_has_the_default():
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(1), s3=Dependency())
    scheduler.adjust(3, Dependency(3, weight=200))
    assert Counter(turns(scheduler, 40)) == {1: 20, 3: 20}


@pytest.mark.parametrize("exclusive", [False, True])
def test_loop_is_undone_by_moving_the_dependent_up(exclusive):  # RFC7540§5.3.3
    scheduler = TreeScheduler()
    ready(
        scheduler,
        s1=Dependency(),  # figure 5: A
        s3=Dependency(1),  # B
        s5=Dependency(1),  # C
        s7=Dependency(5),  # D
        s9=Dependency(5),  # E
        s11=Dependency(7),  # F
    )
    scheduler.adjust(1, Dependency(7, exclusive=exclusive))
    assert scheduler.parents == {7: 0, 1: 7, 3: 1, 5: 1, 9: 5, 11: 1 if exclusive else 7}
    assert_as_the_library_has_it(scheduler)
    assert turns(scheduler, 2) == [7, 7]
    scheduler.blocked(7)
    assert set(turns(scheduler, 6)) == ({1} if exclusive else {1, 11})


def test_dependent_of_an_undone_loop_has_no_turn_after_its_end():
    # Left to `priority` 2.0, stream 5 would be below 1 and 3 at once, and be served for ever.
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency(1), s5=Dependency(3), s7=Dependency())
    scheduler.adjust(1, Dependency(3))
    scheduler.blocked(1)
    scheduler.blocked(3)
    scheduler.close(5)
    scheduler.open(9, Dependency())
    scheduler.ready(9)
    assert set(turns(scheduler, 20)) == {7, 9}


def test_dependents_move_up_when_a_stream_ends():  # RFC7540§5.3.4
    scheduler = TreeScheduler()
    ready(scheduler, s1=Dependency(), s3=Dependency(1, 48), s5=Dependency(1, 16))
    scheduler.close(1)
    assert scheduler.parents == {3: 0, 5: 0}
    assert Counter(turns(scheduler, 400)) == {3: 300, 5: 100}


def test_longest_chain_is_turned_around_without_complaint():
    scheduler = TreeScheduler()
    for id in range(1, TREE_LIMIT + 1):
        ready(scheduler, **{f"s{id}": Dependency(id - 1)})
    scheduler.adjust(1, Dependency(TREE_LIMIT, exclusive=True))
    assert scheduler.next() == TREE_LIMIT
    for id in range(1, TREE_LIMIT - 1):
        scheduler.blocked(id)
    scheduler.blocked(TREE_LIMIT)
    ready(scheduler, s900=Dependency())
    assert scheduler.next() in (TREE_LIMIT - 1, 900)


def test_streams_that_find_the_tree_full_take_every_other_turn():
    scheduler = TreeScheduler()
    for id in range(1, TREE_LIMIT + 3):
        scheduler.open(id, Dependency(1))
    assert len(scheduler.parents) == TREE_LIMIT
    for id in (1, TREE_LIMIT + 1, TREE_LIMIT + 2):
        scheduler.ready(id)
        scheduler.adjust(id, Dependency(2))
    a, b = TREE_LIMIT + 1, TREE_LIMIT + 2
    assert turns(scheduler, 5) == [a, 1, b, 1, a]
    scheduler.blocked(a)
    scheduler.blocked(1)
    assert turns(scheduler, 2) == [b, b]
    scheduler.close(b)
    assert scheduler.next() is None


def test_urgencies_mean_nothing_to_a_tree():
    scheduler = TreeScheduler()
    ready(scheduler, s1=Priority(7), s3=Dependency(1))
    scheduler.adjust(3, Priority(0))
    assert turns(scheduler, 2) == [1, 1]


def test_tree_goes_on_with_the_streams_of_the_urgencies():
    former = UrgencyScheduler()
    ready(former, s1=Priority(7), s3=Priority(0), s7=Priority(1))
    former.open(5, DEFAULT)
    dependencies = {1: Dependency(5), 3: Dependency(1, 32), 7: Dependency(1, 16), 9: Dependency()}
    scheduler = TreeScheduler.after(former, dependencies)
    assert scheduler.parents == {1: 5, 3: 1, 5: 0, 7: 1}
    assert turns(scheduler, 2) == [1, 1]
    scheduler.blocked(1)
    assert Counter(turns(scheduler, 30)) == {3: 20, 7: 10}


def assert_as_the_library_has_it(scheduler: TreeScheduler) -> None:
    """Each stream is in one place only, and where we think it is."""
    streams = scheduler.tree._streams
    found = [(child.stream_id, id) for id in streams for child in streams[id].children]
    assert sorted(found) == sorted(scheduler.parents.items())
