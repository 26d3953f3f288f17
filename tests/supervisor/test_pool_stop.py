"""The pool's rules for changing the number of workers and for stopping, one history each."""

from dataclasses import replace

import pytest

from tests.supervisor.histories import LIMITS, History, running

# Scale


def test_one_worker_more():
    history = running(1)
    history.scale(+1)
    assert history.take() == ["spawn 2/1@1"]


def test_one_worker_fewer_is_drained():
    history = running(3)
    history.scale(-1)
    assert history.take() == ["TERM 3/1@2"]
    history.exit(2, 0)
    assert history.take() == []


def test_never_fewer_than_one_worker():
    history = running(1)
    history.scale(-1)
    assert history.take() == []


def test_never_more_workers_than_a_reload_has_slots_for():
    history = running(1)
    for _ in range(20):
        history.scale(+1)
    assert history.pool.workers == 8


def test_scale_survives_a_reload_that_does_not_change_the_number():
    history = running(2)
    history.scale(+1)
    history.ready(2)
    history.reload(workers=2)
    history.ready(3)
    history.pass_time(5)
    assert history.pool.workers == 3


def test_scale_ends_with_a_reload_that_changes_the_number():
    history = running(2)
    history.scale(+1)
    history.ready(2)
    history.reload(workers=1)
    history.ready(3)
    history.pass_time(5)
    assert history.pool.workers == 1


def test_canary_whose_number_is_gone_proves_its_generation_nevertheless():
    history = running(2)
    history.hang(0)
    history.pass_time(30)
    history.reload()
    history.ready(3)
    history.scale(-1)
    history.take()
    history.pass_time(5)
    assert "proven 2" in history.take()


# Stop


def test_stop_drains_everyone_and_finishes_when_all_are_gone():
    history = running()
    history.stop()
    assert history.take() == ["TERM 1/1@0", "TERM 2/1@1"]
    history.exit(0, 0)
    assert history.take() == []
    history.exit(1, 0)
    assert history.take() == ["finish 0"]


def test_stop_kills_what_outlasts_its_time_outs():
    history = running(1)
    history.stop()
    history.pass_time(34.9)
    assert history.take() == ["TERM 1/1@0"]
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]
    history.exit(0, -9)
    assert history.take() == ["finish 0"]


def test_starting_workers_are_told_to_stop_too():
    history = History(1)
    history.stop()
    assert history.take() == ["spawn 1/1@0", "TERM 1/1@0"]
    history.ready(0)
    history.exit(0, -15)
    assert history.take() == ["finish 0"]


def test_second_stop_ends_everyone_now():
    history = running()
    history.stop()
    history.take()
    history.stop()
    assert history.take() == ["QUIT 1/1@0", "QUIT 2/1@1"]


def test_quit_kills_after_the_time_of_the_applications_shutdown():
    history = running(1)
    history.quit()
    history.pass_time(14.9)
    assert history.take() == ["QUIT 1/1@0"]
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]


def test_quit_after_stop_shortens_the_time():
    history = running(1)
    history.stop()
    history.pass_time(1)
    history.quit()
    history.pass_time(15)
    assert history.take() == ["TERM 1/1@0", "QUIT 1/1@0", "KILL 1/1@0"]


def test_stop_does_not_lengthen_the_drain_of_a_worker():
    history = running(2)
    history.scale(-1)
    history.pass_time(20)
    history.stop()
    assert history.take() == ["TERM 2/1@1", "TERM 1/1@0"]
    history.pass_time(15)
    assert history.take() == ["KILL 2/1@1"]


def test_stop_abandons_a_reload():
    history = running(1)
    history.reload()
    history.take()
    history.stop()
    assert history.take() == ["TERM 1/1@0", "TERM 1/2@1"]
    history.exit(0, 0)
    history.exit(1, 0)
    assert history.take() == ["finish 0"]


@pytest.mark.parametrize("wish", ["want_reload", "scale"])
def test_nothing_is_begun_after_a_stop(wish):
    history = running(1)
    history.stop()
    history.take()
    if wish == "scale":
        history.scale(+1)
    else:
        history.pool.want_reload()
        history.step()
    assert history.take() == []


def test_nobody_is_replaced_after_a_stop():
    history = running(2)
    history.stop()
    history.take()
    history.exit(0, -11)
    history.pass_time(10)
    assert history.take() == []


def test_order_overtaken_by_an_exit_is_not_given():
    history = running(1)
    history.pool.stop(history.now)
    history.pool.exited(0, 0, history.now)
    history.step()
    assert history.take() == ["finish 0"]


# Drain delay


def delayed(workers: int = 2) -> History:
    history = running(workers, drain_delay=10.0)
    history.stop()
    return history


def test_told_to_stop_with_a_delay_serves_until_it_has_passed():
    history = delayed()
    assert history.pool.draining and not history.pool.stopping
    history.pass_time(9)
    assert history.take() == []
    history.pass_time(1)
    assert history.take() == ["TERM 1/1@0", "TERM 2/1@1"]


def test_second_stop_skips_the_delay_and_the_third_the_drain():
    history = delayed(1)
    history.stop()
    assert history.take() == ["TERM 1/1@0"]
    history.stop()
    assert history.take() == ["QUIT 1/1@0"]


def test_who_is_impatient_does_not_wait():
    history = running(1, drain_delay=10.0)
    history.pool.stop(history.now, patient=False)
    history.step()
    assert history.take() == ["TERM 1/1@0"]


def test_server_that_never_served_does_not_wait():
    history = History(1, replace(LIMITS, drain_delay=10.0))
    history.take()
    history.stop()
    assert history.take() == ["TERM 1/1@0"]


def test_no_reload_begins_during_the_delay():
    history = delayed(1)
    history.pool.want_reload()
    history.step()
    assert history.take() == []


def test_worker_that_dies_during_the_delay_is_replaced():
    history = delayed(1)
    history.exit(0, -9)
    assert [each for each in history.take() if each.startswith("spawn")] == ["spawn 1/1@0"]
