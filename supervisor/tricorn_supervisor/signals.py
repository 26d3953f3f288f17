"""What each signal means, and how the master hears signals without doing anything in a handler."""

import faulthandler
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from signal import Signals
from types import FrameType

STDERR = 2
READ_SIZE = 64 * 1024  # a whole pipe


@dataclass(frozen=True, slots=True)
class Meaning:
    signal: Signals
    master: str
    worker: str
    default: bool = False  # a worker starts with the system's default action


SIGNALS = (
    Meaning(
        Signals.SIGTERM,
        "stop: serve for the drain delay, drain every worker, exit 0; again: skip the delay; "
        "then: as QUIT",
        "drain, exit 0; again: nothing more",
        default=True,
    ),
    Meaning(
        Signals.SIGINT,
        "as TERM, without the delay",
        "ignored: a terminal sends it to everybody, and the master decides",
    ),
    Meaning(
        Signals.SIGQUIT,
        "stop now: QUIT to every worker, exit 0",
        "cancel what runs, shut the application down, exit 0",
        default=True,
    ),
    Meaning(
        Signals.SIGHUP,
        "reload: configuration, listeners, code; one canary first, then one worker at a time",
        "ignored",
    ),
    Meaning(Signals.SIGTTIN, "one worker more", "ignored"),
    Meaning(Signals.SIGTTOU, "one worker fewer, but one at least", "ignored"),
    Meaning(Signals.SIGUSR1, "reopen the logs, and tell every worker to", "reopen the logs"),
    Meaning(
        Signals.SIGUSR2,
        "ignored; kept for handing over to a new master",
        "write the stacks of all threads to stderr, go on",
    ),
    Meaning(Signals.SIGCHLD, "reap", "the application's own", default=True),
)


def table() -> str:
    """The table in the README."""
    rows = [f"| {m.signal.name[3:]} | {m.master} | {m.worker} |" for m in SIGNALS]
    return "\n".join(["| signal | master | worker |", "|---|---|---|", *rows])


def describe(status: int) -> str:
    """An exit status in words; below zero it is the signal that ended the process."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"ended by {name}"


class Inbox:
    """The signals that have come, in order, and a descriptor that is readable when there are some.

    A pipe, because its bytes are merged: 65,536 signals fit where a socket has room for 300.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def open(self) -> None:
        """From now on signals are heard. PID 1 has no default actions, so none is left to them."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for meaning in SIGNALS:
            signal.signal(meaning.signal, _nothing)
        # Some launchers pass on a mask in which they are blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _heard())

    def fileno(self) -> int:
        return self._reader

    def take(self) -> list[Signals]:
        try:
            return [Signals(number) for number in os.read(self._reader, READ_SIZE)]
        except BlockingIOError:
            return []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait: between fork and `leave` the child must not handle one as the master."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _heard())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def leave(self) -> None:
        """In a forked child: what a worker does before it has handlers of its own."""
        signal.set_wakeup_fd(-1)
        self._close()
        for meaning in SIGNALS:
            # Not SIG_IGN: the application's subprocesses would inherit that.
            signal.signal(meaning.signal, signal.SIG_DFL if meaning.default else _nothing)
        faulthandler.register(Signals.SIGUSR2, file=STDERR)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _heard())

    def close(self) -> None:
        """Hear nothing more, to the end of the process."""
        signal.set_wakeup_fd(-1)
        deafen()
        self._close()

    def _close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def deafen() -> None:
    """This process ends: a late signal must not change its status.

    Ignored, because the interpreter takes handlers away before it has ended.
    """
    for number in _heard():
        if number != Signals.SIGCHLD:  # ignored it would take the status of every child
            signal.signal(number, signal.SIG_IGN)


def _heard() -> list[Signals]:
    return [meaning.signal for meaning in SIGNALS]


def _nothing(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has noted the signal already, or it is to be ignored."""
