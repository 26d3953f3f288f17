"""The channel: lines go up, EOF is death."""

import select
from collections.abc import Iterator

import pytest

from tricorn_supervisor import notify
from tricorn_supervisor.channel import LINE_LIMIT, ChildEnd, ParentEnd, open_channel
from tricorn_supervisor.scoreboard import Field, Scoreboard, State


@pytest.fixture
def ends() -> Iterator[tuple[ParentEnd, ChildEnd]]:
    parent, sock = open_channel()
    board = Scoreboard(4)
    board.claim(2, number=3, generation=1)
    child = ChildEnd(3, 2, 1, (), board, sock)
    yield parent, child
    parent.close()
    sock.close()


def test_nothing_is_received_before_anything_was_sent(ends):
    parent, _ = ends
    assert parent.receive() == [] and not parent.closed


def test_ready_and_stopping_arrive_in_order(ends):
    parent, child = ends
    child.ready()
    child.stopping()
    assert parent.receive() == [notify.READY, notify.STOPPING]


def test_ready_and_stopping_show_on_the_scoreboard(ends):
    _, child = ends
    child.ready()
    assert child.row[Field.STATE] == State.READY
    child.stopping()
    assert child.row[Field.STATE] == State.DRAINING


def test_status_arrives(ends):
    parent, child = ends
    child.status("warm\nand well")
    assert parent.receive() == [(notify.STATUS, "warm\nand well")]


def test_failure_arrives_with_its_traceback_first(ends):
    parent, child = ends
    child.failed("no module named app", 'Traceback\n  File "\\x", line 1\n')
    assert parent.receive() == [
        (notify.DETAIL, 'Traceback\n  File "\\x", line 1\n'),
        (notify.FAILED, "no module named app"),
    ]


def test_traceback_is_cut_in_the_middle(ends):
    parent, child = ends
    child.failed("no", "begin" + "x" * 200_000 + "end")
    (_, detail), _ = parent.receive()
    assert len(detail) <= 64 * 1024
    assert detail.startswith("beginx") and detail.endswith("xend") and "[...]" in detail


def test_child_that_dies_is_noticed_after_its_last_words(ends):
    parent, child = ends
    child.failed("no")
    child.socket.close()
    assert dict(parent.receive())[notify.FAILED] == "no"
    assert parent.closed
    assert parent.receive() == []


def test_master_that_dies_makes_the_child_end_readable(ends):
    parent, child = ends
    assert not select.select([child], [], [], 0)[0]
    parent.close()
    assert select.select([child], [], [], 0)[0]


def test_child_without_a_master_speaks_to_nobody(ends):
    parent, child = ends
    parent.close()
    child.status("x")
    child.ready()
    child.failed("x")


def test_status_waits_for_nobody_and_no_line_is_torn(ends):
    parent, child = ends
    for number in range(3000):
        child.status(f"{number} " + "x" * 100)
    received = parent.receive()
    child.status("last")
    received += parent.receive()
    assert all(key == notify.STATUS and value.strip() for key, value in received)
    assert received[-1] == (notify.STATUS, "last")
    assert len(received) < 3001


def test_endless_line_does_not_fill_the_master(ends):
    parent, child = ends
    child.socket.setblocking(False)
    for _ in range(2 * LINE_LIMIT // 4096):
        child.socket.send(b"x" * 4096)
        assert parent.receive() == []
    assert len(parent._buffer) <= LINE_LIMIT
