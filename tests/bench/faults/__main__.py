"""`python -m tests.bench.faults [F01 …] [--workers 2 4]`: each fault beside the standing canary.

A line for each says what became of the canary's requests: answered, asked again where the
protocol says so, cut with the worker that the fault has killed, lost otherwise (which must be
none); how long it took until all was well again; and the longest that a request waited which had
nothing to do with a killed worker. It ends with 1 if something is otherwise than it should be.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.bench.faults import kills, reloads, resources, starts, stops
from tests.bench.faults.rig import Fault, Result

FAULTS: tuple[tuple[str, str, Fault], ...] = (
    ("F00", "nothing", kills.nothing),
    ("F01", "SIGKILL for one worker", kills.worker_killed),
    ("F02", "SIGKILL for all workers at once", kills.all_workers_killed),
    ("F03", "SIGSEGV in a handler, 20 times", kills.handler_crashes),
    ("F04", "a syntax error at the first start", starts.crash_at_import),
    ("F05", "HUP with code that cannot start", reloads.broken_reloads),
    ("F06", "50 HUPs, one a second", reloads.hangups),
    ("F07", "HUP with much in flight", reloads.reload_under_way),
    ("F08", "TERM with much in flight", stops.term),
    ("F09", "TERM, then TERM", stops.twice(signal.SIGTERM, signal.SIGTERM)),
    ("F09", "TERM, then INT", stops.twice(signal.SIGTERM, signal.SIGINT)),
    ("F09", "QUIT", stops.twice(signal.SIGQUIT)),
    ("F10", "SIGKILL for the master", kills.master_killed),
    ("F11", "SIGSTOP for a worker", kills.worker_suspended),
    ("F12", "a handler blocks the event loop", kills.loop_blocked),
    ("F14", "a leak", resources.leak),
    ("F17", "the reader of the access log stalls", resources.stalled_reader),
    ("F17", "the reader of the access log is gone", resources.closed_reader),
    ("F17", "the access log's disk is full", resources.full_disk),
    ("F18", "the access log is rotated", resources.rotated),
    ("F18", "the directory of the log is deleted", resources.directory_deleted),
    ("F19", "the clock is set an hour on", resources.clock(resources.HOUR)),
    ("F19", "the clock is set an hour back", resources.clock(-resources.HOUR)),
    ("F22", "garbage for a certificate, and HUP", reloads.broken_certificate),
    ("F32", "two masters with one PID file at once", starts.two_masters),
    ("F33", "`--user`, and an application that wants root", starts.other_user),
    ("F34", "read-only root, no /dev/shm, no HOME, any user", starts.nothing_to_write),
    ("F34", "a small container", starts.little_to_run_on),
)
HEAD = "| fault | | -w | answered | again | cut | lost | recovered | worst | |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="F01")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--verbose", action="store_true", help="each protocol, and each reason")
    wanted = parser.parse_args()
    print(HEAD, "|---" * 10 + "|", sep="\n", flush=True)
    good = True
    for id, name, fault in FAULTS:
        if wanted.faults and id not in wanted.faults:
            continue
        for workers in wanted.workers:
            result = inflict(fault, workers)
            print(line(id, name, workers, result), *result.wrong, sep="\n    ", flush=True)
            if wanted.verbose:
                show(result)
            good = good and not result.wrong and not result.lost
    sys.exit(not good)


def inflict(fault: Fault, workers: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return fault(Path(folder), workers)
        except AssertionError:
            # One that fails does not keep the others from being shown.
            return Result(wrong=[traceback.format_exc()])


def line(id: str, name: str, workers: int, result: Result) -> str:
    recovered = "" if result.recovered is None else f"{result.recovered:.1f} s"
    counts = (result.answered, result.again, result.cut, result.lost) if result.tallies else ""
    worst = f"{result.worst * 1000:.0f} ms" if result.tallies else ""
    cells = (id, name, workers, *(counts or [""] * 4), recovered, worst, result.note)
    return f"| {' | '.join(map(str, cells))} |"


def show(result: Result) -> None:
    for protocol, tally in result.tallies.items():
        print(f"    {protocol}: {tally}")
        for reason, count in tally.reasons.most_common(5):
            print(f"        {count} x {reason}")


if __name__ == "__main__":
    main()
