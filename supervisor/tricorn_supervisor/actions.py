"""What a pool can want done; master.py does it."""

from dataclasses import dataclass
from enum import Enum

from tricorn_supervisor.child import Child


class Order(Enum):
    """What a child can be told; master.py knows the signals."""

    TERM = "drain"
    QUIT = "stop now"
    DUMP = "write all stacks"
    KILL = "die"


@dataclass(frozen=True, slots=True)
class Spawn:
    child: Child
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    child: Child
    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class Load:
    """Read the configuration again, then call Pool.reload, or nothing if it is unusable."""


@dataclass(frozen=True, slots=True)
class Proven:
    generation: int


@dataclass(frozen=True, slots=True)
class Aborted:
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    generation: int


@dataclass(frozen=True, slots=True)
class Finish:
    status: int
    reason: str


Action = Spawn | Send | Load | Proven | Aborted | Reloaded | Finish
