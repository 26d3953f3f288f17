"""RFC 9218, extensible priorities, and RFC 7540's tree: the order of octets in a small window.

Every response is `SIZE` octets. The window of the connection is opened a turn at a time, so what
each turn carries shows whose it was.
"""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame

from tests.support import apps, frames
from tests.support.frames import GET
from tests.wire.states import NOTHING, connected, connection, cost
from tricorn.config import Config

TURN = 16_384
SIZE = 4 * TURN
FIRST = 65_535


def asking(id: int, priority: bytes | None = None, path: bytes = b"/", **options: object) -> bytes:
    fields = [*GET[:3], (b":path", path)]
    if priority is not None:
        fields.append((b"priority", priority))
    return frames.headers(id, fields, **options)


def starved(app=None, config: Config | None = None, *, settings: dict | None = None):
    """A client that has room for each stream, and none for the connection."""
    window = {frames.INITIAL_WINDOW_SIZE: 2**20, **(settings or {})}
    peer = connected(app or apps.answers(b"x" * SIZE), config, settings=window)
    peer.generous = False
    peer.send(frames.headers(1, [*GET[:3], (b":path", b"/first")]))
    peer.grant(0, SIZE - FIRST)
    assert peer.answer(1).complete
    return peer


def order(peer, turns: int = 40) -> list[int]:
    """The streams whose turns come, one after the other."""
    seen = len(peer.of(DataFrame))
    for _ in range(turns):
        peer.grant(0, TURN)
    return [each.stream_id for each in peer.of(DataFrame)[seen:]]


def of(ids: list[int]) -> list[int]:
    """As they are, without repetitions."""
    return [id for at, id in enumerate(ids) if not at or ids[at - 1] != id]


# 4. Priority Parameters


def test_the_more_urgent_comes_first():
    peer = starved()
    peer.send(asking(3, b"u=5") + asking(5, b"u=0") + asking(7) + asking(9, b"u=7"))
    assert of(order(peer)) == [5, 7, 3, 9]


@pytest.mark.parametrize("first", range(7))
def test_each_urgency_is_more_urgent_than_the_next(first):
    peer = starved()
    peer.send(asking(3, b"u=%d" % (first + 1)) + asking(5, b"u=%d" % first))
    assert of(order(peer)) == [5, 3]


def test_what_is_not_incremental_comes_in_the_order_of_its_streams():
    peer = starved()
    peer.send(asking(7, b"u=3") + asking(9, b"u=3") + asking(11, b"u=3"))
    assert of(order(peer)) == [7, 9, 11]


def test_what_is_incremental_takes_turns():
    peer = starved()
    peer.send(asking(3, b"i") + asking(5, b"i") + asking(7, b"i"))
    assert order(peer)[:9] == [3, 5, 7] * 3


def test_urgency_comes_before_increments():
    peer = starved()
    peer.send(asking(3, b"u=4, i") + asking(5, b"u=3") + asking(7, b"u=4, i"))
    assert order(peer)[:8] == [5, 5, 5, 5, 3, 7, 3, 7]


def test_a_client_that_says_nothing_gets_them_in_turn():
    peer = starved()
    peer.send(asking(3) + asking(5))
    assert order(peer)[:4] == [3, 5, 3, 5]


def test_a_client_that_speaks_once_means_the_defaults_where_it_says_nothing():  # §4
    peer = starved()
    peer.send(asking(3, b"u=2") + asking(5) + asking(7) + asking(9, b"u=4"))
    assert of(order(peer)) == [3, 5, 7, 9]


@pytest.mark.parametrize("value", [b"u=8", b"u=-1", b"u=a", b"u", b"i=1", b"???", b"", b"x=1"])
def test_what_cannot_be_understood_has_the_default(value):
    peer = starved()
    peer.send(asking(3, b"u=4") + asking(5, value) + asking(7, b"u=2"))
    assert of(order(peer)) == [7, 5, 3]


def test_a_late_request_that_is_more_urgent_comes_next():
    peer = starved()
    peer.send(asking(3, b"u=3"))
    assert order(peer, 1) == [3]
    peer.send(asking(5, b"u=1"))
    assert of(order(peer)) == [5, 3]


def test_a_stream_without_a_window_leaves_its_turn_to_others():
    peer = starved(settings={frames.INITIAL_WINDOW_SIZE: SIZE})
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: TURN}))
    peer.send(asking(3, b"u=0") + asking(5, b"u=6"))
    assert order(peer, 3) == [3, 5]
    peer.grant(5, SIZE)
    peer.grant(3, SIZE)
    assert of(order(peer))[-2:] == [3, 5]


def test_the_priority_is_in_the_scope_as_the_field_that_it_is():
    app = apps.Recorder()
    connected(app).send(asking(1, b"u=1, i"))
    assert (b"priority", b"u=1, i") in app.call.scope["headers"]


