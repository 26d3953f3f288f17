"""What operators can ask of a running master, and who waits for what becomes of it."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tricorn_supervisor.child import Child, Stage
from tricorn_supervisor.control import Client, Question
from tricorn_supervisor.delay import DelayedPool
from tricorn_supervisor.memory import resident
from tricorn_supervisor.scoreboard import Field, Scoreboard

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Commands:
    """Answers at once what it can; reloads and the end of the server, when they have happened."""

    pool: DelayedPool
    board: Scoreboard
    reopen_logs: Callable[[], None]
    _started: float = field(init=False, default_factory=time.monotonic)
    _asked: list[Client] = field(init=False, default_factory=list)  # for a reload to come
    _reloading: list[Client] = field(init=False, default_factory=list)  # for the present one
    _ending: list[Client] = field(init=False, default_factory=list)
    _last_reload: dict[str, object] | None = field(init=False, default=None)

    def ask(self, client: Client, question: Question) -> None:
        command = question.get("command")
        if command not in ("status", "workers"):  # these are asked every second, by watchers
            log.info("control: %s", json.dumps(question))
        now = time.monotonic()
        match command:
            case "status":
                client.answer(**self._status(now))
            case "workers":
                client.answer(workers=self._workers(now))
            case "scale":
                self._scale(client, question.get("workers"), now)
            case "logs-reopen":
                self.reopen_logs()
                client.answer()
            case "reload" if self.pool.draining:
                client.answer(error="the server is stopping")
            case "reload":
                self._asked.append(client)
                self.pool.want_reload()
            case "drain":
                self._ending.append(client)
                if not self.pool.draining:  # asking twice would go a step on
                    self.pool.stop(now)
            case "stop":
                self._ending.append(client)
                self.pool.quit(now)
            case _:
                client.answer(error=f"{command!r} is no command")

    # What became of it

    def reload_begins(self) -> None:
        self._reloading += self._asked
        self._asked = []

    def reloaded(self, generation: int) -> None:
        self._end_reload({"generation": generation})

    def reload_failed(self, generation: int, reason: str) -> None:
        self._end_reload({"generation": generation, "error": reason})

    def finished(self) -> None:
        """The last worker has gone."""
        for client in self._ending:
            client.answer()
        for client in self._asked + self._reloading:
            client.answer(error="the server was stopped")

    def _end_reload(self, outcome: dict[str, object]) -> None:
        self._last_reload = outcome | {"time": time.time()}
        for client in self._reloading:
            client.answer(**outcome)
        self._reloading = []

    def _scale(self, client: Client, workers: object, now: float) -> None:
        most = self.pool.slots // 2
        if type(workers) is not int or not 1 <= workers <= most:
            client.answer(error=f"the number of workers is from 1 to {most}, not {workers!r}")
        elif self.pool.stopping:
            client.answer(error="the server is stopping")
        else:
            self.pool.scale(workers - self.pool.workers, now)
            client.answer(workers=self.pool.workers)

    def _status(self, now: float) -> dict[str, object]:
        pool = self.pool
        return {
            "state": self._state(),
            "pid": os.getpid(),
            "uptime": round(now - self._started, 1),
            "generation": pool.generation,
            "workers": pool.workers,
            "ready": pool.ready_count,
            "processes": len(pool.children),
            "endings": {cause.name.lower(): n for cause, n in self.board.endings().items()},
            "last_reload": self._last_reload,
        }

    def _state(self) -> str:
        pool = self.pool
        if pool.stopping:
            return "stopping"
        if pool.draining:
            return "draining"
        if pool.trial is not None or pool.rolling:
            return "reloading"
        return "serving" if pool.ready_count >= pool.workers else "starting"

    def _workers(self, now: float) -> list[dict[str, object]]:
        children = sorted(self.pool.children.values(), key=lambda c: (c.number, c.generation))
        return [self._worker(child, now) for child in children if child.pid]

    def _worker(self, child: Child, now: float) -> dict[str, object]:
        row = self.board.row(child.slot)
        hung = child.hung and child.stage is Stage.READY
        return {
            "number": child.number,
            "pid": child.pid,
            "generation": child.generation,
            "state": "hung" if hung else child.stage.value,
            "age": round(now - child.started, 1),
            "connections": row[Field.CONNECTIONS],
            "in_flight": row[Field.IN_FLIGHT],
            "requests": row[Field.REQUESTS],
            "rss": resident(child.pid),
        }
