"""admin.py: when the master looks after its admin child again."""

from dataclasses import replace

import pytest

from tests.supervisor.histories import LIMITS
from tricorn_supervisor.admin import Admin
from tricorn_supervisor.delay import DelayedPool
from tricorn_supervisor.plan import Plan
from tricorn_supervisor.scoreboard import Scoreboard

PLAN = Plan(
    run=lambda end: 0,
    application="app",
    binds=(),
    backlog=1,
    unix_mode=None,
    workers=1,
    startup_timeout=1.0,
    heartbeat_timeout=1.0,
    graceful_timeout=1.0,
    shutdown_timeout=1.0,
    respawn_backoff_max=1.0,
    reload_settle=1.0,
    admin=lambda end, board: 0,
)


@pytest.fixture
def pids(monkeypatch):
    """Of the children that are forked, in turn; signals to them are swallowed."""
    monkeypatch.setattr("os.kill", lambda pid, number: None)
    return iter(range(1_000_000, 1_000_100))


def test_child_that_no_plan_wants_any_more_is_not_waited_for(pids):
    pool = DelayedPool(LIMITS, 1, 4)
    admin = Admin(lambda live: next(pids), Scoreboard(1))
    admin.open(1, PLAN)
    admin.settle(pool)
    assert admin.deadline is None
    assert admin.reaped(1_000_000, -9)
    assert admin.deadline is not None, "it is started again"
    admin.settle(pool)

    admin.open(2, replace(PLAN, admin=None))
    pool.generation = 2
    admin.settle(pool)
    assert admin.reaped(1_000_001, 0)
    assert admin.deadline is None


def test_child_that_dies_when_its_generation_is_forgotten_is_started_again(pids):
    pool = DelayedPool(LIMITS, 1, 4)
    admin = Admin(lambda live: next(pids), Scoreboard(1))
    admin.open(1, PLAN)
    admin.settle(pool)
    # A reload of one worker is proven and complete in one step.
    admin.open(2, PLAN)
    pool.generation = 2
    admin.forget([1])
    assert admin.reaped(1_000_000, -9)
    admin.settle(pool)
    assert admin.reaped(1_000_001, 0), "of the second generation"
