"""The pool's rules for reloads, one history each."""

from dataclasses import replace

from tests.supervisor.histories import LIMITS, History, running


def test_reload_starts_one_canary_beside_the_old_fleet():
    history = running()
    history.reload()
    assert history.take() == ["spawn 1/2@2"]
    history.ready(2)
    history.pass_time(4.9)
    assert history.take() == []


def test_proven_canary_replaces_its_number_then_the_rest_follow_one_at_a_time():
    history = running(3)
    history.reload()
    history.ready(3)
    history.take()
    history.pass_time(5)
    assert history.take() == ["proven 2", "TERM 1/1@0", "spawn 2/2@4"]
    history.pass_time(20)
    assert history.take() == []
    history.ready(4)
    assert history.take() == ["TERM 2/1@1", "spawn 3/2@5"]
    history.ready(5)
    assert history.take() == ["TERM 3/1@2", "reloaded 2"]


def test_reload_works_with_one_worker():
    history = running(1)
    history.reload()
    history.ready(1)
    history.pass_time(5)
    assert history.take() == ["spawn 1/2@1", "proven 2", "TERM 1/1@0", "reloaded 2"]


def test_reload_without_settling_time_goes_on_as_soon_as_the_canary_is_ready():
    history = running(1)
    history.reload(limits=replace(LIMITS, reload_settle=0))
    history.ready(1)
    assert history.take() == ["spawn 1/2@1", "proven 2", "TERM 1/1@0", "reloaded 2"]


def test_canary_that_cannot_start_aborts_the_reload():
    history = running()
    history.reload()
    history.take()
    history.exit(2, 3)
    assert history.take() == ["aborted 2"]
    history.pass_time(1000)
    assert history.take() == []
    assert history.pool.ready_count == 2


def test_canary_that_is_not_ready_in_time_aborts_the_reload():
    history = running()
    history.reload()
    history.take()
    history.pass_time(61)
    assert history.take() == ["DUMP 1/2@2", "KILL 1/2@2"]
    history.exit(2, -9)
    assert history.take() == ["aborted 2"]


def test_canary_that_crashes_while_settling_aborts_the_reload():
    history = running()
    history.reload()
    history.ready(2)
    history.pass_time(4.9)
    history.take()
    history.exit(2, -11)
    assert history.take() == ["aborted 2"]


def test_canary_that_hangs_while_settling_aborts_the_reload():
    history = running()
    history.reload(limits=replace(LIMITS, reload_settle=60))
    history.ready(2)
    history.hang(2)
    history.take()
    history.pass_time(30)
    assert history.take() == ["DUMP 1/2@2", "KILL 1/2@2"]
    history.exit(2, -9)
    assert history.take() == ["aborted 2"]


def test_canary_that_cannot_be_forked_aborts_the_reload():
    history = running()
    history.pool.want_reload()
    history.step()
    history.pool.reload(2, LIMITS, 2)
    history.pool.step(history.now)
    history.pool.unspawned(2, history.now, "Cannot allocate memory")
    history.take()
    history.step()
    assert history.take() == ["aborted 2"]


def test_aborted_reload_leaves_room_for_the_next():
    history = running(1)
    history.reload()
    history.exit(1, 3)
    history.reload()
    assert history.take() == ["spawn 1/2@1"]


def test_refused_configuration_changes_nothing():
    history = running(1)
    history.pool.want_reload()
    history.pass_time(100)
    assert history.take() == ["load"]


def test_failed_later_step_is_retried_and_its_old_worker_serves_on():
    history = running()
    history.reload()
    history.ready(2)
    history.pass_time(5)
    history.take()
    for _ in range(3):
        history.exit(3, 1)
        history.pass_time(1)
    assert history.take() == ["spawn 2/2@3"] * 3
    assert history.pool.ready_count == 2
    history.ready(3)
    assert history.take() == ["TERM 2/1@1", "reloaded 2"]


def test_reloads_during_a_reload_become_one():
    history = running()
    history.reload()
    for _ in range(5):
        history.pool.want_reload()
        history.step()
    history.take()
    history.ready(2)
    history.pass_time(5)
    history.ready(3)
    assert history.take()[-3:] == ["TERM 2/1@1", "reloaded 2", "load"]
    history.pass_time(10)
    assert history.take() == []


def test_reload_before_anyone_is_ready_waits():
    history = History(1)
    history.take()
    history.pool.want_reload()
    history.step()
    assert history.take() == []
    history.ready(0)
    assert history.take() == ["load"]


def test_reload_may_repair_one_whose_later_steps_fail():
    history = running()
    history.reload()
    history.ready(2)
    history.pass_time(5)
    history.pool.want_reload()
    history.exit(3, 1)
    assert "load" in history.take()


def test_reload_may_repair_a_fleet_in_a_crash_loop():
    history = running(1)
    for _ in range(8):
        history.exit(0, 1)
        history.pass_time(30)
    history.exit(0, 1)
    history.reload()
    assert history.take() == ["spawn 1/2@0"]
    history.ready(0)
    history.pass_time(5)
    assert history.take()[-1] == "reloaded 2"
    assert history.pool.ready_count == 1


def test_old_worker_that_crashes_before_the_proof_is_replaced_by_the_old_generation():
    history = running()
    history.reload()
    history.take()
    history.exit(1, -11)
    assert history.take() == ["spawn 2/1@1"]


def test_old_worker_that_crashes_after_the_proof_is_replaced_by_the_new_generation():
    history = running(3)
    history.reload()
    history.ready(3)
    history.pass_time(5)
    history.take()
    history.exit(2, -11)
    assert history.take() == ["spawn 3/2@2"]


def test_old_worker_that_crashes_while_it_is_replaced_is_not_replaced_twice():
    history = running(2)
    history.reload()
    history.ready(2)
    history.pass_time(5)
    history.take()
    history.exit(1, -11)
    assert history.take() == ["reloaded 2"]
    history.ready(3)
    assert history.pool.ready_count == 2


def test_reload_brings_a_new_number_of_workers():
    history = running(2)
    history.reload(workers=4)
    history.ready(2)
    history.take()
    history.pass_time(5)
    assert history.take() == ["proven 2", "TERM 1/1@0", "spawn 3/2@3", "spawn 4/2@4"]
    history.ready(3, 4)
    assert history.take() == ["spawn 2/2@5"]


def test_reload_brings_fewer_workers():
    history = running(3)
    history.reload(workers=1)
    history.ready(3)
    history.take()
    history.pass_time(5)
    assert history.take() == [
        "proven 2",
        "TERM 1/1@0",
        "TERM 2/1@1",
        "TERM 3/1@2",
        "reloaded 2",
    ]


def test_new_limits_are_those_of_the_new_generation_only():
    history = running(1)
    history.reload(limits=replace(LIMITS, graceful_timeout=0, shutdown_timeout=0))
    history.ready(1)
    history.pass_time(5)
    history.take()
    history.pass_time(34.9)
    assert history.take() == []
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]


def test_worker_that_hangs_during_the_trial_is_replaced_by_the_old_generation():
    history = running()
    history.reload(limits=replace(LIMITS, reload_settle=60))
    history.ready(2)
    history.hang(1)
    history.take()
    history.pass_time(30)
    assert history.take() == ["DUMP 2/1@1", "spawn 2/1@3"]
