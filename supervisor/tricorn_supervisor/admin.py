"""The admin child: one process beside the workers that answers for all of them.

It runs what the plan has as `admin`, which reads the scoreboard, and is started again when it dies.
It is no worker: the pool does not know of it, and clients are served whether it runs or not.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Sequence

from tricorn_supervisor import notify
from tricorn_supervisor.channel import ChildEnd, ParentEnd, open_channel
from tricorn_supervisor.child import NEVER, Limits
from tricorn_supervisor.delay import DelayedPool
from tricorn_supervisor.listeners import Bind, Listener, close_listeners, open_listeners
from tricorn_supervisor.plan import Plan
from tricorn_supervisor.routers import Fork
from tricorn_supervisor.scoreboard import Fleet, Scoreboard, State
from tricorn_supervisor.signals import describe

EARLY = 10.0  # one that lives for less is part of a crash loop
PATIENCE = 2.0  # for its end

log = logging.getLogger(__name__)


class Admin:
    """Forks nothing until a plan has something to run, and somewhere to listen."""

    def __init__(self, fork: Fork, board: Scoreboard) -> None:
        self._fork = fork
        self._board = board
        self._plans: dict[int, Plan] = {}  # by generation
        self._listeners: dict[int, list[Listener]] = {}
        self._pid = 0
        self._generation = 0  # of the present child
        self._limits: Limits  # of that, whose plan may be forgotten before it ends
        self._end: ParentEnd | None = None
        self._former: dict[int, ParentEnd] = {}  # those that drain, by pid
        self._kept: Sequence[Listener] = ()  # by a child that is being forked
        self._wanted = False  # there should be a child
        self._started = self._retry_at = -NEVER
        self._streak = 0

    @property
    def deadline(self) -> float | None:
        """Settle again at that time."""
        return self._retry_at if self._wanted and not self._pid else None

    def open(self, generation: int, plan: Plan) -> None:
        """Listen for this generation, and say so. Raises ListenError."""
        kept = self._all()
        listeners = open_listeners(
            _binds(plan), backlog=plan.backlog, kept=kept, unix_mode=plan.unix_mode
        )
        known = [listener.socket for listener in kept]
        for listener in listeners:
            if listener.socket not in known:
                log.info("health and metrics on %s", listener.address)
        self._plans[generation], self._listeners[generation] = plan, listeners

    def forget(self, generations: Sequence[int]) -> None:
        """No child of these will be started any more."""
        surplus = [each for number in generations for each in self._listeners.pop(number, [])]
        used = [each.socket for each in self._all()]
        close_listeners([each for each in surplus if each.socket not in used])
        for number in generations:
            self._plans.pop(number, None)

    def settle(self, pool: DelayedPool) -> None:
        """Publish what only the master knows, and have a child of the generation that serves."""
        state = State.READY if pool.ever_ready else State.STARTING
        full = pool.ready_count >= pool.workers
        self._board.tell(
            state=State.DRAINING if pool.draining else state,
            generation=pool.generation,
            workers=pool.workers,
            ready=pool.ready_count,
            started=self._board.fleet(Fleet.STARTED) or int(full),
        )
        plan = self._plans[pool.generation]
        if self._pid and self._generation != pool.generation:
            # It drains; what comes meanwhile waits in the queue for its successor.
            os.kill(self._pid, signal.SIGTERM)
            if self._end is not None:
                self._former[self._pid] = self._end
            self._end, self._pid = None, 0
        self._wanted = plan.admin is not None
        if self._wanted and not self._pid and time.monotonic() >= self._retry_at:
            self._start(pool.generation, plan)

    def reaped(self, pid: int, status: int) -> bool:
        """Whether that was one of ours."""
        if (former := self._former.pop(pid, None)) is not None:
            former.close()
            return True
        end = self._end
        if not self._pid or pid != self._pid or end is None:
            return False
        said = dict(end.receive())
        if sentence := said.get(notify.FAILED):
            detail = said.get(notify.DETAIL, "")
            log.error("admin pid=%d cannot serve: %s", pid, f"{sentence}\n{detail}".rstrip())
        log.warning("admin pid=%d %s", pid, describe(status))
        now = time.monotonic()
        self._streak = self._streak + 1 if now - self._started < EARLY else 0
        self._retry_at = now + self._limits.backoff(self._streak)
        self._forsake(end)
        return True

    def reopen_logs(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGUSR1)

    def leave(self) -> None:
        """In a forked child: close what is not its own."""
        for end in (*self._former.values(), *([self._end] if self._end else [])):
            end.close()
        kept = [listener.socket for listener in self._kept]
        for listener in self._all():
            if listener.socket not in kept:
                listener.socket.close()

    def close(self) -> None:
        """The server has stopped: so does its admin child."""
        if self._pid and self._end is not None:
            os.kill(self._pid, signal.SIGQUIT)
            poll = select.poll()
            poll.register(self._end, 0)  # until it hangs up, that is, until it has ended
            if not poll.poll(PATIENCE * 1000):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._forsake(self._end)
        close_listeners(self._all())

    def _start(self, generation: int, plan: Plan) -> None:
        run = plan.admin
        assert run is not None
        self._started = time.monotonic()
        self._limits = plan.limits
        self._kept = listeners = tuple(self._listeners[generation])
        try:
            end, sock = open_channel()
            with sock:

                def live() -> int:
                    end.close()
                    # A scoreboard of its own, so that it counts nowhere among the workers.
                    return run(ChildEnd(0, 0, generation, listeners, Scoreboard(1), sock), board)

                board = self._board
                try:
                    self._pid = self._fork(live)
                except OSError:
                    end.close()
                    raise
        except OSError as exc:
            self._retry_at = self._started + 1.0
            log.error("admin gen=%d not forked: %s", generation, exc)
            return
        finally:
            self._kept = ()
        self._end, self._generation = end, generation
        log.info("admin gen=%d pid=%d started", generation, self._pid)

    def _forsake(self, end: ParentEnd) -> None:
        end.close()
        self._end, self._pid = None, 0

    def _all(self) -> list[Listener]:
        return [each for listeners in self._listeners.values() for each in listeners]


def _binds(plan: Plan) -> tuple[Bind, ...]:
    return plan.admin_binds if plan.admin is not None else ()