def test_the_more_urgent_comes_first_where_the_transport_is_what_is_short():  # §10
    peer = starved()
    peer.grant(0, 2**30)
    peer.stop_reading()
    peer.send(*[asking(id, b"u=5") for id in range(3, 23, 2)])
    peer.send(asking(23, b"u=0"))
    peer.read()
    sent = of([each.stream_id for each in peer.of(DataFrame)][1:])
    assert [id for id in sent if id != 23] == [1, *range(3, 23, 2)]
    assert sent.index(23) < 6, "only what was on its way already comes before it"


# 7.1. HTTP/2 PRIORITY_UPDATE Frame


def test_a_priority_can_be_changed():
    peer = starved()
    peer.send(asking(3, b"u=3") + asking(5, b"u=3"))
    assert order(peer, 1) == [3]
    peer.send(frames.priority_update(5, b"u=1"))
    assert of(order(peer)) == [5, 3]


def test_a_priority_may_come_before_its_stream_and_outdoes_the_field():
    peer = starved()
    peer.send(frames.priority_update(5, b"u=1"))
    peer.send(asking(3, b"u=2") + asking(5, b"u=6"))
    assert of(order(peer)) == [5, 3]


def test_an_update_replaces_all_that_was_said():
    peer = starved()
    peer.send(asking(3, b"u=2, i") + asking(5, b"u=2, i") + asking(7, b"u=2"))
    peer.send(frames.priority_update(3, b"i"))
    assert of(order(peer))[-1] == 3


def test_an_update_does_not_make_a_stream_lose_its_place():
    peer = starved()
    peer.send(asking(3, b"u=3") + asking(5, b"u=3") + frames.priority_update(3, b"u=3"))
    assert of(order(peer)) == [3, 5]


@pytest.mark.parametrize(
    "data, code",
    [
        (frames.priority_update(1, b"u=1", stream=1), frames.PROTOCOL_ERROR),
        (frames.priority_update(0, b"u=1"), frames.PROTOCOL_ERROR),
        (frames.frame(frames.PRIORITY_UPDATE, b"\0\0\1"), frames.FRAME_SIZE_ERROR),
        (frames.frame(frames.PRIORITY_UPDATE), frames.FRAME_SIZE_ERROR),
    ],
)
def test_an_update_that_is_none_ends_the_connection(data, code):
    assert cost(connected(), data) == connection(code)


@pytest.mark.parametrize("id", [2, 3, 2**31 - 1, 2**31 + 3])
@pytest.mark.parametrize("value", [b"", b"u=1", b"\xff" * 99, b"u=" * 5000])
def test_an_update_costs_nothing_otherwise(id, value):
    assert cost(connected(), frames.priority_update(id, value)) == NOTHING


def test_streams_that_never_come_do_not_keep_others_from_being_heard():
    peer = starved()
    for id in range(101, 701, 2):
        peer.send(frames.priority_update(id, b"u=0"))
        peer.advance(0.2)
        peer.send(frames.ping())
    peer.send(frames.priority_update(705, b"u=0"))
    peer.send(asking(703, b"u=1") + asking(705, b"u=4"))
    assert of(order(peer)) == [705, 703]


def test_updates_of_streams_that_have_ended_are_ignored():
    peer = starved()
    peer.send(frames.priority_update(1, b"u=0"))
    peer.send(asking(3, b"u=3") + asking(5, b"u=2"))
    assert of(order(peer)) == [5, 3]


# 8. Merging Client- and Server-Driven Priority Parameters


def responding(values: dict[str, bytes]):
    async def application(scope, receive, send):
        value = values.get(scope["path"])
        fields = [] if value is None else [(b"priority", value)]
        await send(apps.start(200, *fields))
        await send(apps.body(b"x" * SIZE))

    return application


def test_the_response_has_the_last_word():
    peer = starved(responding({"/late": b"u=6", "/soon": b"u=0"}))
    peer.send(asking(3, b"u=1", b"/late") + asking(5, b"u=5", b"/soon") + asking(7, b"u=3"))
    assert of(order(peer)) == [5, 7, 3]


def test_the_response_changes_only_what_it_names():
    peer = starved(responding({"/i": b"i"}))
    peer.send(asking(3, b"u=2", b"/i") + asking(5, b"u=2", b"/i") + asking(7, b"u=1"))
    assert order(peer)[:8] == [7, 7, 7, 7, 3, 5, 3, 5]


def test_an_update_behind_the_response_counts():
    peer = starved(responding({"/late": b"u=6"}))
    peer.send(asking(3, b"u=1", b"/late") + asking(5, b"u=3"))
    peer.send(frames.priority_update(3, b"u=0"))
    assert of(order(peer)) == [3, 5]


# RFC7540§5.3: the tree


