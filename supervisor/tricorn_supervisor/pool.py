"""Decides which workers start, drain and die: told facts and the time, it answers with actions.

Theory. There is one Place for each number 1..N. A place has a `serving` child, which counts, and
while that one is being replaced a `successor`, which counts once it is ready. A child outside every
place is on its way out: drained, or about to be killed. Whatever a child may do too late has one
time, its `alarm`; `step` acts on the alarms that have passed, then compares places with what should
be and fills the gaps. Facts only change state, so that they may arrive in any order.

A reload is first a Trial: one child of the new generation beside the old fleet, the canary. Nothing
of the old generation is touched before the canary is proven. From then on the new generation is
simply the generation, and the places that still serve an older one are rolled one at a time.

Times are seconds on one monotonic clock; the caller steps again until nothing is left to do, then
sleeps until `deadline`.
"""

from dataclasses import dataclass, field

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
from tricorn_supervisor.child import FIRST_BACKOFF, NEVER, Child, Limits, Place, Stage, Trial

EARLY = 10.0  # a worker that dies sooner after it was ready is part of a crash loop
PATIENCE = 5.0  # how long a hung worker is kept for its replacement to become ready
MARGIN = 2.0  # before a worker is killed that should be gone
# Beyond the worker's own time-outs: it cancels what is left (2 s), ends the lifespan (1 s) and what
# the application left running (1 s), and waits for its logs to be taken (2 s).
ENDING = 7.0
DUMP_TIME = 0.5  # between asking for the stacks and killing a worker that does not start
LATE = 2.0  # a step this long after its deadline: the master itself was suspended
FIRST_DEATHS = 5
FAILED = 1
CANNOT_START = 3  # exit status of a worker, and of the server; uvicorn and gunicorn use it too


