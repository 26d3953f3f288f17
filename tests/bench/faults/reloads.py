"""New code, new certificates, and those that cannot be used."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.bench.faults.rig import APPLICATION, Result, Rig, memory, resident, rigged
from tests.support.canary import BUSY
from tests.support.process import wait_for_death

HANGUPS = 50
SERVED = 1000
GROWTH = 1.1
"""What is more than this many times what it was has grown."""
PATIENT = ("--startup-timeout", "5")
LIFESPAN = "async def app(scope, receive, send):\n    await receive()\n"
BROKEN = {
    "syntax error": ("async def app(:\n", "is not valid Python"),
    "ImportError": ("import no_such_module\n", "main imports no_such_module"),
    "failing lifespan": (
        LIFESPAN
        + "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n",
        "lifespan startup failed: no database",
    ),
    "hanging lifespan": (
        "import asyncio\n" + LIFESPAN + "    await asyncio.Event().wait()\n",
        "startup",
    ),
}


def broken_reloads(directory: Path, workers: int) -> Result:
    with rigged(directory, workers, *PATIENT) as rig:
        rig.traced = True
        before = rig.server.workers()
        for name, (code, said) in BROKEN.items():
            (directory / "main.py").write_text(code)
            rig.server.signal(signal.SIGHUP)
            rig.server.wait_for(r"given up: .*gen=1 stays")
            rig.expect(said in rig.server.log, f"{name}: the reason is not in the log")
            rig.expect(rig.server.workers() == before, f"{name}: other workers than before")
        (directory / "main.py").write_text(APPLICATION.read_text())
        reload(rig)
    rig.result.note = f"{', '.join(BROKEN)}; then a good one, until its workers were ready"
    return rig.result


def hangups(directory: Path, workers: int) -> Result:
    with rigged(directory, workers) as rig:
        first = settled_memory(rig)
        for _ in range(HANGUPS):
            rig.server.signal(signal.SIGHUP)
            time.sleep(1.0)
        last = settled_memory(rig)
        for before, after in zip(first, last, strict=True):
            rig.expect(after <= before * GROWTH, f"from {before:.1f} to {after:.1f} MiB")
    starts = len(rig.server.said(r"started: canary"))
    rig.expect(starts <= HANGUPS + 2, "more reloads than hangups")
    rig.result.note = (
        f"{starts - 2} reloads; all processes {first[0]:.0f} MiB before and {last[0]:.0f} after,"
        f" the master {first[1]:.1f} and {last[1]:.1f}, with {rig.result.descriptors[0]} and"
        f" {rig.result.descriptors[1]} descriptors"
    )
    return rig.result


def settled_memory(rig: Rig) -> tuple[float, float]:
    """MiB of all processes, and of the master: of workers that are new, and have served alike."""
    reload(rig)
    rig.canary.go_on(SERVED)
    return memory(rig.server), resident(rig.server.pid)


def reload_under_way(directory: Path, workers: int) -> Result:
    with rigged(directory, workers, plans=BUSY) as rig:
        reload(rig)
    websockets = rig.result.tallies["WebSocket"].reasons
    rig.expect(set(websockets) <= {"asked again: closed with 1012"}, str(websockets))
    in_flight = sum(plan.asked[0][0].startswith("slow/3") * len(plan.asked) for plan in BUSY)
    rig.result.note = f"{in_flight} requests of 3 s in flight; until the last old worker had ended"
    return rig.result


def broken_certificate(directory: Path, workers: int) -> Result:
    with rigged(directory, workers) as rig:
        first = shown(rig)
        (directory / "localhost.pem").write_text("garbage")
        rig.server.signal(signal.SIGHUP)
        rig.server.wait_for(r"reload refused: --certfile")
        rig.canary.go_on(200)
        rig.expect(shown(rig) == first, "another certificate is shown")
        rig.authority.issue(directory, "localhost")
        reload(rig)
        rig.expect(shown(rig) != first, "the good certificate is not shown")
    rig.result.note = "then a good one, until it was shown by all"
    return rig.result


def reload(rig: Rig) -> None:
    """Until the old workers are gone."""
    before = rig.server.children()
    with rig.fault():
        rig.server.signal(signal.SIGHUP)
        rig.server.wait_for(r"reload complete$")
    wait_for_death(*before)
    rig.recover()


def shown(rig: Rig) -> str:
    """Which certificate it is."""
    with rig.server.connect(rig.authority.client_context()) as client:
        return str(client.socket.getpeercert()["serialNumber"])  # type: ignore[attr-defined]
