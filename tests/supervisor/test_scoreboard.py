"""The scoreboard: what one process writes the others read."""

import os

import pytest

from tricorn_supervisor.scoreboard import Field, Scoreboard, State


def board_of(*connections: int) -> Scoreboard:
    board = Scoreboard(16)
    for slot, count in enumerate(connections):
        board.claim(slot, number=slot + 1, generation=1)
        board.row(slot).publish(state=State.READY, connections=count)
    return board


def test_row_reads_what_it_was_given():
    row = board_of(3, 4).row(1)
    row.publish(requests=5, responses_2xx=4, aborted=2**62)
    row.beat(123)
    row[Field.IN_FLIGHT] = -1
    assert row.as_dict() == {
        "pid": 0,
        "number": 2,
        "generation": 1,
        "state": State.READY,
        "beat": 123,
        "connections": 4,
        "accepted": 0,
        "requests": 5,
        "responses_1xx": 0,
        "responses_2xx": 4,
        "responses_3xx": 0,
        "responses_4xx": 0,
        "responses_5xx": 0,
        "in_flight": -1,
        "dropped_log_lines": 0,
        "aborted": 2**62,
        "lane": 0,
    }


def test_lane_is_owned_until_its_process_is_reaped():
    board = board_of(0, 0)
    board.claim(2, number=3, generation=1, lane=0)
    board.claim(3, number=1, generation=2, lane=255)
    assert [lane for lane in range(256) if board.owns_lane(lane)] == [0, 255]
    board.row(3).publish(state=State.DRAINING)
    assert board.owns_lane(255)
    board.release(3)
    assert [lane for lane in range(256) if board.owns_lane(lane)] == [0]


def test_process_without_http_3_owns_no_lane():
    assert not any(board_of(0, 0).owns_lane(lane) for lane in range(256))


def test_rows_do_not_overlap():
    board = board_of(0, 0, 0)
    for field in Field:
        board.row(1)[field] = 7
    assert board.row(0)[Field.ABORTED] == board.row(2)[Field.PID] == 0


def test_every_field_has_a_column_of_its_own():
    assert sorted(Field) == list(range(len(Field)))


def test_unknown_field_is_an_error():
    with pytest.raises(KeyError):
        board_of(0).row(0).publish(conections=1)


def test_slot_outside_the_board_is_an_error():
    with pytest.raises(IndexError):
        Scoreboard(2).row(2)


def test_connections_are_those_of_ready_processes():
    board = board_of(5, 7, 9)
    assert board.connections() == (21, 3)
    board.row(1)[Field.STATE] = State.DRAINING
    board.row(2)[Field.STATE] = State.STARTING
    assert board.connections() == (5, 1)


def test_empty_board_has_no_connections():
    assert Scoreboard(4).connections() == (0, 0)


def test_released_slot_no_longer_counts():
    board = board_of(5, 7, 9)
    board.release(2)
    board.release(0)
    assert board.connections() == (7, 1)
    assert [row.slot for row in board.living()] == [1]


def test_claimed_slot_starts_from_zero():
    board = board_of(5)
    board.release(0)
    board.claim(0, number=4, generation=2)
    assert {name: value for name, value in board.row(0).as_dict().items() if value} == {
        "number": 4,
        "generation": 2,
        "state": State.STARTING,
    }


@pytest.mark.slow
def test_forked_child_writes_what_its_parent_reads():
    board = board_of(0)
    if not (pid := os.fork()):
        board.row(0).publish(connections=42)
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.connections() == (42, 1)