def test_siblings_share_by_weight():
    peer = starved()
    peer.send(asking(3, priority=None) + frames.priority(3, 0, 192))
    peer.send(asking(5) + frames.priority(5, 0, 64))
    turns = order(peer, 4)
    assert turns.count(3) == 3 and turns.count(5) == 1


def in_tree(id: int, depends_on: int = 0, weight: int = 16, exclusive: bool = False) -> bytes:
    return frames.headers(id, GET, priority=(depends_on, weight, exclusive))


def test_who_depends_on_another_waits_for_it():
    peer = starved()
    peer.send(in_tree(3, 0, 200) + in_tree(5, 3, 256) + in_tree(7, 5, 256))
    assert of(order(peer)) == [3, 5, 7]


def test_it_may_be_the_later_stream_that_is_waited_for():
    peer = starved()
    peer.send(frames.priority(3, 5) + asking(3) + in_tree(5, 0, 9))
    assert of(order(peer)) == [5, 3]


def test_an_exclusive_dependency_takes_all_others_with_it():
    peer = starved()
    peer.send(in_tree(3, 0, 20) + in_tree(5, 0, 20) + in_tree(7, 0, 20, True))
    assert of(order(peer))[0] == 7 and order(peer, 0) == []


def test_a_tree_can_be_changed():
    peer = starved()
    peer.send(in_tree(3, 0, 20) + in_tree(5, 3, 20))
    assert order(peer, 1) == [3]
    peer.send(frames.priority(3, 5, 20))
    assert of(order(peer)) == [5, 3]


def test_a_stream_can_be_put_back_where_it_was():
    peer = starved()
    peer.send(in_tree(3) + in_tree(5, 3, 20))
    assert order(peer, 2) == [3, 3]
    peer.send(frames.priority(5))
    assert set(order(peer, 2)) == {3, 5}


def test_a_circle_is_opened_and_everything_is_sent():  # CVE-2015-8659
    peer = starved()
    peer.send(in_tree(3, 7, 20) + in_tree(5, 3, 20) + in_tree(7, 5, 20))
    peer.send(frames.priority(3, 7, 20), frames.priority(3, 5, 1, True))
    order(peer)
    assert all(peer.answer(id).complete for id in (3, 5, 7)) and peer.goaway is None


def test_a_blocked_parent_lets_its_dependents_go_on():
    peer = starved(settings={frames.INITIAL_WINDOW_SIZE: SIZE})
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: TURN}))
    peer.send(in_tree(3, 0, 20) + in_tree(5, 3, 20))
    assert order(peer, 3) == [3, 5]


def test_who_has_spoken_the_new_language_is_not_heard_in_the_old_one():  # §2.1.1
    peer = starved()
    peer.send(asking(3, b"u=3") + asking(5, b"u=3") + frames.priority(3, 5))
    assert of(order(peer)) == [3, 5]


def test_who_has_said_that_it_forgoes_the_tree_is_taken_at_its_word():  # §2.1
    peer = starved(settings={frames.NO_RFC7540_PRIORITIES: 1})
    peer.send(in_tree(3, 0, 1) + in_tree(5, 0, 256) + frames.priority(3, 5))
    assert of(order(peer)) == [3, 5]


# What the operator may say


def test_with_the_tree_alone_the_field_means_nothing():
    config = Config(priority="rfc7540")
    peer = starved(config=config)
    peer.send(asking(3, b"u=7") + asking(5, b"u=0") + frames.priority(5, 3))
    assert of(order(peer)) == [3, 5]


def test_with_the_tree_alone_clients_are_not_told_to_leave_it():  # §2.1
    peer = connected(config=Config(priority="rfc7540"))
    assert not peer.settings.get(frames.NO_RFC7540_PRIORITIES)
    assert connected().settings[frames.NO_RFC7540_PRIORITIES] == 1


@pytest.mark.parametrize(
    "data", [frames.priority(3, 5), frames.priority_update(5, b"u=0"), b""], ids=repr
)
def test_without_priorities_everybody_takes_turns(data):
    peer = starved(responding({"/a": b"u=0"}), Config(priority="off"))
    peer.send(asking(3, b"u=7") + asking(5, b"u=0", b"/a") + data)
    assert order(peer)[:4] == [3, 5, 3, 5]


def test_a_large_response_does_not_leave_before_a_more_urgent_one():  # §10
    peer = connected(apps.answers(b"x" * 500_000), settings={frames.INITIAL_WINDOW_SIZE: 2**24})
    peer.grant(0, 2**24)
    peer.stop_reading()
    before = len(peer.frames)
    peer.send(asking(1, b"u=7") + asking(3, b"u=0"))
    peer.read()
    ids = [each.stream_id for each in peer.frames[before:] if isinstance(each, DataFrame)]
    assert of(ids) == [3, 1]