@dataclass(slots=True, eq=False)
class Pool:
    limits: Limits
    workers: int
    slots: int  # at most so many processes live at a time
    generation: int = 1
    children: dict[int, Child] = field(init=False, default_factory=dict)  # by slot
    places: dict[int, Place] = field(init=False, default_factory=dict)  # by number
    trial: Trial | None = field(init=False, default=None)
    rolling: bool = field(init=False, default=False)
    stopping: bool = field(init=False, default=False)
    ever_ready: bool = field(init=False, default=False)
    _planned: int = field(init=False)  # what the plan said; TTIN and TTOU change `workers` only
    _wanted: bool = field(init=False, default=False)
    _deaths: int = field(init=False, default=0)
    _finish: Finish = field(init=False, default=Finish(0, "told to stop"))
    _actions: list[Action] = field(init=False, default_factory=list)
    _now: float = field(init=False, default=0.0)
    _asked: float = field(init=False, default=NEVER)  # the deadline after the last step

    def __post_init__(self) -> None:
        self._planned = self.workers
        self._resize(self.workers, 0.0)

    # Facts

    def spawned(self, slot: int, pid: int) -> None:
        self.children[slot].pid = pid

    def unspawned(self, slot: int, now: float, reason: str) -> None:
        """The fork failed: fatal for a server that never served, otherwise tried again later."""
        child = self.children.pop(slot)
        if self.trial is not None and child is self.trial.canary:
            self._abort(f"no process for it: {reason}")
        elif not self.ever_ready:
            self._give_up(FAILED, f"cannot start a worker: {reason}", now)
        else:
            self._vacate(child, now, pause=FIRST_BACKOFF)

    def ready(self, slot: int, now: float) -> None:
        child = self.children.get(slot)
        if child is None or child.stage is not Stage.STARTING or child.kill_at < NEVER:
            return
        child.stage = Stage.READY
        child.ready_at = child.beat_at = now
        self.ever_ready = True

        place = self.places.get(child.number)
        if place is not None and child is place.successor:
            old, place.serving, place.successor = place.serving, child, None
            if old is not None:
                self._retire(old, "replaced", now)

    def beat(self, slot: int, at: float) -> None:
        """The event loop of that worker was alive at that time."""
        child = self.children.get(slot)
        if child is not None and child.stage is Stage.READY and at > child.beat_at:
            child.beat_at = at
            child.dumped = False

    def leaving(self, slot: int, now: float) -> None:
        """A worker drains by its own decision: it is replaced meanwhile."""
        child = self.children.get(slot)
        if child is None or child.stage is Stage.LEAVING:
            return
        self._vacate(child, now)
        self._sentence(child, now)

    def worn(self, slot: int, reason: str) -> None:
        """A worker asks to be replaced in its turn, and goes on until then."""
        if child := self.children.get(slot):
            child.worn = reason

    def lost(self, slot: int, now: float) -> None:
        """The channel was closed: the worker is exiting, or can no longer be looked after."""
        if child := self.children.get(slot):
            child.condemn(now + MARGIN, "its channel is closed")

    def exited(self, slot: int, status: int, now: float) -> Child:
        """A child was reaped; `status` as from os.waitstatus_to_exitcode."""
        child = self.children.pop(slot)
        if self.stopping:
            return child
        if self.trial is not None and child is self.trial.canary:
            was = "within reload_settle" if child.ready_at < NEVER else "before it was ready"
            self._abort(f"its first worker ended {was}")
            return child
        self._vacate(child, now)
        if not self.ever_ready and not child.told:
            self._deaths += 1
            if status == CANNOT_START:
                self._give_up(CANNOT_START, "the application cannot start", now)
            elif self._deaths >= FIRST_DEATHS:
                self._give_up(CANNOT_START, "no worker ever became ready", now)
        return child

    # Wishes

    def want_reload(self) -> None:
        """Reload as soon as none is under way; asking twice before that is asking once."""
        self._wanted = not self.stopping

    def reload(self, generation: int, limits: Limits, workers: int) -> None:
        self.trial = Trial(generation, limits, workers)

    def scale(self, change: int, now: float) -> None:
        if not self.stopping:
            self._resize(min(max(1, self.workers + change), self.slots // 2), now)

    def stop(self, now: float) -> None:
        """Drain every worker, then finish; asked twice, stop now."""
        if self.stopping:
            self.quit(now)
            return
        self._abandon()
        for child in self.children.values():
            if not child.told:
                self._drain(child, "stop", now)

    def quit(self, now: float) -> None:
        """End every worker as soon as its application has shut down."""
        self._abandon()
        for child in self.children.values():
            child.told = True
            child.stage = Stage.LEAVING
            child.condemn(now + child.limits.shutdown_timeout + ENDING, "still there after QUIT")
            self._send(child, Order.QUIT, "stop now")

    # Answers

    @property
    def ready_count(self) -> int:
        """How many numbers have a worker that serves."""
        serving = (place.serving for place in self.places.values())
        return sum(child is not None and child.stage is Stage.READY for child in serving)

    @property
    def deadline(self) -> float | None:
        """Step at that time if no fact comes before it."""
        nearest = self._nearest()
        return nearest if nearest < NEVER else None

    def step(self, now: float) -> list[Action]:
        """What is to be done now. Call again after doing it, until there is nothing."""
        self._forgive(now)
        self._now = now
        self._watch(now)
        if not self.stopping:
            self._try(now)
            self._staff(now)
            self._roll(now)
            self._recycle(now)
            self._begin()
        elif not self.children:
            self._actions.append(self._finish)

        self._asked = self._nearest()
        actions, self._actions = self._actions, []
        # Decided by one fact and overtaken by the next: its process is reaped already.
        return [a for a in actions if not isinstance(a, Send) or self._living(a.child)]

    def _nearest(self) -> float:
        times = [child.alarm for child in self.children.values()]
        if not self.stopping:
            # One that is due already waits for a slot, not for a time.
            times += [p.retry_at for p in self.places.values() if p.retry_at > self._now]
        if self.trial is not None:
            times.append(self.trial.proven_at)
        return min(times, default=NEVER)

    def _living(self, child: Child) -> bool:
        return self.children.get(child.slot) is child

    def _forgive(self, now: float) -> None:
        """Time in which the master itself was stopped counts against nobody."""
        late = now - self._asked
        if late < LATE:
            return
        for child in self.children.values():
            child.started += late
            child.kill_at += late
            if child.stage is Stage.READY:
                child.beat_at = now
                child.dumped = False

    def _watch(self, now: float) -> None:
        for child in self.children.values():
            while child.alarm <= now:
                self._alarm(child, now)

    def _alarm(self, child: Child, now: float) -> None:
        if child.kill_at <= now:
            child.killed = True
            self._send(child, Order.KILL, child.reason)
        elif child.stage is Stage.STARTING:
            child.condemn(now + DUMP_TIME, "not ready within startup_timeout")
            self._send(child, Order.DUMP, child.reason)
        elif not child.dumped:
            child.dumped = True
            self._send(child, Order.DUMP, f"no heartbeat for {now - child.beat_at:.1f} s")
        else:
            child.hung = True
            canary = self.trial is not None and child is self.trial.canary
            child.condemn(now if canary else now + PATIENCE, "no heartbeat")

    def _try(self, now: float) -> None:
        if (trial := self.trial) is None:
            return
        if trial.canary is None:
            number = min(self.places.values(), key=lambda place: place.successor is not None).number
            trial.canary = self._spawn(number, trial.generation, trial.limits, "canary", now)
        elif now >= trial.proven_at:
            self._prove(trial, trial.canary, now)

    def _prove(self, trial: Trial, canary: Child, now: float) -> None:
        self.trial = None
        self.generation, self.limits = trial.generation, trial.limits
        self.rolling = True
        self._actions.append(Proven(trial.generation))
        for place in self.places.values():
            place.streak, place.retry_at = 0, now

        if place_of_canary := self.places.get(canary.number):
            for old in (place_of_canary.serving, place_of_canary.successor):
                if old is not None:
                    self._retire(old, "replaced", now)
            place_of_canary.serving, place_of_canary.successor = canary, None
        else:
            self._drain(canary, "one worker fewer", now)

        if trial.workers != self._planned:
            self._planned = trial.workers
            self._resize(trial.workers, now)

    def _staff(self, now: float) -> None:
        """Every number has a worker, and one that hangs a successor."""
        for place in self.places.values():
            if now < place.retry_at:
                continue
            if place.serving is None:
                place.serving = self._start(place, "to serve", now)
            elif place.serving.hung and place.successor is None:
                place.successor = self._start(place, "to replace one that hangs", now)

    def _roll(self, now: float) -> None:
        """Replace the next worker of an older generation, if the last step is done."""
        if not self.rolling or self.trial is not None:
            return
        serving = [(place, place.serving) for place in self.places.values()]
        old = [place for place, child in serving if child and child.generation != self.generation]
        if not old:
            self.rolling = False
            self._actions.append(Reloaded(self.generation))
        elif now >= old[0].retry_at and not self._starting():
            old[0].successor = self._start(old[0], "reload", now)

    def _recycle(self, now: float) -> None:
        """Replace the next worker that is worn, if nothing else is on its way in or out."""
        if self.rolling or self.trial is not None or self._starting():
            return
        if any(child.worn and child.stage is Stage.LEAVING for child in self.children.values()):
            return
        for place in self.places.values():
            old = place.serving
            if old is not None and old.worn and place.successor is None and now >= place.retry_at:
                place.successor = self._start(
                    place, f"to replace one that is worn: {old.worn}", now
                )
                return

    def _starting(self) -> bool:
        return any(child.stage is Stage.STARTING for child in self.children.values())

    def _begin(self) -> None:
        # A reload whose later steps fail must not keep out the one that would repair it.
        stuck = any(place.streak for place in self.places.values())
        if self._wanted and self.ever_ready and self.trial is None and (not self.rolling or stuck):
            self._wanted = False
            self._actions.append(Load())

    def _start(self, place: Place, reason: str, now: float) -> Child | None:
        return self._spawn(place.number, self.generation, self.limits, reason, now)

    def _spawn(
        self, number: int, generation: int, limits: Limits, reason: str, now: float
    ) -> Child | None:
        """None while every slot is taken: then an exit leads here again."""
        slot = next((slot for slot in range(self.slots) if slot not in self.children), None)
        if slot is None:
            return None
        child = self.children[slot] = Child(number, slot, generation, limits, started=now)
        self._actions.append(Spawn(child, reason))
        return child

    def _vacate(self, child: Child, now: float, *, pause: float = 0.0) -> None:
        """This child no longer counts; its number is due for another, after a pause if it loops."""
        place = self.places.get(child.number)
        if place is None or child not in (place.serving, place.successor):
            return
        if child is place.serving:
            place.serving = place.successor
        elif place.serving is not None and place.serving.hung:
            place.serving.condemn(now, place.serving.reason)
        place.successor = None
        place.streak = place.streak + 1 if now - child.ready_at < EARLY else 0
        place.retry_at = now + max(pause, child.limits.backoff(place.streak))

    def _retire(self, child: Child, reason: str, now: float) -> None:
        if child.hung:
            child.condemn(now, child.reason)
        else:
            self._drain(child, reason, now)

    def _drain(self, child: Child, reason: str, now: float) -> None:
        child.told = True
        self._sentence(child, now)
        self._send(child, Order.TERM, reason)

    def _sentence(self, child: Child, now: float) -> None:
        child.stage = Stage.LEAVING
        limits = child.limits
        at = now + limits.graceful_timeout + limits.shutdown_timeout + ENDING
        child.condemn(at, "still there after its drain time-out")

    def _send(self, child: Child, order: Order, reason: str) -> None:
        self._actions.append(Send(child, order, reason))

    def _abort(self, reason: str) -> None:
        if self.trial is not None:
            self._actions.append(Aborted(self.trial.generation, reason))
            self.trial = None

    def _abandon(self) -> None:
        self.stopping = True
        self.trial = None
        self.rolling = self._wanted = False

    def _give_up(self, status: int, reason: str, now: float) -> None:
        self._finish = Finish(status, reason)
        self._abandon()
        for child in self.children.values():
            self._drain(child, reason, now)
            # Nobody was ever served: nothing to be patient about.
            child.condemn(now + MARGIN, reason)

    def _resize(self, workers: int, now: float) -> None:
        self.workers = workers
        for number in [number for number in self.places if number > workers]:
            place = self.places.pop(number)
            for child in (place.serving, place.successor):
                if child is not None:
                    self._retire(child, "one worker fewer", now)
        for number in range(1, workers + 1):
            self.places.setdefault(number, Place(number))
