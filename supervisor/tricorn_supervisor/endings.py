"""How a worker ended: one cause to count, one line to read, and what it said before."""

import logging
import signal
from dataclasses import dataclass

from tricorn_supervisor.child import Child, Stage
from tricorn_supervisor.memory import OomKills
from tricorn_supervisor.scoreboard import Cause, Scoreboard
from tricorn_supervisor.signals import describe

log = logging.getLogger(__name__)

MEANINGS = {
    Cause.CLEAN: "told to stop, or replaced by a reload; or told to drain by somebody else",
    Cause.RECYCLE: "replaced because it was worn",
    Cause.EXCEPTION: "it said why it cannot serve",
    Cause.EXIT: "of its own, without a word",
    Cause.SIGNAL: "by a signal that the master has not sent",
    Cause.OOM: "by the kernel, which was out of memory; from the count of the cgroup",
    Cause.HANG: "killed: its event loop stood still for heartbeat_timeout",
    Cause.TIMEOUT: "killed: it took too long to start, to drain or to stop",
}
MOST_SAID = 32  # sentences of workers that fail, each perhaps with a traceback
WELL = (Cause.CLEAN, Cause.RECYCLE)  # the others are warnings
OBEYED = (0, -signal.SIGTERM, -signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Ending:
    cause: Cause
    sentence: str


def table() -> str:
    """The table in the README."""
    rows = [f"| {cause.name.lower()} | {meaning} |" for cause, meaning in MEANINGS.items()]
    return "\n".join(["| cause | how it ended |", "|---|---|", *rows])


def judge(child: Child, status: int, *, failed: bool, starved: bool | None) -> Ending:
    """`failed`: it said why it cannot serve. `starved`: the kernel has killed for want of memory,
    None if it does not say.
    """
    killed = status == -signal.SIGKILL
    if killed and child.killed:
        cause = Cause.HANG if child.hung else Cause.TIMEOUT
        return Ending(cause, f"killed by the master: {child.reason}")
    if killed and starved:
        return Ending(Cause.OOM, "ended by SIGKILL: out of memory")
    if child.stage is Stage.LEAVING and status in OBEYED:
        return Ending(Cause.RECYCLE if child.worn else Cause.CLEAN, "stopped")
    if status < 0:
        doubt = " (out of memory?)" if killed and starved is None else ""
        return Ending(Cause.SIGNAL, describe(status) + doubt)
    return Ending(Cause.EXCEPTION if failed else Cause.EXIT, describe(status))


class Endings:
    """Hears why workers fail, and counts how they end, on the scoreboard."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._kills = OomKills()
        self._details: dict[int, str] = {}  # by slot
        self._failed: set[int] = set()
        self._said: dict[tuple[int, str], None] = {}

    def hear_detail(self, child: Child, text: str) -> None:
        self._details[child.slot] = text

    def hear_failure(self, child: Child, sentence: str) -> None:
        """Eight workers that fail for one reason say so once."""
        self._failed.add(child.slot)
        detail = self._details.pop(child.slot, "")
        text = f"{sentence}\n{detail}".rstrip()
        if (child.generation, text) not in self._said:
            if len(self._said) >= MOST_SAID:
                # A crash loop that says something else each time must not fill the master.
                del self._said[next(iter(self._said))]
            self._said[child.generation, text] = None
            log.error("%s cannot serve: %s", child, text)

    def bury(self, child: Child, status: int) -> None:
        """It was reaped; `status` as from os.waitstatus_to_exitcode."""
        starved = self._kills.take() if status == -signal.SIGKILL and not child.killed else False
        failed = child.slot in self._failed
        self._failed.discard(child.slot)
        self._details.pop(child.slot, None)
        ending = judge(child, status, failed=failed, starved=starved)
        self._board.count_ending(ending.cause)
        level = logging.INFO if ending.cause in WELL else logging.WARNING
        log.log(level, "%s cause=%s %s", child, ending.cause.name.lower(), ending.sentence)

    def reasons(self, generation: int) -> list[str]:
        """What workers of that generation said, in a sentence each."""
        return [text.partition("\n")[0] for number, text in self._said if number == generation]

    def forget(self, generations: list[int]) -> None:
        """Whatever these said may be said again by others."""
        self._said = {said: None for said in self._said if said[0] not in generations}
