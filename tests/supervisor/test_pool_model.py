"""Any history at all: a pool against a kernel that may kill, hang and refuse whatever it likes."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tricorn_supervisor.actions import Aborted, Action, Finish, Load, Order, Reloaded, Send, Spawn
from tricorn_supervisor.child import Child, Limits
from tricorn_supervisor.pool import Pool

pytestmark = pytest.mark.slow

LIMITS = st.builds(
    Limits,
    startup_timeout=st.sampled_from([0, 5, 60]),
    heartbeat_timeout=st.sampled_from([0, 1, 30]),
    graceful_timeout=st.sampled_from([0, 20]),
    shutdown_timeout=st.sampled_from([0, 8]),
    respawn_backoff_max=st.sampled_from([0, 0.1, 30]),
    reload_settle=st.sampled_from([0, 5]),
)


@dataclass(eq=False)
class Process:
    child: Child
    pid: int
    ready: bool = False
    hung: bool = False
    told: bool = False
    killed: bool = False


class Fleet(RuleBasedStateMachine):
    @initialize(workers=st.integers(1, 3), limits=LIMITS)
    def start(self, workers: int, limits: Limits) -> None:
        self.now = 1000.0
        self.pool = Pool(limits, workers, 12)
        self.processes: dict[int, Process] = {}  # by slot
        self.pids = 0
        self.finished: Finish | None = None
        self.floor = 0  # so many are ready whatever happens, unless a ready one is harmed
        self.generations = 1
        self.next_load: Callable[[], None] = lambda: None
        self.step()

    # What the pool does

    def step(self) -> None:
        for slot, process in self.processes.items():
            if process.ready and not process.hung:
                self.pool.beat(slot, self.now)
        for _ in range(100):
            actions = self.pool.step(self.now)
            for action in actions:
                self.do(action)
            if not actions or self.finished:
                break
        else:
            raise AssertionError("the pool never has enough")
        deadline = self.pool.deadline
        assert self.finished or deadline is None or deadline > self.now

    def do(self, action: Action) -> None:
        match action:
            case Spawn(child):
                assert child.slot not in self.processes
                assert not self.pool.stopping
                self.pids += 1
                self.processes[child.slot] = Process(child, self.pids)
                self.pool.spawned(child.slot, self.pids)
            case Send(child, order):
                process = self.processes[child.slot]
                assert process.child is child, "a signal for a process that is gone"
                process.told = True if order in (Order.TERM, Order.QUIT) else process.told
                process.killed = process.killed or order is Order.KILL
            case Load():
                self.next_load()
            case Aborted() | Reloaded():
                assert self.pool.trial is None
            case Finish():
                assert not self.processes
                self.finished = action

    # What the kernel does

    def choose(self, data: st.DataObject, wanted: Callable[[Process], bool]) -> Process | None:
        found = [process for process in self.processes.values() if wanted(process)]
        return data.draw(st.sampled_from(found)) if found else None

    def reap(self, process: Process, status: int) -> None:
        assert self.processes.pop(process.child.slot) is process
        assert self.pool.exited(process.child.slot, status, self.now) is process.child
        self.step()

    def become_ready(self, process: Process) -> None:
        process.ready = True
        self.pool.ready(process.child.slot, self.now)
        self.step()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while not self.finished and (deadline := self.pool.deadline) and deadline <= end:
            self.now = deadline
            self.step()
        self.now = end
        if not self.finished:
            self.step()

    @rule(data=st.data())
    def worker_becomes_ready(self, data: st.DataObject) -> None:
        if process := self.choose(data, lambda p: not p.ready and not p.told):
            self.become_ready(process)

    @rule(data=st.data(), status=st.sampled_from([0, 1, 3, -9, -11]))
    def worker_dies(self, data: st.DataObject, status: int) -> None:
        if process := self.choose(data, lambda p: not p.told):
            self.floor = 0 if process.ready else self.floor
            self.reap(process, status)

    @rule(data=st.data())
    def worker_obeys(self, data: st.DataObject) -> None:
        if process := self.choose(data, lambda p: p.killed or (p.told and not p.hung)):
            self.reap(process, -9 if process.killed else 0)

    @rule(data=st.data())
    def worker_is_worn(self, data: st.DataObject) -> None:
        if process := self.choose(data, lambda p: p.ready):
            self.pool.worn(process.child.slot, "old")
            self.step()

    @rule(data=st.data())
    def worker_hangs_or_wakes(self, data: st.DataObject) -> None:
        if process := self.choose(data, lambda p: p.ready):
            self.floor = 0
            process.hung = not process.hung

    @rule(data=st.data())
    def worker_leaves(self, data: st.DataObject) -> None:
        if process := self.choose(data, lambda p: p.ready and not p.told):
            self.floor = 0
            process.told = True
            self.pool.leaving(process.child.slot, self.now)
            self.step()

    @rule(seconds=st.sampled_from([0.05, 1, 5, 20, 100]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(seconds=st.sampled_from([1, 10, 10_000]))
    def master_is_suspended(self, seconds: float) -> None:
        self.now += seconds
        self.step()

    @rule(workers=st.integers(1, 4) | st.none(), limits=LIMITS)
    def hup(self, workers: int | None, limits: Limits) -> None:
        """Without a number of workers the configuration is refused."""

        def load() -> None:
            self.generations += 1
            self.pool.reload(self.generations, limits, workers or 1)

        self.next_load = load if workers else lambda: None
        self.pool.want_reload()
        self.step()

    @rule(change=st.sampled_from([-1, 1]))
    def scale(self, change: int) -> None:
        self.floor = 0
        self.pool.scale(change, self.now)
        self.step()

    @precondition(lambda self: self.finished is None)
    @rule(now=st.booleans())
    def stop(self, now: bool) -> None:
        self.pool.quit(self.now) if now else self.pool.stop(self.now)
        self.step()

    # What must become of it

    @precondition(lambda self: not self.finished and not self.pool.stopping)
    @rule()
    def everything_is_well_for_long(self) -> None:
        self.settle()
        pool = self.pool
        if pool.stopping:
            return
        assert pool.ready_count == pool.workers == len(self.processes)
        assert pool.trial is None and not pool.rolling
        assert {p.child.generation for p in self.processes.values()} == {pool.generation}
        self.floor = pool.workers

    def settle(self) -> None:
        """Everybody starts, obeys and beats, until nothing has changed for a while."""
        for _ in range(60):
            for process in list(self.processes.values()):
                process.hung = False
                if process.killed or process.told:
                    self.reap(process, -9 if process.killed else 0)
                elif not process.ready:
                    self.become_ready(process)
                if self.finished:
                    return
            self.pass_time(2)

    @invariant()
    def numbers_are_filled_once(self) -> None:
        if hasattr(self, "pool"):
            serving = [p.serving for p in self.pool.places.values() if p.serving]
            assert len({child.number for child in serving}) == len(serving)
            assert all(number == p.number for number, p in self.pool.places.items())

    @invariant()
    def pool_knows_every_process(self) -> None:
        if hasattr(self, "pool"):
            assert self.pool.children == {
                slot: process.child for slot, process in self.processes.items()
            }

    @invariant()
    def reload_never_has_fewer_than_n_ready_workers(self) -> None:
        if hasattr(self, "pool") and not self.pool.stopping:
            self.floor = min(self.floor, self.pool.workers)
            assert sum(p.ready and not p.told for p in self.processes.values()) >= self.floor

    def teardown(self) -> None:
        """However it was: a stop ends, even if nobody obeys anything but SIGKILL."""
        if not hasattr(self, "pool") or self.finished:
            return
        self.pool.stop(self.now)
        self.step()
        for _ in range(10):
            for process in [p for p in self.processes.values() if p.killed]:
                self.reap(process, -9)
            if not self.finished:
                self.pass_time(20)
        assert self.finished


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, derandomize=True
)
