"""The end, wanted: all that is open is finished, unless it is said twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.bench.faults.rig import Result, rigged
from tests.support.canary import BUSY

GRACE = 20.0
FAST = 2.0
DELAY, AHEAD = 2.0, 0.3
"""Seconds in which who comes is let in, and what the clocks of two processes differ by."""


def term(directory: Path, workers: int) -> Result:
    delay = ("--drain-delay", str(DELAY))
    with rigged(directory, workers, *delay, plans=BUSY, ends=True) as rig, rig.fault():
        rig.turn_away(DELAY - AHEAD)
        rig.server.signal(signal.SIGTERM)
        rig.expect(rig.server.wait() == 0, "the exit status is not 0")
        rig.recover()
    rig.expect((rig.result.recovered or GRACE) < GRACE, "it has not ended within its time")
    websockets = rig.result.tallies["WebSocket"].reasons
    rig.expect(set(websockets) <= {"asked again: closed with 1001"}, str(websockets))
    rig.result.note = f"`--drain-delay {DELAY:.0f}`; until the command had ended"
    return rig.result


def twice(*signals: signal.Signals) -> Callable[[Path, int], Result]:
    """With nothing in between but that the first was heard."""

    def fault(directory: Path, workers: int) -> Result:
        with (
            rigged(directory, workers, plans=BUSY, ends=True) as rig,
            rig.fault(*rig.server.workers().values()),
        ):
            rig.turn_away()
            for number in signals[:-1]:
                rig.server.signal(number)
                rig.server.wait_for(r"is told to drain", workers)
            rig.server.signal(signals[-1])
            rig.expect(rig.server.wait() == 0, "the exit status is not 0")
            rig.recover()
        rig.expect((rig.result.recovered or 0.0) < FAST, "it has waited for requests")
        rig.result.note = "what is in flight is cut on purpose; until the command had ended"
        return rig.result

    return fault
