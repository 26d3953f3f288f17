"""The most telling faults beside the standing canary; `python -m tests.bench.faults` has them all.

And the canary itself: it sees what is lost, and knows what went down with a worker.
"""

import hashlib
import os
import signal
from functools import partial

import pytest

from tests.bench.faults import kills, reloads, stops
from tests.bench.faults.rig import rigged
from tests.support.canary import Attempt, Death, Outcome, check
from tests.support.canary_connections import Lost

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("fault", "workers"),
    [
        (kills.worker_killed, 4),  # F01
        (kills.all_workers_killed, 2),  # F02
        (reloads.reload_under_way, 2),  # F07
        (stops.term, 2),  # F08
        (partial(kills.loop_blocked, heartbeat=2), 2),  # F12
    ],
    ids=["worker killed", "all killed", "reload", "stop", "hang"],
)
def test_fault_loses_no_request_that_was_not_its_own(tmp_path, fault, workers):
    result = fault(tmp_path, workers)
    assert result.wrong == [] and result.lost == 0


def test_canary_sees_what_nobody_has_told_it_to_expect(tmp_path):
    with rigged(tmp_path, 1) as rig:
        os.kill(rig.server.workers()[1], signal.SIGKILL)
        rig.server.wait_for(r" ready$")
    for protocol in ("HTTP/1.1", "HTTP/2", "HTTP/3", "WebSocket"):
        tally = rig.result.tallies[protocol]
        assert tally.lost or tally.again, protocol
    assert rig.result.lost >= 3, "each version of HTTP had a slow request open"


TARGET = b"/short/0.0/1"


def line(target: bytes, content: bytes) -> bytes:
    return b"7 %b %b\n" % (target, hashlib.sha256(content).hexdigest().encode())


@pytest.mark.parametrize(
    ("target", "sent", "status", "answer"),
    [
        (TARGET, None, 500, line(TARGET, b"")),
        (TARGET, None, 200, line(b"/short/0.0/2", b"")),
        (TARGET, None, 200, b""),
        (b"/upload/0.0/1", b"whole", 200, line(b"/upload/0.0/1", b"who")),
        (b"/download/9/0.0/1", None, 200, line(b"/download/9/0.0/1", b"whole") + b"who"),
    ],
    ids=["status", "another's", "nothing", "upload", "download"],
)
def test_canary_takes_no_wrong_answer(target, sent, status, answer):
    assert check(TARGET.decode(), None, 200, line(TARGET, b"")) == 7
    with pytest.raises(Lost):
        check(target.decode(), sent, status, answer)


def attempt(worker: int | None, began: float, ended: float) -> Attempt:
    return Attempt("HTTP/2", "/short/0.0/1", began, ended, began, worker, Outcome.LOST)


def test_request_goes_down_with_its_worker_only():
    death = Death([7], 100.0, 105.0)
    assert death.cut(attempt(7, 99.0, 105.0)) and death.cut(attempt(7, 104.0, 105.0))
    assert death.cut(attempt(None, 99.9, 105.0)), "that worker may have accepted it"
    assert not death.cut(attempt(8, 99.0, 105.0))
    assert not death.cut(attempt(7, 106.0, 107.0)), "it was dead already"
    assert not death.cut(attempt(None, 101.0, 105.0)), "that worker stood still"
