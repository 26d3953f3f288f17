"""Processes that die, or stand still."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.bench.faults.rig import BEFORE, Result, rigged
from tests.support.process import wait_for_death

HEARTBEAT = 5
"""Instead of the 30 seconds that are the default, for the sake of the clock."""
CRASHES = 20


def nothing(directory: Path, workers: int) -> Result:
    """What the others are to be compared with."""
    with rigged(directory, workers) as rig:
        rig.canary.go_on(BEFORE)
    return rig.result


def worker_killed(directory: Path, workers: int) -> Result:
    with rigged(directory, workers) as rig:
        victim = rig.server.workers()[workers]
        with rig.fault(victim):
            os.kill(victim, signal.SIGKILL)
        rig.server.wait_for(rf"worker={workers} gen=1 pid={victim} cause=signal ended by SIGKILL")
        rig.server.wait_for(rf"worker={workers} gen=1 pid=\d+ ready$")
        rig.recover()
    return rig.result


def all_workers_killed(directory: Path, workers: int) -> Result:
    with rigged(directory, workers) as rig:
        victims = rig.server.workers().values()
        with rig.fault(*victims):
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
        rig.server.wait_for(r" ready$", workers)
        rig.recover()
    return rig.result


def handler_crashes(directory: Path, workers: int) -> Result:
    with rigged(directory, workers) as rig:
        slowest = 0.0
        for _ in range(CRASHES):
            with rig.victim() as (victim, client):
                with rig.fault(victim):
                    client.request("/fault/crash")
                    client.wait_for_end()
                number = rig.server.wait_for(
                    rf"worker=(\d+) gen=1 pid={victim} cause=signal ended by SIGSEGV"
                )[1]
                rig.server.wait_for(rf"worker={number} gen=1 pid=\d+ ready$")
            rig.recover()
            slowest = max(slowest, rig.result.recovered or 0.0)
        rig.result.recovered = slowest
        backoffs = rig.server.said(r"in [\d.]+ s$")
        rig.result.note = f"{CRASHES} crashes; the slowest recovery"
        rig.expect(not backoffs, "spaced crashes were held back")
    return rig.result


def master_killed(directory: Path, workers: int) -> Result:
    with rigged(directory, workers, ends=True) as rig:
        children = rig.server.children()
        rig.turn_away()
        with rig.fault():
            rig.server.signal(signal.SIGKILL)
        wait_for_death(*children)
        rig.recover()
        with socket.create_server(("127.0.0.1", rig.server.port)):
            rig.result.note = "until the last worker had ended; the port is free"
    return rig.result


def worker_suspended(directory: Path, workers: int, heartbeat: float = HEARTBEAT) -> Result:
    option = ("--heartbeat-timeout", str(heartbeat))
    with rigged(directory, workers, *option) as rig:
        victim = rig.server.workers()[workers]
        with rig.fault(victim):
            os.kill(victim, signal.SIGSTOP)
            rig.server.wait_for(rf"worker={workers} gen=1 pid=\d+ ready$")
            rig.recover()
        rig.server.wait_for(rf"pid={victim} cause=hang killed by the master")
        rig.result.note = f"`{' '.join(option)}`; until the replacement was ready"
    return rig.result


def loop_blocked(directory: Path, workers: int, heartbeat: float = HEARTBEAT) -> Result:
    option = ("--heartbeat-timeout", str(heartbeat))
    with rigged(directory, workers, *option) as rig, rig.victim() as (victim, client):
        with rig.fault(victim):
            client.request("/fault/hang")
            number = rig.server.wait_for(rf"worker=(\d+) gen=1 pid={victim} does not answer: ")[1]
            rig.server.wait_for(r"main\.py.* in fault$")
            rig.server.wait_for(rf"worker={number} gen=1 pid=\d+ ready$")
            rig.recover()
        rig.server.wait_for(rf"pid={victim} cause=hang killed by the master")
        rig.result.note = f"`{' '.join(option)}`; the line that hangs is in the log"
    return rig.result
