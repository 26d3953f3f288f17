"""What the caller wants supervised: one Plan for each generation of workers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tricorn_supervisor.channel import ChildEnd
from tricorn_supervisor.child import Limits
from tricorn_supervisor.identity import Identity
from tricorn_supervisor.listeners import Bind, Listener, open_listeners
from tricorn_supervisor.scoreboard import Scoreboard

log = logging.getLogger(__name__)


class PlanError(Exception):
    """The configuration is unusable; one sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Times are seconds; 0 switches one off, but a graceful_timeout of 0 does not wait."""

    run: Callable[[ChildEnd], int]  # called in the child; returns its exit status
    application: str  # for process titles
    binds: tuple[Bind, ...]
    backlog: int
    unix_mode: int | None
    workers: int
    startup_timeout: float
    heartbeat_timeout: float
    graceful_timeout: float
    shutdown_timeout: float
    respawn_backoff_max: float
    reload_settle: float
    quic_binds: tuple[Bind, ...] = ()  # over UDP; only HOST:PORT
    steering: str = "auto"  # kernel, dispatcher or hash
    quic_secret: bytes = b""  # the operator's, of 32 octets or more; made at the start if empty
    quic_server_id: bytes = b""  # steering.Layout's
    control: str = ""  # path of the control socket
    pid: str = ""  # path of the file with the master's process ID
    identity: Identity | None = None  # of workers, and whatever else meets clients
    started: Callable[[], None] = lambda: None  # in the master: called when all workers are ready
    reopen: Callable[[], None] = lambda: None  # in the master: write to the logs' names again
    admin: Callable[[ChildEnd, Scoreboard], int] | None = None  # as `run`, in a child of its own
    admin_binds: tuple[Bind, ...] = ()
    drain_delay: float = 0.0  # told to stop, serve on for that long

    def work(self, end: ChildEnd) -> int:
        """In the process of a worker: with its own rights only. Raises IdentityError."""
        if self.identity is not None:
            self.identity.assume()
        return self.run(end)

    @property
    def limits(self) -> Limits:
        return Limits(
            startup_timeout=self.startup_timeout,
            heartbeat_timeout=self.heartbeat_timeout,
            graceful_timeout=self.graceful_timeout,
            shutdown_timeout=self.shutdown_timeout,
            respawn_backoff_max=self.respawn_backoff_max,
            reload_settle=self.reload_settle,
            drain_delay=self.drain_delay,
        )


def listen(plan: Plan, kept: Sequence[Listener] = ()) -> list[Listener]:
    """Open what the plan names and say so; raises ListenError."""
    listeners = open_listeners(
        plan.binds, backlog=plan.backlog, kept=kept, unix_mode=plan.unix_mode
    )
    known = [listener.socket for listener in kept]
    for listener in listeners:
        if listener.socket not in known:
            if plan.identity is not None and listener.owned is not None:
                # So that its proxies may have the group, and a successor without root replace it.
                plan.identity.own(listener.owned.path)
            protocols = ", ".join(listener.bind.protocols)
            log.info("listening on %s%s", listener.address, f" ({protocols})" if protocols else "")
    return listeners


def usable(plan: Plan, slots: int) -> Plan:
    """Raises PlanError where it asks for more workers than a master with `slots` can reload."""
    most = slots // 2  # a reload needs a second one of each at worst
    if not 1 <= plan.workers <= most:
        raise PlanError(f"workers must be from 1 to {most}, not {plan.workers}")
    return plan
