"""The scoreboard: what one process writes the others read."""

import os

import pytest

from tricorn_supervisor import scoreboard
from tricorn_supervisor.scoreboard import COUNTERS, Cause, Field, Fleet, Scoreboard, State


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
        "in_flight_1": 0,
        "in_flight_2": 0,
        "in_flight_3": 0,
        "certificate_expiry": 0,
    }


def test_lane_is_owned_from_when_its_process_is_ready_until_it_is_reaped():
    board = board_of(0, 0)
    board.claim(2, number=3, generation=1, lane=0)
    board.claim(3, number=1, generation=2, lane=255)
    assert not any(board.owns_lane(lane) for lane in range(256))
    for slot in (2, 3):
        board.row(slot).publish(state=State.READY)
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


# Counters


def counters(board: Scoreboard) -> list[int]:
    """The first three of all processes there have ever been."""
    dead, living = board.snapshot()
    return [sum(column) for column in zip(dead, *(row[COUNTERS:] for row in living), strict=True)][
        :3
    ]


def test_counters_of_the_living_and_the_dead_add_up():
    board = board_of(0, 0)
    board.row(0).count([1, 2, 3])
    board.row(1).count([10, 0, 0])
    assert counters(board) == [11, 2, 3]
    board.release(0)
    assert counters(board) == [11, 2, 3]
    board.claim(0, number=1, generation=2)
    board.row(0).count([5])
    assert counters(board) == [16, 2, 3]


def test_release_without_a_process_counts_nothing_twice():
    board = board_of(0)
    board.row(0).count([1])
    board.release(0)
    board.claim(0, number=1, generation=1)
    board.release(0)
    board.release(0)
    assert counters(board) == [1, 0, 0]


def test_reader_waits_for_a_death_that_is_being_counted(monkeypatch):
    board = board_of(0)
    board.row(0).count([1])
    inside = board.snapshot
    seen = []

    class Clock:
        def sleep(self, seconds):
            seen.append(seconds)
            board._cells[scoreboard.SEQUENCE] += 1

    monkeypatch.setattr(scoreboard, "time", Clock())
    board._cells[scoreboard.SEQUENCE] += 1
    inside()
    assert len(seen) == 1


def test_a_master_that_stands_still_while_it_counts_gives_no_wrong_sum(monkeypatch):
    monkeypatch.setattr(scoreboard, "ATTEMPTS", 2)
    board = board_of(0)
    board._cells[scoreboard.SEQUENCE] += 1
    with pytest.raises(TimeoutError, match="stands still"):
        board.snapshot()


def test_fleet_is_what_the_master_says():
    board = Scoreboard(2)
    board.tell(workers=4, state=State.DRAINING)
    board.count_ending(Cause.TIMEOUT)
    assert board.fleet(Fleet.WORKERS) == 4 and board.fleet(Fleet.STATE) == State.DRAINING
    assert board.fleet(Fleet.READY) == 0 and board.endings()[Cause.TIMEOUT] == 1


def test_nothing_in_the_head_row_has_two_meanings():
    used = [scoreboard.USED, scoreboard.SEQUENCE, *Fleet]
    used += [scoreboard.ENDINGS + cause for cause in Cause]
    assert len(set(used)) == len(used) and max(used) < COUNTERS
