"""The pool's rules for start, respawn and time-outs, one history each."""

from dataclasses import replace

from tests.supervisor.histories import LIMITS, History, running

# Start


def test_starts_every_worker_at_once():
    assert History(3).take() == ["spawn 1/1@0", "spawn 2/1@1", "spawn 3/1@2"]


def test_application_that_cannot_start_ends_the_server_at_once():
    history = History(2)
    history.take()
    history.exit(0, 3)
    assert history.take() == ["TERM 2/1@1"]
    history.exit(1, -15)
    assert history.take() == ["finish 3"]


def test_sibling_that_ignores_the_failed_start_is_killed():
    history = History(2)
    history.exit(0, 3)
    history.take()
    history.pass_time(2)
    assert history.take() == ["KILL 2/1@1"]


def test_fifth_death_before_anyone_was_ready_ends_the_server():
    history = History(1)
    for _ in range(4):
        history.exit(0, 1)
        history.pass_time(30)
    assert "finish 3" not in history.take()
    history.exit(0, 1)
    assert history.take() == ["finish 3"]


def test_never_gives_up_after_anyone_was_ready():
    history = running(1)
    for _ in range(50):
        history.exit(0, 3)
        history.pass_time(30)
    assert history.take() == ["spawn 1/1@0"] * 50


def test_worker_stopped_before_anyone_was_ready_counts_as_no_death():
    history = History(2)
    for _ in range(6):
        history.scale(-1)
        history.exit(1, -15)
        history.scale(+1)
    assert not history.pool.stopping


def test_failing_first_fork_ends_the_server():
    history = History(1)
    history.take()
    history.pool.unspawned(0, history.now, "Cannot allocate memory")
    history.step()
    assert history.take() == ["finish 1"]


# Respawn


def test_dead_worker_is_replaced_at_once():
    history = running()
    history.exit(1, -11)
    assert history.take() == ["spawn 2/1@1"]


def test_healthy_siblings_are_not_touched_by_a_crash_loop():
    history = running(2, reload_settle=0)
    for _ in range(20):
        history.exit(1, 1)
        history.pass_time(30)
    assert set(history.take()) == {"spawn 2/1@1"}


def test_crash_loop_backs_off_from_nothing_over_a_tenth_to_the_maximum():
    history = running(1)
    delays = []
    for _ in range(13):
        history.exit(0, 1)
        since = history.now
        while not history.take():
            history.pass_time(history.pool.deadline - history.now)
        delays.append(round(history.now - since, 3))
    assert delays == [0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]


def test_dying_within_ten_seconds_of_ready_is_part_of_the_loop():
    history = running(1)
    history.exit(0)
    for _ in range(2):
        history.ready(0)
        history.pass_time(9.9)
        history.exit(0)
    assert history.take() == ["spawn 1/1@0"] * 2
    history.pass_time(0.1)
    assert history.take() == ["spawn 1/1@0"]


def test_living_for_longer_resets_the_streak():
    history = running(1)
    for _ in range(6):
        history.exit(0)
        history.ready(0)
        history.pass_time(10)
    assert history.take() == ["spawn 1/1@0"] * 6


def test_without_a_maximum_there_is_no_pause():
    history = running(1, respawn_backoff_max=0)
    for _ in range(6):
        history.exit(0)
    assert history.take() == ["spawn 1/1@0"] * 6


def test_fork_that_fails_is_retried_after_a_pause():
    history = running(1, respawn_backoff_max=0)
    history.pool.exited(0, 1, history.now)
    assert history.pool.step(history.now)
    history.pool.unspawned(0, history.now, "Resource temporarily unavailable")
    history.step()
    assert history.take() == []
    history.pass_time(0.1)
    assert history.take() == ["spawn 1/1@0"]


def test_without_a_free_slot_a_worker_waits_for_an_exit():
    history = History(1, slots=2)
    history.ready(0)
    history.pool.leaving(0, history.now)
    history.step()
    history.ready(1)
    history.pass_time(20)
    history.take()
    history.pool.leaving(1, history.now)
    history.step()
    assert history.take() == []
    history.exit(0, 0)
    assert history.take() == ["spawn 1/1@0"]


def test_worker_that_drains_by_itself_is_replaced_meanwhile():
    history = running()
    history.pool.leaving(0, history.now)
    history.step()
    assert history.take() == ["spawn 1/1@2"]
    history.exit(0, 0)
    assert history.take() == []


