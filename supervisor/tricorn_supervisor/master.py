"""Forks, signals and waits for what the pool has decided; imports no application."""

import logging
import math
import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from socket import socket

from setproctitle import setproctitle

from tricorn_supervisor import birth, notify
from tricorn_supervisor.actions import (
    Aborted,
    Action,
    Finish,
    Load,
    Order,
    Proven,
    Reloaded,
    Send,
    Spawn,
)
from tricorn_supervisor.admin import Admin
from tricorn_supervisor.alone import run_alone
from tricorn_supervisor.channel import ChildEnd, ParentEnd, open_channel
from tricorn_supervisor.child import Child, Stage
from tricorn_supervisor.commands import Commands
from tricorn_supervisor.control import Control
from tricorn_supervisor.delay import DelayedPool
from tricorn_supervisor.endings import Endings
from tricorn_supervisor.generations import Generations
from tricorn_supervisor.lanes import Lanes
from tricorn_supervisor.listeners import Listener, ListenError
from tricorn_supervisor.pidfile import PidFile
from tricorn_supervisor.plan import Plan, PlanError, usable
from tricorn_supervisor.scoreboard import Field, Scoreboard
from tricorn_supervisor.signals import Inbox

__all__ = ["Master", "Plan", "PlanError", "run_alone"]

log = logging.getLogger(__name__)

SLOTS = 1024  # processes of all generations at a time; a row is 1.5 KiB of shared memory

ORDERS = {
    Order.TERM: signal.SIGTERM,
    Order.QUIT: signal.SIGQUIT,
    Order.DUMP: signal.SIGUSR2,
    Order.KILL: signal.SIGKILL,
}


