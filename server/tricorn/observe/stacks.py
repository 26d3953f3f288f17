"""What a process is busy with, for its log: the stacks of all threads, then of all tasks."""

from __future__ import annotations

import asyncio
import faulthandler
import io
import logging
import signal
from types import FrameType
from typing import Any

from tricorn.observe.logfile import LogFile

MOST_TASKS = 50
MOST_FRAMES = 12

Task = asyncio.Task[Any]

log = logging.getLogger(__name__)


class Stacks:
    """SIGUSR2 writes them; the process goes on.

    The threads are faulthandler's: it needs no interpreter, so that a loop in C shows itself as
    well. The tasks come when the interpreter next looks at its signals, which `time.sleep` and a
    loop in Python let it do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, file: LogFile) -> None:
        self._loop = loop
        self._file = file

    def enable(self) -> None:
        """Again after each reopening of the log."""
        faulthandler.unregister(signal.SIGUSR2)  # gives the signal back to whoever had it before
        signal.signal(signal.SIGUSR2, self._write)
        faulthandler.register(signal.SIGUSR2, file=self._file, chain=True)

    def _write(self, number: int, frame: FrameType | None) -> None:
        running = asyncio.current_task(self._loop)
        log.warning("%s", describe(asyncio.all_tasks(self._loop), running))
        # The loop that would write it is what does not turn.
        self._file.flush()


def describe(tasks: set[Task], running: Task | None = None) -> str:
    """A line for each task, and where it waits; `running` is the one whose stack is a thread's."""
    text = io.StringIO()
    text.write(f"{len(tasks)} tasks:\n")
    for task in sorted(tasks, key=lambda task: task.get_name())[:MOST_TASKS]:
        coroutine = task.get_coro()
        name = getattr(coroutine, "__qualname__", repr(coroutine))
        text.write(f"{task.get_name()} {name}\n")
        if task is running:
            text.write("  runs now, see the stack of its thread\n")
            continue
        for frame in task.get_stack(limit=MOST_FRAMES):
            code = frame.f_code
            text.write(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}\n')
    if len(tasks) > MOST_TASKS:
        text.write(f"and {len(tasks) - MOST_TASKS} more\n")
    return text.getvalue().rstrip()
