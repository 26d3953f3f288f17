"""observe/admin.py: what probes are told of a scoreboard."""

import json
import time

import pytest

from tests.support.peers import H1Peer
from tricorn.observe.admin import Admin
from tricorn.observe.health import health
from tricorn_supervisor.scoreboard import Scoreboard, State


def board(*states: State, wanted: int = 2, started: int = 1, state: State = State.READY, age=0.0):
    made = Scoreboard(8)
    made.tell(state=state, workers=wanted, generation=3, started=started)
    for slot, each in enumerate(states):
        made.claim(slot, number=slot + 1, generation=3)
        made.row(slot).publish(state=each, beat=time.monotonic_ns() - int(age * 1e9))
    return made


def ask(board: Scoreboard, target: str, method: str = "GET", heartbeat_timeout: float = 30.0):
    return H1Peer(Admin(board, heartbeat_timeout)).fetch(target, method)


def said(board: Scoreboard, target: str, **more) -> tuple[int, str]:
    answer = ask(board, target, **more)
    found = json.loads(answer.body)
    assert found["ok"] == (answer.status == 200)
    return answer.status, found["why"]


READY, STARTING, DRAINING = State.READY, State.STARTING, State.DRAINING
WELL = (200, "all is well")


@pytest.mark.parametrize("target", ["/livez", "/readyz", "/startupz"])
def test_all_is_well_where_all_workers_serve(target):
    assert said(board(READY, READY), target) == WELL


def test_one_ready_worker_makes_the_server_ready_but_not_started():
    half = board(READY, STARTING, started=0, state=STARTING)
    assert said(half, "/readyz") == WELL
    assert said(half, "/startupz") == (503, "1 of 2 workers are ready")


def test_once_started_is_started_for_ever():
    assert said(board(STARTING, STARTING), "/startupz") == WELL


def test_start_is_alive_but_not_ready():
    begun = board(STARTING, STARTING, started=0, state=STARTING)
    assert said(begun, "/livez") == WELL
    assert said(begun, "/readyz") == (503, "no worker is ready")


def test_draining_worker_is_not_ready():
    assert said(board(DRAINING, STARTING), "/readyz") == (503, "no worker is ready")


def test_server_that_was_told_to_stop_is_alive_but_not_ready():
    stopping = board(READY, READY, state=DRAINING)
    assert said(stopping, "/readyz") == (503, "the server was told to stop")
    assert said(stopping, "/livez") == WELL


def test_fleet_of_which_nobody_answers_is_dead():
    hung = board(READY, READY, age=16)
    expected = (503, "none of the 2 workers that serve answers")
    assert said(hung, "/livez") == said(hung, "/readyz") == expected


def test_without_a_heartbeat_time_out_nobody_is_silent():
    assert said(board(READY, age=10_000), "/livez", heartbeat_timeout=0.0) == WELL


def test_one_worker_that_answers_keeps_the_server_ready():
    mixed = board(READY, READY)
    mixed.row(0).beat(1)
    assert said(mixed, "/readyz") == WELL
    assert health(mixed, 30.0).silent == 1


def test_body_says_why_in_numbers():
    answer = ask(board(READY, STARTING, started=0), "/startupz")
    assert json.loads(answer.body) == {
        "ok": False,
        "why": "1 of 2 workers are ready",
        "wanted": 2,
        "ready": 1,
        "silent": 0,
        "generation": 3,
        "started": False,
        "draining": False,
    }


def test_head_is_answered_and_nothing_else():
    assert ask(board(READY), "/livez", method="HEAD").status == 200
    assert ask(board(READY), "/livez", method="POST").status == 405
    assert ask(board(READY), "/").status == 404