def test_worker_that_drains_by_itself_is_killed_when_it_takes_too_long():
    history = running()
    history.pool.leaving(0, history.now)
    history.pass_time(34.9)
    assert history.take() == ["spawn 1/1@2"]
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]


def test_worker_whose_channel_is_closed_is_killed_unless_it_exits():
    history = running(1)
    history.pool.lost(0, history.now)
    history.pass_time(1.9)
    assert history.take() == []
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]
    assert "channel" in history.exit(0, -9).reason


# Time-outs


def test_worker_that_is_not_ready_in_time_shows_its_stacks_and_is_killed():
    history = History(1)
    history.take()
    history.pass_time(60)
    assert history.take() == ["DUMP 1/1@0"]
    history.pass_time(1)
    assert history.take() == ["KILL 1/1@0"]
    assert "startup_timeout" in history.exit(0, -9).reason


def test_start_up_time_out_counts_as_a_failed_start():
    history = History(1)
    for _ in range(5):
        history.pass_time(62)
        history.exit(0, -9)
        history.pass_time(1)
    assert history.take()[-1] == "finish 3"


def test_ready_that_comes_after_the_sentence_does_not_save():
    history = History(1)
    history.pass_time(60)
    history.ready(0)
    assert history.pool.ready_count == 0


def test_without_a_start_up_time_out_a_worker_may_take_for_ever():
    history = History(1, replace(LIMITS, startup_timeout=0))
    history.take()
    history.pass_time(100_000)
    assert history.take() == []


def test_heartbeat_is_not_expected_before_ready():
    history = History(1, replace(LIMITS, heartbeat_timeout=5))
    history.take()
    history.hang(0)
    history.pass_time(59)
    assert history.take() == []


def test_silent_worker_shows_its_stacks_once_at_half_its_time():
    history = running(1)
    history.hang(0)
    history.pass_time(14.9)
    assert history.take() == []
    history.pass_time(0.2)
    assert history.take() == ["DUMP 1/1@0"]
    history.pass_time(14.8)
    assert history.take() == []


def test_beat_before_the_deadline_forgets_the_silence():
    history = running(1)
    history.hang(0)
    history.pass_time(20)
    history.silent.clear()
    history.pass_time(100)
    assert history.take() == ["DUMP 1/1@0"]


def test_second_silence_is_shown_again():
    history = running(1)
    for _ in range(2):
        history.hang(0)
        history.pass_time(20)
        history.silent.clear()
        history.step()
    assert history.take() == ["DUMP 1/1@0"] * 2


def test_hung_worker_is_killed_when_its_replacement_is_ready():
    history = running()
    history.hang(1)
    history.pass_time(30)
    assert history.take() == ["DUMP 2/1@1", "spawn 2/1@2"]
    history.ready(2)
    assert history.take() == ["KILL 2/1@1"]
    history.exit(1, -9)
    history.pass_time(100)
    assert history.take() == []


def test_hung_worker_is_killed_after_five_seconds_at_the_latest():
    history = running(1)
    history.hang(0)
    history.pass_time(34.9)
    assert history.take() == ["DUMP 1/1@0", "spawn 1/1@1"]
    history.pass_time(0.2)
    assert history.take() == ["KILL 1/1@0"]
    assert "no heartbeat" in history.exit(0, -9).reason
    history.ready(1)
    assert history.take() == []


def test_hung_worker_is_killed_at_once_when_its_replacement_dies():
    history = running(1)
    history.hang(0)
    history.pass_time(30)
    history.take()
    history.exit(1, 1)
    assert "KILL 1/1@0" in history.take()


def test_beat_after_the_deadline_does_not_save():
    history = running(1)
    history.hang(0)
    history.pass_time(31)
    history.silent.clear()
    history.pass_time(10)
    assert "KILL 1/1@0" in history.take()


def test_without_a_heartbeat_time_out_silence_is_allowed():
    history = running(1, heartbeat_timeout=0)
    history.hang(0)
    history.pass_time(100_000)
    assert history.take() == []


def test_master_that_was_suspended_forgives_silence():
    history = running(2)
    history.hang(0)
    history.sleep_through(3600)
    assert history.take() == []
    history.pass_time(16)
    assert history.take() == ["DUMP 1/1@0"]


def test_master_that_was_suspended_forgives_slow_starts_and_drains():
    history = History(2)
    history.ready(0)
    history.scale(-1)
    history.scale(+1)
    history.take()
    history.sleep_through(3600)
    assert history.take() == []
