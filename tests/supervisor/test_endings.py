"""Each way in which a worker can end has one name, and is counted by it."""

import logging
import os
import signal
from pathlib import Path

import pytest

from tests.supervisor.histories import LIMITS, running
from tricorn_supervisor.child import Child, Stage
from tricorn_supervisor.endings import MEANINGS, Ending, Endings, judge, table
from tricorn_supervisor.memory import OomKills, resident
from tricorn_supervisor.scoreboard import Cause, Scoreboard

README = Path(__file__).parents[2] / "supervisor" / "README.md"


def child(**changes) -> Child:
    made = Child(1, 0, 1, LIMITS, started=0.0, pid=7)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


LEAVING = {"stage": Stage.LEAVING}
KILLED = {"killed": True, "reason": "no heartbeat"}


@pytest.mark.parametrize(
    ("changes", "status", "failed", "starved", "cause", "sentence"),
    [
        (LEAVING, 0, False, False, Cause.CLEAN, "stopped"),
        (LEAVING, -15, False, False, Cause.CLEAN, "stopped"),
        (LEAVING | {"worn": "old"}, 0, False, False, Cause.RECYCLE, "stopped"),
        (LEAVING, 1, False, False, Cause.EXIT, "exited with status 1"),
        ({}, 0, False, False, Cause.EXIT, "exited with status 0"),
        ({}, 3, True, False, Cause.EXCEPTION, "exited with status 3"),
        ({}, -11, False, False, Cause.SIGNAL, "ended by SIGSEGV"),
        ({}, -9, False, False, Cause.SIGNAL, "ended by SIGKILL"),
        ({}, -9, False, None, Cause.SIGNAL, "ended by SIGKILL (out of memory?)"),
        ({}, -9, False, True, Cause.OOM, "ended by SIGKILL: out of memory"),
        (KILLED | {"hung": True}, -9, False, False, Cause.HANG, "killed by the master: no heart"),
        (KILLED | {"hung": True}, -11, False, False, Cause.SIGNAL, "ended by SIGSEGV"),
        (KILLED, -9, False, False, Cause.TIMEOUT, "killed by the master: no heartbeat"),
    ],
)
def test_every_ending_has_a_cause(changes, status, failed, starved, cause, sentence):
    ending = judge(child(**changes), status, failed=failed, starved=starved)
    assert ending.cause is cause
    assert ending.sentence.startswith(sentence)


def test_readme_has_the_table_of_the_code():
    assert set(MEANINGS) == set(Cause)
    assert table() in README.read_text()


def test_one_line_says_the_cause_and_the_scoreboard_counts_it(caplog):
    board = Scoreboard(2)
    endings = Endings(board)
    with caplog.at_level(logging.INFO):
        endings.bury(child(), -11)
        endings.bury(child(stage=Stage.LEAVING), 0)
        endings.bury(child(stage=Stage.LEAVING), 0)
    assert caplog.messages[:2] == [
        "worker=1 gen=1 pid=7 cause=signal ended by SIGSEGV",
        "worker=1 gen=1 pid=7 cause=clean stopped",
    ]
    counts = board.endings()
    assert counts.pop(Cause.SIGNAL) == 1
    assert counts.pop(Cause.CLEAN) == 2
    assert set(counts.values()) == {0}


def test_a_row_that_is_claimed_again_leaves_the_counts():
    board = Scoreboard(1)
    board.count_ending(Cause.HANG)
    board.claim(0, number=1, generation=1)
    board.release(0)
    assert board.endings()[Cause.HANG] == 1


def test_a_failure_counts_for_the_process_that_told_it_only(caplog):
    endings = Endings(board := Scoreboard(1))
    endings.hear_detail(child(), "Traceback: it is not there")
    endings.hear_failure(child(), "no module named app")
    assert "no module named app\nTraceback: it is not there" in caplog.text
    endings.bury(child(), 3)
    endings.bury(child(), 3)
    assert board.endings()[Cause.EXCEPTION] == board.endings()[Cause.EXIT] == 1


def test_what_workers_say_is_not_kept_for_ever(caplog):
    endings = Endings(Scoreboard(1))
    for number in range(1000):
        endings.hear_failure(child(), f"failure {number}")
    assert len(endings.reasons(1)) < 100
    endings.hear_failure(child(), "failure 999")
    assert caplog.text.count("failure 999") == 1


def test_worker_that_hung_is_told_from_one_that_drains_for_too_long():
    history = running()
    history.hang(0)
    history.pass_time(40)
    hung = history.exit(0, -signal.SIGKILL)
    assert judge(hung, -9, failed=False, starved=False) == Ending(
        Cause.HANG, "killed by the master: no heartbeat"
    )
    history.pool.leaving(1, history.now)
    history.pass_time(60)
    late = history.exit(1, -signal.SIGKILL)
    assert judge(late, -9, failed=False, starved=False).cause is Cause.TIMEOUT


# The kernel's count


def counting(tmp_path, membership: str, file: str) -> tuple[OomKills, list]:
    (tmp_path / "membership").write_text(membership)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("low 0\noom 3\noom_kill 3\n")
    return OomKills(tmp_path, tmp_path / "membership"), path


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("0::/pod/app\n", "pod/app/memory.events"),
        ("0::/elsewhere\n", "memory.events"),
        ("4:memory:/pod\n0::/\n", "memory/pod/memory.oom_control"),
        ("4:cpu,memory:/gone\n", "memory/memory.oom_control"),
        ("", "memory.events"),
    ],
)
def test_kills_for_want_of_memory_are_taken_one_by_one(tmp_path, membership, file):
    kills, path = counting(tmp_path, membership, file)
    assert kills.take() is False
    path.write_text("low 0\noom 5\noom_kill 5\n")
    assert [kills.take() for _ in range(3)] == [True, True, False]


def test_where_the_system_does_not_count_nobody_knows(tmp_path):
    assert OomKills(tmp_path, tmp_path / "none").take() is None


def test_memory_of_a_process_is_seen_and_of_none_is_not():
    assert resident(os.getpid()) > 2**20
    assert resident(2**30) is None
