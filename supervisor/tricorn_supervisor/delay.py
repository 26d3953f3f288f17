"""The time between being told to stop and stopping, in which clients hear of it elsewhere.

Policy, as pool.py is: the whole fleet serves on, and what dies is replaced; only a reload does not
begin any more.
"""

from tricorn_supervisor.actions import Action
from tricorn_supervisor.child import NEVER, Limits
from tricorn_supervisor.pool import Pool


class DelayedPool(Pool):
    """A pool that stops `drain_delay` seconds after it was told to."""

    __slots__ = ("stop_at",)

    def __init__(self, limits: Limits, workers: int, slots: int) -> None:
        super().__init__(limits, workers, slots)
        self.stop_at = NEVER

    @property
    def draining(self) -> bool:
        """Told to stop: who can go elsewhere should."""
        return self.stopping or self.stop_at < NEVER

    def want_reload(self) -> None:
        if not self.draining:
            super().want_reload()

    def stop(self, now: float, *, patient: bool = True) -> None:
        """Serve on, then drain, then finish. Each further time goes one step on."""
        if patient and self.ever_ready and self.limits.drain_delay and not self.draining:
            self.stop_at = now + self.limits.drain_delay
            self._wanted = False
        else:
            super().stop(now)

    def step(self, now: float) -> list[Action]:
        if now >= self.stop_at and not self.stopping:
            super().stop(now)
        return super().step(now)

    def _nearest(self) -> float:
        nearest = super()._nearest()
        return nearest if self.stopping else min(nearest, self.stop_at)
