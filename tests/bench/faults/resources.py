"""Memory, logs and the clock: what an application, a disk or an operator may do to them."""

from __future__ import annotations

import email.utils
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.faults.rig import Result, Rig, rigged
from tests.process.probes import HEALTH, admin_port, scrape
from tests.support.process import wait_for_death

LEAK_LIMIT = "150MiB"
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
HOUR = 3600
PIPE = 4096
"""Octets that a pipe holds at the least."""
WHILE = 1500
"""Answers that a fault of this kind has to be outlived for."""
ACCESS = ("--access-logformat", "%(s)s %(R)s " + "x" * 2000)


def leak(directory: Path, workers: int) -> Result:
    with rigged(directory, workers, "--workers-max-rss", LEAK_LIMIT) as rig:
        with rig.victim() as (victim, client), rig.fault():
            for _ in range(3):
                client.fetch("/fault/leak")
        rig.server.wait_for(r"is worn: \d+\.\d MiB of memory$")
        rig.server.wait_for(rf"pid={victim} cause=recycle stopped$")
        rig.recover()
        wait_for_death(victim)
    rig.result.note = f"`--workers-max-rss {LEAK_LIMIT}`; until the worker had been replaced"
    return rig.result


def stalled_reader(directory: Path, workers: int) -> Result:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    try:
        return logging_to(writing, directory, workers)
    finally:
        os.close(reading)
        os.close(writing)


def closed_reader(directory: Path, workers: int) -> Result:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return logging_to(writing, directory, workers)
    finally:
        os.close(writing)


def full_disk(directory: Path, workers: int) -> Result:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        return logging_to(full, directory, workers)
    finally:
        os.close(full)


def logging_to(standard: int, directory: Path, workers: int) -> Result:
    with rigged(
        directory, workers, "--access-logfile", "-", *ACCESS, *HEALTH, stdout=standard
    ) as rig:
        rig.canary.go_on(WHILE)
        dropped = scrape(admin_port(rig.server))["tricorn_log_lines_dropped_total"]
        rig.expect(dropped, "no line was dropped, or none was counted")
    rig.result.note = f"{dropped:.0f} lines dropped, and counted in `/metrics`"
    return rig.result


def rotated(directory: Path, workers: int) -> Result:
    log = directory / "access.log"
    with rigged(directory, workers, "--access-logfile", str(log), *ACCESS[:1], "%(s)s") as rig:
        for number in range(5):
            log.rename(directory / f"access.{number}")
            with rig.fault():
                rig.server.signal(signal.SIGUSR1)
                rig.server.wait_for(r"logs reopened")
            rig.canary.go_on(200)
            rig.expect(log.stat().st_size, "nothing is written to the new log")
    rig.result.note = "5 times, with USR1"
    return rig.result


def directory_deleted(directory: Path, workers: int) -> Result:
    logs = directory / "logs"
    logs.mkdir()
    with rigged(directory, workers, "--access-logfile", str(logs / "access.log")) as rig:
        shutil.rmtree(logs)
        for _ in range(2):
            rig.server.signal(signal.SIGUSR1)
            rig.server.wait_for(r"cannot be opened|reopen")
            rig.canary.go_on(200)
    rig.result.note = "with USR1, twice"
    return rig.result


def clock(seconds: int) -> Callable[[Path, int], Result]:
    """Sets the clock of the server; that which measures time goes on as it does in the kernel."""

    def fault(directory: Path, workers: int) -> Result:
        if not FAKETIME:
            return Result(note="not tried: libfaketime is not installed")
        setting = directory / "clock"
        setting.write_text("+0\n")
        environ = {
            "LD_PRELOAD": str(FAKETIME[0]),
            "FAKETIME_TIMESTAMP_FILE": str(setting),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with rigged(directory, workers, environ=environ) as rig:
            started = len(rig.server.said(r" started: "))
            setting.write_text(f"{seconds:+d}\n")
            rig.canary.go_on(WHILE)
            shift = clock_of(rig) - time.time()
            rig.expect(abs(shift - seconds) < 10, f"the server's clock is {shift:+.0f} s off")
            rig.expect(len(rig.server.said(r" started: ")) == started, "workers were replaced")
        rig.expect(rig.result.again == 0, "connections were closed")
        rig.result.note = (
            f"no connection was closed, no worker replaced; `Date` is {shift:+.0f} s off"
        )
        return rig.result

    return fault


def clock_of(rig: Rig) -> float:
    with rig.victim() as (_, client):
        date = client.fetch("/short").headers["date"]
    return email.utils.parsedate_to_datetime(str(date)).timestamp()