class Master:
    """Keeps the fleet of a plan running.

    `load` is called here, where whatever it raises propagates, and again for every reload, where
    it is logged and the present plan stays.
    """

    def __init__(self, load: Callable[[], Plan]) -> None:
        self._load = load
        plan = usable(load(), SLOTS)
        self._generations = Generations(plan)
        self._pool = DelayedPool(plan.limits, plan.workers, SLOTS)
        self._board = Scoreboard(SLOTS)
        self._lanes = Lanes(partial(self._assist, "dispatcher"))
        self._admin = Admin(partial(self._assist, "admin"), self._board)
        self._ends: dict[int, ParentEnd] = {}  # by slot
        self._slots: dict[int, int] = {}  # by pid
        self._endings = Endings(self._board)
        self._inbox = Inbox()
        self._pidfile = PidFile()
        self._control = Control()
        self._commands = Commands(self._pool, self._board, self._reopen_logs)
        self._systemd = notify.Systemd()
        self._announced = False
        self._closing = False

    def run(self) -> int:
        """Until it is told to stop: 0. If no worker can start: 3, or 1 if none can be forked.

        Raises ListenError and PlanError.
        """
        plan = self._generations[1]
        try:
            self._pidfile.open(plan.pid)
            self._generations.open()
            self._lanes.open(1, plan)
            self._admin.open(1, plan)
            self._control.open(plan.control)
            self._systemd = notify.Systemd.take(os.environ)
            self._inbox.open()
            setproctitle(f"server: master [{plan.application}]")
            return self._supervise()
        finally:
            self._inbox.close()
            self._admin.close()
            self._commands.finished()
            self._control.close()
            self._pidfile.close()
            self._lanes.close()
            self._generations.close()

    def _supervise(self) -> int:
        while True:
            # First: readiness turns before anything closes.
            self._admin.settle(self._pool)
            if (finish := self._act()) is not None:
                level = logging.ERROR if finish.status else logging.INFO
                log.log(level, "server stopped: %s", finish.reason)
                return finish.status
            self._report()
            self._wait()
            for number in self._inbox.take():
                self._hear_signal(number)
            for slot in list(self._ends):
                self._hear(slot)
            self._control.turn(time.monotonic(), self._commands.ask)
            self._reap()

    def _act(self) -> Finish | None:
        """Do what the pool wants done, until it wants nothing."""
        for slot, child in self._pool.children.items():
            if child.stage is Stage.READY:
                self._pool.beat(slot, self._board.row(slot)[Field.BEAT] / 1e9)
        while True:
            actions = self._pool.step(time.monotonic())
            if self._pool.stopping:
                self._close()
            # First: who is told to drain must not be given new connections.
            self._lanes.settle(self._pool.workers)
            if not actions:
                return None
            for action in actions:
                if isinstance(action, Finish):
                    return action
                self._do(action)

    def _report(self) -> None:
        self._systemd.live(time.monotonic())
        pool = self._pool
        if pool.stopping:
            return
        if not self._announced and pool.ready_count >= pool.workers:
            self._announced = True
            self._systemd.ready()
            self._generations[self._serving].started()
        self._systemd.status(f"{pool.ready_count} of {pool.workers} workers ready")

    def _close(self) -> None:
        """The master stops listening first: once the workers stop too, clients are refused."""
        if not self._closing:
            self._closing = True
            self._systemd.stopping()
            self._generations.mute()

    def _wait(self) -> None:
        """The one wait, until a signal, a line from a child, or the pool's deadline."""
        poll = select.poll()
        poll.register(self._inbox, select.POLLIN)
        for end in self._ends.values():
            if not end.closed:
                poll.register(end, select.POLLIN)
        for sock, events in self._control.watched():
            poll.register(sock, events)
        parts = (self._pool, self._lanes, self._admin, self._systemd, self._control)
        deadlines = [part.deadline for part in parts if part.deadline is not None]
        if not deadlines:
            poll.poll()
        else:
            # Rounded up, or the last millisecond is spent in a loop.
            poll.poll(max(0, math.ceil((min(deadlines) - time.monotonic()) * 1000)))

    # Facts for the pool

    def _hear_signal(self, number: signal.Signals) -> None:
        now = time.monotonic()
        match number:
            case signal.SIGTERM | signal.SIGINT:
                log.info("%s: %s", number.name, "stop now" if self._pool.stopping else "stop")
                self._pool.stop(now, patient=number == signal.SIGTERM)
            case signal.SIGQUIT:
                log.info("%s: stop now", number.name)
                self._pool.quit(now)
            case signal.SIGHUP:
                log.info("%s: reload", number.name)
                self._pool.want_reload()
            case signal.SIGTTIN | signal.SIGTTOU:
                self._pool.scale(1 if number == signal.SIGTTIN else -1, now)
                log.info("%s: workers=%d", number.name, self._pool.workers)
            case signal.SIGUSR1:
                self._reopen_logs()
            case _:  # SIGCHLD has done its work by waking us; the rest means nothing yet
                pass

    def _reopen_logs(self) -> None:
        # Ours first: what is forked from now on inherits the new files.
        self._generations[self._serving].reopen()
        for child in self._pool.children.values():
            if child.pid:
                os.kill(child.pid, signal.SIGUSR1)
        self._admin.reopen_logs()
        log.info("logs reopened")

    def _hear(self, slot: int) -> None:
        """What a child has said."""
        end, child = self._ends[slot], self._pool.children[slot]
        now = time.monotonic()
        for key, value in end.receive():
            match key:
                case "READY":
                    log.info("%s ready", child)
                    self._pool.ready(slot, now)
                case "STOPPING":
                    self._pool.leaving(slot, now)
                case notify.WORN:
                    log.info("%s is worn: %s", child, value)
                    self._pool.worn(slot, value)
                # Its siblings see the same, and are not to cause a second one.
                case notify.RELOAD if child.generation == self._generations.latest:
                    log.info("%s asks for a reload: %s", child, value)
                    self._pool.want_reload()
                case notify.STATUS:
                    log.debug("%s status: %s", child, value)
                case notify.DETAIL:
                    self._endings.hear_detail(child, value)
                case notify.FAILED:
                    self._endings.hear_failure(child, value)
                case _:  # the vocabulary may grow before every worker runs the new code
                    log.debug("%s says %s", child, key)
        if end.closed:
            self._pool.lost(slot, now)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # As PID 1 we are given the orphans of others, whose exit status is nobody's business.
            code = os.waitstatus_to_exitcode(status)
            if (slot := self._slots.pop(pid, None)) is not None:
                self._bury(slot, code)
            elif not self._admin.reaped(pid, code):
                self._lanes.reaped(pid, code)

    def _bury(self, slot: int, status: int) -> None:
        self._hear(slot)  # its last words
        self._ends.pop(slot).close()
        self._board.release(slot)
        child = self._pool.exited(slot, status, time.monotonic())
        self._lanes.release(child)
        self._endings.bury(child, status)

    # What the pool wants done

    def _do(self, action: Action) -> None:
        match action:
            case Spawn(child, reason):
                self._fork(child, reason)
            case Send(child, order, reason):
                if order is Order.DUMP:
                    log.warning("%s does not answer: %s; its stacks follow", child, reason)
                elif order is not Order.KILL:
                    log.info("%s is told to %s: %s", child, order.value, reason)
                if child.pid:
                    os.kill(child.pid, ORDERS[order])
            case Load():
                self._reload()
            case Proven(generation):
                log.info("gen=%d proven, replacing the other workers", generation)
            case Aborted(generation, reason):
                reasons = self._endings.reasons(generation)
                self._commands.reload_failed(generation, ": ".join([reason, *reasons]))
                log.error("gen=%d given up: %s; gen=%d stays", generation, reason, self._serving)
                self._forget([generation])
            case Reloaded(generation):
                self._forget(self._generations.others(generation))
                log.info("gen=%d reload complete", generation)
                self._commands.reloaded(generation)
                setproctitle(f"server: master [{self._generations[generation].application}]")
            case Finish():
                raise AssertionError("the loop returns instead")

    @property
    def _serving(self) -> int:
        return self._pool.generation

    def _reload(self) -> None:
        self._systemd.reloading()
        self._commands.reload_begins()
        generation = self._generations.newest + 1
        try:
            plan = usable(self._load(), SLOTS)
            self._lanes.open(generation, plan)
            self._admin.open(generation, plan)
            self._generations.add(plan)
        except (PlanError, ListenError) as exc:
            log.error("gen=%d stays: reload refused: %s", self._serving, exc)
            refusal = str(exc)
        # It reads what operators write: a surprise in there must not take the fleet down.
        except Exception as exc:
            log.exception("gen=%d stays: reload refused", self._serving)
            refusal = f"{type(exc).__name__}: {exc}"
        else:
            self._pool.reload(generation, plan.limits, plan.workers)
            return
        self._commands.reload_failed(generation, refusal)
        self._lanes.forget([generation])
        self._admin.forget([generation])
        self._systemd.ready()

    def _forget(self, generations: list[int]) -> None:
        """A reload has ended: close what only these generations listened on."""
        self._generations.forget(generations)
        self._lanes.forget(generations)
        self._admin.forget(generations)
        self._endings.forget(generations)
        self._systemd.ready()

    def _fork(self, child: Child, reason: str) -> None:
        birth.flush()
        try:
            end, sock = open_channel()
            with sock:
                self._ends[child.slot] = end
                pid = self._divide(child, sock)
        except OSError as exc:
            log.error("worker=%d gen=%d not forked: %s", child.number, child.generation, exc)
            if unused := self._ends.pop(child.slot, None):
                unused.close()
            self._board.release(child.slot)
            self._lanes.release(child)
            self._pool.unspawned(child.slot, time.monotonic(), str(exc))
            return
        self._slots[pid] = child.slot
        self._pool.spawned(child.slot, pid)
        log.info("%s started: %s", child, reason)

    def _divide(self, child: Child, sock: socket) -> int:
        lane = self._lanes.claim(child)
        self._board.claim(child.slot, child.number, child.generation, lane)
        with self._inbox.held():
            if pid := os.fork():
                return pid
            birth.live(lambda: self._become(child, sock), self._generations[child.generation].work)

    def _become(self, child: Child, sock: socket) -> ChildEnd:
        """In the child: let go of all that is the master's and its siblings'."""
        datagrams = self._lanes.take(child)
        mine = self._leave(child.generation)
        birth.enter_environment(child.number)
        application = self._generations[child.generation].application
        setproctitle(f"server: worker {child.number} [{application}]")
        row = self._board.row(child.slot)
        row[Field.PID] = os.getpid()
        return ChildEnd(
            child.number,
            child.slot,
            child.generation,
            mine,
            self._board,
            sock,
            lane=row[Field.LANE] - 1,
            datagrams=datagrams,
            secret=self._lanes.secret,
            server_id=self._lanes.server_id,
        )

    def _leave(self, generation: int) -> tuple[Listener, ...]:
        self._inbox.leave()
        self._admin.leave()
        for end in self._ends.values():
            end.close()
        self._control.leave()
        self._pidfile.leave()
        return self._generations.take(generation)

    def _assist(self, name: str, run: Callable[[], int]) -> int:
        """Fork a child that is no worker; its pid. Raises OSError."""
        birth.flush()
        with self._inbox.held():
            if pid := os.fork():
                return pid
            birth.end_with(lambda: self._become_assistant(name, run))

    def _become_assistant(self, name: str, run: Callable[[], int]) -> int:
        self._leave(0)
        if name != "dispatcher":
            self._lanes.leave()
        setproctitle(f"server: {name} [{self._generations[self._serving].application}]")
        if (identity := self._generations[self._serving].identity) is not None:
            identity.assume()
        return run()
