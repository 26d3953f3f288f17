"""Whether the server lives, serves and has started, as far as the scoreboard tells, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tricorn_supervisor.scoreboard import Field, Fleet, Scoreboard, State


@dataclass(frozen=True, slots=True)
class Health:
    """What every probe answers from."""

    wanted: int
    """Workers that there should be."""
    ready: int
    """Workers that serve and answer."""
    silent: int
    """Workers that serve, but have not answered for half their heartbeat time-out."""
    generation: int
    started: bool
    """All workers have been ready at a time."""
    draining: bool

    def live(self) -> str:
        """Why this server is beyond help; nothing if it is not."""
        if self.silent and not self.ready:
            return f"none of the {self.silent} workers that serve answers"
        return ""

    def unready(self) -> str:
        """Why nobody should send requests here; nothing if anybody may."""
        if self.draining:
            return "the server was told to stop"
        if self.ready:
            return ""
        return self.live() or "no worker is ready"

    def unstarted(self) -> str:
        """Why the start has not ended; nothing once it has."""
        return "" if self.started else f"{self.ready} of {self.wanted} workers are ready"


def health(board: Scoreboard, heartbeat_timeout: float) -> Health:
    """As of now. Without a heartbeat time-out no worker counts as silent."""
    patience = int(heartbeat_timeout / 2 * 1e9)  # then the master asks for its stacks, too
    oldest = time.monotonic_ns() - patience if patience else 0
    beats = [row[Field.BEAT] for row in board.living() if row[Field.STATE] == State.READY]
    ready = sum(beat >= oldest for beat in beats)
    return Health(
        wanted=board.fleet(Fleet.WORKERS),
        ready=ready,
        silent=len(beats) - ready,
        generation=board.fleet(Fleet.GENERATION),
        started=bool(board.fleet(Fleet.STARTED)),
        draining=board.fleet(Fleet.STATE) == State.DRAINING,
    )
