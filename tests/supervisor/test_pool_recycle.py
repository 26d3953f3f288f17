"""Worn workers are replaced one at a time, by replacements that are ready first."""

from tests.supervisor.histories import History, running


def wear(history: History, *slots: int) -> None:
    for slot in slots:
        history.pool.worn(slot, "old")
    history.step()


def test_worn_worker_serves_until_its_replacement_is_ready():
    history = running()
    wear(history, 0)
    assert history.take() == ["spawn 1/1@2"]
    assert history.pool.ready_count == 2
    history.ready(2)
    assert history.take() == ["TERM 1/1@0"]
    assert history.pool.ready_count == 2


def test_one_at_a_time_until_the_old_one_is_gone():
    history = running(3)
    wear(history, 0, 1, 2)
    assert history.take() == ["spawn 1/1@3"]
    history.ready(3)
    history.pass_time(5)
    assert history.take() == ["TERM 1/1@0"]
    history.exit(0, 0)
    assert history.take() == ["spawn 2/1@0"]


def test_replacement_that_dies_is_tried_again_after_a_pause_while_the_old_one_serves():
    history = running()
    wear(history, 0)
    for _ in range(2):
        history.exit(2, 1)
    assert history.take() == ["spawn 1/1@2"] * 2
    history.pass_time(0.1)
    assert history.take() == ["spawn 1/1@2"]
    history.ready(2)
    assert history.take() == ["TERM 1/1@0"]


def test_worn_worker_that_dies_is_replaced_as_any_other():
    history = running()
    wear(history, 0)
    history.exit(0, -11)
    assert history.take() == ["spawn 1/1@2"]
    history.ready(2)
    history.pass_time(60)
    assert history.take() == []


def test_crashed_sibling_comes_first():
    history = running()
    history.exit(1, -11)
    wear(history, 0)
    assert history.take() == ["spawn 2/1@1"]
    history.ready(1)
    assert history.take() == ["spawn 1/1@2"]


def test_reload_is_not_mixed_with_recycling():
    history = running()
    history.reload()
    wear(history, 0, 1)
    assert history.take() == ["spawn 1/2@2"]
    history.ready(2)
    history.pass_time(5)
    assert history.take() == ["proven 2", "TERM 1/1@0", "spawn 2/2@3"]
    history.ready(3)
    assert history.take() == ["TERM 2/1@1", "reloaded 2"]


def test_canary_that_is_worn_is_replaced_after_the_reload():
    history = running(1)
    history.reload()
    history.ready(1)
    wear(history, 1)
    history.take()
    history.pass_time(5)
    assert history.take() == ["proven 2", "TERM 1/1@0", "reloaded 2", "spawn 1/2@2"]


def test_stop_forgets_wear():
    history = running()
    history.stop()
    wear(history, 0, 1)
    assert history.take() == ["TERM 1/1@0", "TERM 2/1@1"]


def test_worker_taken_away_is_not_replaced():
    history = running()
    wear(history, 1)
    history.take()
    history.scale(-1)
    assert history.take() == ["TERM 2/1@1", "TERM 2/1@2"]
