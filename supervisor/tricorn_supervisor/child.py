"""What the pool keeps in mind: workers, the numbers that they fill, a generation on trial."""

from dataclasses import dataclass
from enum import Enum

NEVER = float("inf")
FIRST_BACKOFF = 0.1


class Stage(Enum):
    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; 0 switches a time-out off, but a graceful_timeout of 0 does not wait."""

    startup_timeout: float
    heartbeat_timeout: float
    graceful_timeout: float
    shutdown_timeout: float
    respawn_backoff_max: float
    reload_settle: float
    drain_delay: float = 0.0

    def backoff(self, streak: int) -> float:
        """The pause after that many crashes in a row: 0, 0.1, 0.2, 0.4 … respawn_backoff_max."""
        doublings = min(streak - 2, 32)
        return min(self.respawn_backoff_max, FIRST_BACKOFF * 2**doublings) if streak > 1 else 0.0


@dataclass(slots=True, eq=False)
class Child:
    """One process, from the decision to start it until it is reaped."""

    number: int
    slot: int
    generation: int
    limits: Limits
    started: float
    pid: int = 0
    stage: Stage = Stage.STARTING
    ready_at: float = NEVER
    beat_at: float = NEVER
    dumped: bool = False
    hung: bool = False
    worn: str = ""  # why it is to be replaced although nothing is wrong with it
    told: bool = False  # to drain or to stop: its death is no failure
    kill_at: float = NEVER
    killed: bool = False
    reason: str = ""  # why it is, or will be, killed

    def __str__(self) -> str:
        return f"worker={self.number} gen={self.generation} pid={self.pid}"

    @property
    def alarm(self) -> float:
        """When something must be done about this child, unless it does something first."""
        if self.killed:
            return NEVER
        if self.kill_at < NEVER or self.stage is Stage.LEAVING:
            return self.kill_at
        if self.stage is Stage.STARTING:
            return self.started + (self.limits.startup_timeout or NEVER)
        heartbeat = self.limits.heartbeat_timeout or NEVER
        return self.beat_at + (heartbeat if self.dumped else heartbeat / 2)

    def condemn(self, at: float, reason: str) -> None:
        """Unless it is gone by then it is killed; an earlier sentence stands."""
        if at < self.kill_at:
            self.kill_at, self.reason = at, reason


@dataclass(slots=True, eq=False)
class Place:
    """A number in the fleet, whoever fills it."""

    number: int
    serving: Child | None = None
    successor: Child | None = None
    streak: int = 0  # crashes in a row
    retry_at: float = 0.0


@dataclass(slots=True, eq=False)
class Trial:
    """A generation of which one worker must prove itself beside the old ones."""

    generation: int
    limits: Limits
    workers: int
    canary: Child | None = None

    @property
    def proven_at(self) -> float:
        canary = self.canary
        if canary is None or canary.stage is not Stage.READY or canary.kill_at < NEVER:
            return NEVER
        return canary.ready_at + self.limits.reload_settle
