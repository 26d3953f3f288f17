"""A pool and a clock: histories of facts in, orders out as short texts like "TERM 2/1@0"."""

from dataclasses import replace

from tricorn_supervisor.actions import Aborted, Action, Finish, Load, Proven, Reloaded, Send, Spawn
from tricorn_supervisor.child import Child, Limits
from tricorn_supervisor.delay import DelayedPool

LIMITS = Limits(
    startup_timeout=60.0,
    heartbeat_timeout=30.0,
    graceful_timeout=20.0,
    shutdown_timeout=8.0,
    respawn_backoff_max=30.0,
    reload_settle=5.0,
)


class History:
    """Children are named number/generation@slot in what is taken, and by their slot in facts."""

    def __init__(self, workers: int = 2, limits: Limits = LIMITS, slots: int = 16) -> None:
        self.pool = DelayedPool(limits, workers, slots)
        self.now = 1000.0
        self.silent: set[int] = set()
        self._taken: list[Action] = []
        self.step()

    def step(self) -> None:
        for slot in self.pool.children:
            if slot not in self.silent:
                self.pool.beat(slot, self.now)
        while actions := self.pool.step(self.now):
            self._taken += actions
            for action in actions:
                if isinstance(action, Spawn):
                    self.pool.spawned(action.child.slot, 4000 + len(self._taken))
            if any(isinstance(action, Finish) for action in actions):
                return
        assert self.pool.deadline is None or self.pool.deadline > self.now

    def pass_time(self, seconds: float) -> None:
        """As the master does it: awake at every deadline."""
        end = self.now + seconds
        while (deadline := self.pool.deadline) is not None and deadline <= end:
            self.now = deadline
            self.step()
        self.now = end
        self.step()

    def sleep_through(self, seconds: float) -> None:
        """As a master that was stopped itself."""
        self.now += seconds
        self.step()

    def ready(self, *slots: int) -> None:
        for slot in slots:
            self.silent.discard(slot)
            self.pool.ready(slot, self.now)
            self.step()

    def exit(self, slot: int, status: int = 1) -> Child:
        child = self.pool.exited(slot, status, self.now)
        self.step()
        return child

    def hang(self, slot: int) -> None:
        self.silent.add(slot)

    def reload(self, *, workers: int | None = None, limits: Limits = LIMITS) -> None:
        """A reload whose configuration is read without error."""
        self.pool.want_reload()
        self.step()
        assert self.take()[-1] == "load"
        generation = self.pool.generation + 1
        self.pool.reload(generation, limits, workers or self.pool.workers)
        self.step()

    def stop(self) -> None:
        self.pool.stop(self.now)
        self.step()

    def quit(self) -> None:
        self.pool.quit(self.now)
        self.step()

    def scale(self, change: int) -> None:
        self.pool.scale(change, self.now)
        self.step()

    def take(self) -> list[str]:
        """What was ordered since the last time."""
        taken, self._taken = self._taken, []
        return [render(action) for action in taken]


def running(workers: int = 2, **changes: float) -> History:
    """A fleet that has been ready for long."""
    history = History(workers, replace(LIMITS, **changes))
    history.ready(*range(workers))
    history.pass_time(60)
    history.take()
    return history


def render(action: Action) -> str:
    match action:
        case Spawn(child):
            return f"spawn {_name(child)}"
        case Send(child, order):
            return f"{order.name} {_name(child)}"
        case Load():
            return "load"
        case Proven(generation):
            return f"proven {generation}"
        case Aborted(generation):
            return f"aborted {generation}"
        case Reloaded(generation):
            return f"reloaded {generation}"
        case Finish(status):
            return f"finish {status}"


def _name(child: Child) -> str:
    return f"{child.number}/{child.generation}@{child.slot}"
